//! Names that calls on files, terminals, sockets and clocks use.

use linux_raw_sys::general::*;
use linux_raw_sys::ioctl::*;
use linux_raw_sys::net::*;

use super::{Names, named};

/// Commands of `fcntl`.
pub const FCNTL: Names = named![
    F_DUPFD,
    F_GETFD,
    F_SETFD,
    F_GETFL,
    F_SETFL,
    F_GETLK,
    F_SETLK,
    F_SETLKW,
    F_SETOWN,
    F_GETOWN,
    F_SETSIG,
    F_GETSIG,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_SETLEASE,
    F_GETLEASE,
    F_NOTIFY,
    F_DUPFD_CLOEXEC,
    F_SETPIPE_SZ,
    F_GETPIPE_SZ,
    F_ADD_SEALS,
    F_GET_SEALS,
];
/// Commands of `ioctl`.
pub const IOCTL: Names = named![
    TCGETS,
    TCSETS,
    TCSETSW,
    TCSETSF,
    TCGETS2,
    TCSETS2,
    TCSETSW2,
    TCSETSF2,
    TCSBRK,
    TCSBRKP,
    TCXONC,
    TCFLSH,
    TIOCEXCL,
    TIOCGLCKTRMIOS,
    TIOCSLCKTRMIOS,
    TIOCNXCL,
    TIOCSCTTY,
    TIOCNOTTY,
    TIOCGPGRP,
    TIOCSPGRP,
    TIOCGSID,
    TIOCOUTQ,
    TIOCSTI,
    TIOCGWINSZ,
    TIOCSWINSZ,
    TIOCGPTN,
    TIOCSPTLCK,
    TIOCGPTLCK,
    TIOCGPTPEER,
    TIOCPKT,
    TIOCGETD,
    TIOCSETD,
    TIOCCONS,
    FIONREAD,
    FIONBIO,
    FIOASYNC,
    FIOCLEX,
    FIONCLEX,
    FIOQSIZE,
    FICLONE,
    FICLONERANGE,
    FS_IOC_FIEMAP,
    FS_IOC_GETFLAGS,
    FS_IOC_SETFLAGS,
    BLKGETSIZE64,
    BLKSSZGET,
];
/// Flags of `memfd_create`.
pub const MEMFD: Names = named![MFD_CLOEXEC, MFD_ALLOW_SEALING, MFD_HUGETLB, MFD_NOEXEC_SEAL, MFD_EXEC];
/// Flags of `close_range`.
pub const CLOSE_RANGE: Names = &[(2, "CLOSE_RANGE_UNSHARE"), (4, "CLOSE_RANGE_CLOEXEC")];
/// Modes of `fallocate`.
pub const FALLOCATE: Names = named![
    FALLOC_FL_KEEP_SIZE,
    FALLOC_FL_PUNCH_HOLE,
    FALLOC_FL_COLLAPSE_RANGE,
    FALLOC_FL_ZERO_RANGE,
    FALLOC_FL_INSERT_RANGE,
    FALLOC_FL_UNSHARE_RANGE,
];
/// Fields that `statx` is asked for.
pub const STATX: Names = named![
    STATX_ALL,
    STATX_BASIC_STATS,
    STATX_TYPE,
    STATX_MODE,
    STATX_NLINK,
    STATX_UID,
    STATX_GID,
    STATX_ATIME,
    STATX_MTIME,
    STATX_CTIME,
    STATX_INO,
    STATX_SIZE,
    STATX_BLOCKS,
    STATX_BTIME,
    STATX_MNT_ID,
];
/// Flags of `mount`.
pub const MOUNT: Names = named![
    MS_RDONLY,
    MS_NOSUID,
    MS_NODEV,
    MS_NOEXEC,
    MS_SYNCHRONOUS,
    MS_REMOUNT,
    MS_MANDLOCK,
    MS_DIRSYNC,
    MS_NOSYMFOLLOW,
    MS_NOATIME,
    MS_NODIRATIME,
    MS_BIND,
    MS_MOVE,
    MS_REC,
    MS_SILENT,
    MS_UNBINDABLE,
    MS_PRIVATE,
    MS_SLAVE,
    MS_SHARED,
    MS_RELATIME,
    MS_STRICTATIME,
    MS_LAZYTIME,
];
/// Flags of `umount2`.
pub const UMOUNT: Names = named![MNT_FORCE, MNT_DETACH, MNT_EXPIRE, UMOUNT_NOFOLLOW];
/// Flags of `setxattr`.
pub const XATTR: Names = named![XATTR_CREATE, XATTR_REPLACE];
/// What `inotify_add_watch` asks for.
pub const INOTIFY: Names = named![
    IN_ACCESS,
    IN_MODIFY,
    IN_ATTRIB,
    IN_CLOSE_WRITE,
    IN_CLOSE_NOWRITE,
    IN_OPEN,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_MOVE_SELF,
    IN_ONLYDIR,
    IN_DONT_FOLLOW,
    IN_EXCL_UNLINK,
    IN_MASK_CREATE,
    IN_MASK_ADD,
    IN_ONESHOT,
];
/// Flags of `splice`.
pub const SPLICE: Names =
    &[(1, "SPLICE_F_MOVE"), (2, "SPLICE_F_NONBLOCK"), (4, "SPLICE_F_MORE"), (8, "SPLICE_F_GIFT")];

/// Families of sockets.
pub const FAMILY: Names =
    &[(1, "AF_UNIX"), (2, "AF_INET"), (10, "AF_INET6"), (16, "AF_NETLINK"), (17, "AF_PACKET")];
/// Types of sockets, and the flags beside; types are numbers, so those of several bits come first.
pub const SOCKET: Names = &[
    (5, "SOCK_SEQPACKET"),
    (3, "SOCK_RAW"),
    (1, "SOCK_STREAM"),
    (2, "SOCK_DGRAM"),
    (0o4000, "SOCK_NONBLOCK"),
    (0o2000000, "SOCK_CLOEXEC"),
];
/// Flags of `send` and `recv`.
pub const MSG: Names = named![
    MSG_OOB,
    MSG_PEEK,
    MSG_DONTROUTE,
    MSG_CTRUNC,
    MSG_TRUNC,
    MSG_DONTWAIT,
    MSG_EOR,
    MSG_WAITALL,
    MSG_CONFIRM,
    MSG_ERRQUEUE,
    MSG_NOSIGNAL,
    MSG_MORE,
    MSG_CMSG_CLOEXEC,
];
/// Levels of socket options.
pub const SOCKET_LEVEL: Names =
    &[(0, "SOL_IP"), (1, "SOL_SOCKET"), (6, "SOL_TCP"), (17, "SOL_UDP"), (41, "SOL_IPV6")];
/// Options of SOL_SOCKET.
pub const SOCKET_OPTION: Names = named![
    SO_DEBUG,
    SO_REUSEADDR,
    SO_TYPE,
    SO_ERROR,
    SO_DONTROUTE,
    SO_BROADCAST,
    SO_SNDBUF,
    SO_RCVBUF,
    SO_KEEPALIVE,
    SO_OOBINLINE,
    SO_LINGER,
    SO_REUSEPORT,
    SO_PASSCRED,
    SO_PEERCRED,
    SO_RCVLOWAT,
    SO_SNDLOWAT,
    SO_ACCEPTCONN,
    SO_SNDBUFFORCE,
    SO_RCVBUFFORCE,
    SO_PROTOCOL,
    SO_DOMAIN,
];

/// Interval timers.
pub const ITIMER: Names = named![ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF];
/// Flags of calls that set a timer or sleep.
pub const TIMER: Names = &[(1, "TIMER_ABSTIME"), (2, "TIMER_CANCEL_ON_SET")];
