//! Linux error numbers.

use core::fmt;

use crate::host::HostError;
use crate::host::tree::TreeError;

/// A Linux error number, as `errno(3)` lists them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(u16);

/// What an operation of the kernel gives, or why it failed.
pub type Result<T, E = Errno> = core::result::Result<T, E>;

impl Errno {
    /// The number, between 1 and 4095.
    pub const fn code(self) -> i32 {
        self.0 as i32
    }

    /// The name as in `errno.h`, if it is a known one.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(errno, _)| *errno == self).map(|(_, name)| *name)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl From<HostError> for Errno {
    fn from(error: HostError) -> Errno {
        match error {
            HostError::OutOfMemory | HostError::TooManyMappings => ENOMEM,
            HostError::TooManyProcesses => EAGAIN,
            HostError::SpaceDied => EFAULT,
        }
    }
}

impl From<TreeError> for Errno {
    fn from(error: TreeError) -> Errno {
        // What is no error number, or none that guests know, cannot be told to them.
        let errno = Errno(error.0);
        if errno.name().is_some() { errno } else { EIO }
    }
}

macro_rules! errnos {
    ($($name:ident)*) => {
        $(#[doc = concat!("`", stringify!($name), "`, see `errno(3)`.")] pub const $name: Errno = Errno(linux_raw_sys::errno::$name as u16);)*
        const NAMES: &[(Errno, &str)] = &[$(($name, stringify!($name))),*];
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK
    EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS
    EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EIDRM ECHRNG
    EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT EBFONT
    ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP EDOTDOT
    EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ ERESTART
    ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT
    EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET
    ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED
    EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM EREMOTEIO EDQUOT
    ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD ENOTRECOVERABLE
    ERFKILL EHWPOISON
}
