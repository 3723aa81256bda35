//! The one command that init runs: who it is, where it starts, how it is executed.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::args::Args;
use crate::sys::{self, Errno, Signals};
use crate::user::{self, User};

/// Why the command was not started.
pub struct Failure {
    /// The exit status that tells it: 125, 126 or 127, as env(1) has them.
    pub status: i32,
    /// One sentence.
    pub why: String,
}

impl Failure {
    /// A failure of init itself.
    fn own(why: String) -> Failure {
        Failure { status: 125, why }
    }
}

/// Turns the child of init into the command, with this signal mask. Returns only on failure.
pub fn start(args: Args, mask: &Signals) -> Failure {
    match prepare(args) {
        Ok((file, words)) => {
            // Signals that came since the fork are delivered here: as to the command, had it been started sooner.
            mask.set_mask();
            let error = sys::exec(&file, &words);
            let status = if error.0 == libc::ENOENT { 127 } else { 126 };
            Failure { status, why: format!("cannot run {}: {error}", file.to_string_lossy()) }
        }
        Err(failure) => failure,
    }
}

/// Session, terminal, identity and folder, in this order: taking a terminal needs rights that the user may not have,
/// and the folder is entered with the user's own rights. Returns the file to execute and its arguments.
fn prepare(args: Args) -> Result<(CString, Vec<CString>), Failure> {
    sys::setsid();
    if args.tty {
        let failed = |error| Failure::own(format!("cannot take the terminal: {error}"));
        sys::take_terminal(0).map_err(failed)?;
    }
    // Root with a command is the common case, and needs no look at any file.
    let user = match (&args.user, args.command.is_empty()) {
        (None, false) => None,
        (spec, _) => look_up(spec.as_deref())?,
    };
    if let (Some(user), Some(_)) = (&user, &args.user) {
        become_user(user, &args)?;
    }
    if let Some(folder) = &args.workdir {
        let failed = |error| Failure::own(format!("cannot enter {}: {error}", folder.to_string_lossy()));
        sys::chdir(&c_string(folder)?).map_err(failed)?;
    }
    if args.command.is_empty() {
        return login_shell(user.as_ref());
    }
    let words = args.command.iter().map(|word| c_string(word)).collect::<Result<Vec<_>, _>>()?;
    Ok((words[0].clone(), words))
}

/// The user that was asked for. Root, who needs no entry, if none was.
fn look_up(spec: Option<&OsStr>) -> Result<Option<User>, Failure> {
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    let group = std::fs::read("/etc/group").unwrap_or_default();
    match spec {
        Some(spec) => user::resolve(spec.as_bytes(), &passwd, &group).map(Some).map_err(Failure::own),
        None => Ok(user::resolve(b"0", &passwd, &group).ok()),
    }
}

fn become_user(user: &User, args: &Args) -> Result<(), Failure> {
    if args.tty {
        // The user must be able to reopen the terminal, say as /dev/stdout. A terminal that cannot be given away can
        // still be used.
        let _ = sys::give_to(0, user.uid);
    }
    let failed = |error: Errno| {
        Failure::own(format!("cannot become {}: {error}", String::from_utf8_lossy(&user.name)))
    };
    sys::become_user(user.uid, user.gid, &user.groups).map_err(failed)?;
    // The kernel sets HOME for root; what someone gave by `--env` looks different and stays.
    if std::env::var_os("HOME").is_none_or(|home| home == "/root" || home == "/") {
        sys::setenv(c"HOME", &user.home);
    }
    Ok(())
}

/// The user's shell, or /bin/sh where that is missing, with the dash before its name that makes it a login shell.
fn login_shell(user: Option<&User>) -> Result<(CString, Vec<CString>), Failure> {
    let own = user.and_then(|user| CString::new(user.shell.clone()).ok());
    let file = own.filter(|shell| sys::executable(shell)).unwrap_or_else(|| c"/bin/sh".to_owned());
    let name = file.to_bytes().rsplit(|&b| b == b'/').next().unwrap_or_default();
    let name = c_string(OsStr::from_bytes(&[b"-", name].concat()))?;
    Ok((file, vec![name]))
}

fn c_string(word: &OsStr) -> Result<CString, Failure> {
    CString::new(word.to_os_string().into_vec())
        .map_err(|_| Failure::own("a word of the command has a NUL byte".to_owned()))
}
