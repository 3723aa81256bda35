//! The part of the system call table that is about files.

use linux_raw_sys::general::{AT_FDCWD, AT_SYMLINK_NOFOLLOW};

use super::Arg::{CreateMode, DirFd, Enum, Fd, Flags, Hex, In, Int, Mode, OpenFlags, Out, Ptr, Size, Str};
use super::file_dir::Format;
use super::table::Support::{Full, Partial};
use super::table::{Call, Table, sys};
use super::xattr::Target;
use super::{
    fcntl, fd, file_attr, file_dir, file_io, file_names, file_open, file_stat, handles, locks, mount,
    mount_api, quota, splice, xattr,
};
use crate::debug::names;
use crate::host::Host;
use crate::vfs::walk::LastLink::{Follow, Keep};

const WHENCE: names::Names =
    &[(0, "SEEK_SET"), (1, "SEEK_CUR"), (2, "SEEK_END"), (3, "SEEK_DATA"), (4, "SEEK_HOLE")];
const ACCESS: names::Names = &[(0, "F_OK"), (1, "X_OK"), (2, "W_OK"), (4, "R_OK")];
/// AT_EACCESS is the number that AT_REMOVEDIR is elsewhere.
const EACCESS: names::Names =
    &[(0x100, "AT_SYMLINK_NOFOLLOW"), (0x200, "AT_EACCESS"), (0x1000, "AT_EMPTY_PATH")];
const FLOCK: names::Names = &[(1, "LOCK_SH"), (2, "LOCK_EX"), (4, "LOCK_NB"), (8, "LOCK_UN")];
const RENAME: names::Names = &[(1, "RENAME_NOREPLACE"), (2, "RENAME_EXCHANGE"), (4, "RENAME_WHITEOUT")];

/// The offset of `preadv2`: -1 is the position.
fn offset2(raw: i64) -> Option<i64> {
    (raw != -1).then_some(raw)
}

impl<H: Host> Table<H> {
    pub(super) const FILE_IO: &'static [Call<H>] = &[
        sys(0, "read", &[Fd, Out, Size], Full, |cx, a| file_io::read(cx, a.fd(0), a.ptr(1), a.raw(2))),
        sys(1, "write", &[Fd, In(2), Size], Full, |cx, a| file_io::write(cx, a.fd(0), a.ptr(1), a.raw(2))),
        sys(8, "lseek", &[Fd, Int, Enum(WHENCE)], Full, |cx, a| {
            file_io::lseek(cx, a.fd(0), a.long(1), a.uint(2))
        }),
        sys(17, "pread64", &[Fd, Out, Size, Int], Full, |cx, a| {
            file_io::pread64(cx, a.fd(0), a.ptr(1), a.raw(2), a.long(3))
        }),
        sys(18, "pwrite64", &[Fd, In(2), Size, Int], Full, |cx, a| {
            file_io::pwrite64(cx, a.fd(0), a.ptr(1), a.raw(2), a.long(3))
        }),
        sys(19, "readv", &[Fd, Ptr, Size], Full, |cx, a| file_io::readv(cx, a.fd(0), a.ptr(1), a.raw(2))),
        sys(20, "writev", &[Fd, Ptr, Size], Full, |cx, a| file_io::writev(cx, a.fd(0), a.ptr(1), a.raw(2))),
        sys(40, "sendfile", &[Fd, Fd, Ptr, Size], Full, |cx, a| {
            splice::sendfile(cx, a.fd(0), a.fd(1), a.ptr(2), a.raw(3))
        }),
        sys(74, "fsync", &[Fd], Full, |cx, a| file_io::fsync(cx, a.fd(0))),
        sys(75, "fdatasync", &[Fd], Full, |cx, a| file_io::fsync(cx, a.fd(0))),
        sys(77, "ftruncate", &[Fd, Int], Full, |cx, a| file_io::ftruncate(cx, a.fd(0), a.long(1))),
        sys(162, "sync", &[], Full, |cx, _| file_io::sync(cx)),
        sys(187, "readahead", &[Fd, Int, Size], Full, |cx, a| file_io::readahead(cx, a.fd(0))),
        sys(221, "fadvise64", &[Fd, Int, Int, Int], Full, |cx, a| {
            file_io::fadvise64(cx, a.fd(0), a.long(2), a.int(3))
        }),
        sys(
            275,
            "splice",
            &[Fd, Ptr, Fd, Ptr, Size, Flags(names::io::SPLICE)],
            Partial("no SPLICE_F_MOVE, copies"),
            |cx, a| splice::splice(cx, (a.fd(0), a.ptr(1)), (a.fd(2), a.ptr(3)), a.raw(4), a.uint(5)),
        ),
        sys(276, "tee", &[Fd, Fd, Size, Flags(names::io::SPLICE)], Full, |cx, a| {
            splice::tee(cx, a.fd(0), a.fd(1), a.raw(2), a.uint(3))
        }),
        sys(
            278,
            "vmsplice",
            &[Fd, Ptr, Size, Flags(names::io::SPLICE)],
            Partial("copies, whatever SPLICE_F_GIFT says"),
            |cx, a| splice::vmsplice(cx, a.fd(0), a.ptr(1), a.raw(2), a.uint(3)),
        ),
        sys(277, "sync_file_range", &[Fd, Int, Int, Hex], Full, |cx, a| {
            file_io::sync_file_range(cx, a.fd(0), a.long(1), a.long(2), a.uint(3))
        }),
        sys(
            285,
            "fallocate",
            &[Fd, Flags(names::io::FALLOCATE), Int, Int],
            Partial("no zero, collapse or insert range"),
            |cx, a| file_io::fallocate(cx, a.fd(0), a.uint(1), a.long(2), a.long(3)),
        ),
        sys(295, "preadv", &[Fd, Ptr, Size, Int], Full, |cx, a| {
            file_io::preadv(cx, a.fd(0), a.ptr(1), a.raw(2), a.long(3))
        }),
        sys(296, "pwritev", &[Fd, Ptr, Size, Int], Full, |cx, a| {
            file_io::pwritev(cx, a.fd(0), a.ptr(1), a.raw(2), a.long(3))
        }),
        sys(306, "syncfs", &[Fd], Full, |cx, a| file_io::syncfs(cx, a.fd(0))),
        sys(326, "copy_file_range", &[Fd, Ptr, Fd, Ptr, Size, Hex], Full, |cx, a| {
            splice::copy_file_range(cx, (a.fd(0), a.ptr(1)), (a.fd(2), a.ptr(3)), a.raw(4), a.uint(5))
        }),
        sys(327, "preadv2", &[Fd, Ptr, Size, Int, Int, Hex], Partial("no RWF_DONTCACHE"), |cx, a| {
            file_io::preadv2(cx, a.fd(0), a.ptr(1), a.raw(2), offset2(a.long(3)), a.uint(5))
        }),
        sys(328, "pwritev2", &[Fd, Ptr, Size, Int, Int, Hex], Partial("no RWF_DONTCACHE"), |cx, a| {
            file_io::pwritev2(cx, a.fd(0), a.ptr(1), a.raw(2), offset2(a.long(3)), a.uint(5))
        }),
    ];

    pub(super) const DESCRIPTORS: &'static [Call<H>] = &[
        sys(2, "open", &[Str, OpenFlags, CreateMode(1)], Full, |cx, a| {
            file_open::openat(cx, AT_FDCWD, a.ptr(0), a.uint(1), a.uint(2))
        }),
        sys(3, "close", &[Fd], Full, |cx, a| fd::close(cx, a.fd(0))),
        sys(16, "ioctl", &[Fd, Enum(names::io::IOCTL), Ptr], Full, |cx, a| {
            fd::ioctl(cx, a.fd(0), a.uint(1), a.raw(2))
        }),
        sys(32, "dup", &[Fd], Full, |cx, a| fd::dup(cx, a.fd(0))),
        sys(33, "dup2", &[Fd, Fd], Full, |cx, a| fd::dup2(cx, a.fd(0), a.fd(1))),
        sys(
            72,
            "fcntl",
            &[Fd, Enum(names::io::FCNTL), Hex],
            Partial("no leases, no SIGIO for files that become ready"),
            |cx, a| fcntl::fcntl(cx, a.fd(0), a.uint(1), a.raw(2)),
        ),
        sys(73, "flock", &[Fd, Flags(FLOCK)], Full, |cx, a| locks::flock(cx, a.fd(0), a.uint(1))),
        sys(85, "creat", &[Str, Mode], Full, |cx, a| file_open::creat(cx, a.ptr(0), a.uint(1))),
        sys(257, "openat", &[DirFd, Str, OpenFlags, CreateMode(2)], Full, |cx, a| {
            file_open::openat(cx, a.fd(0), a.ptr(1), a.uint(2), a.uint(3))
        }),
        sys(292, "dup3", &[Fd, Fd, Flags(names::OPEN)], Full, |cx, a| {
            fd::dup3(cx, a.fd(0), a.fd(1), a.uint(2))
        }),
        sys(319, "memfd_create", &[Str, Flags(names::io::MEMFD)], Partial("no huge pages"), |cx, a| {
            file_open::memfd_create(cx, a.ptr(0), a.uint(1))
        }),
        sys(436, "close_range", &[Int, Int, Flags(names::io::CLOSE_RANGE)], Full, |cx, a| {
            fd::close_range(cx, a.uint(0), a.uint(1), a.uint(2))
        }),
        sys(437, "openat2", &[DirFd, Str, Ptr, Size], Partial("no RESOLVE_CACHED"), |cx, a| {
            file_open::openat2(cx, a.fd(0), a.ptr(1), a.ptr(2), a.size(3))
        }),
    ];

    pub(super) const FILE_INFO: &'static [Call<H>] = &[
        sys(4, "stat", &[Str, Ptr], Full, |cx, a| file_stat::stat(cx, a.ptr(0), a.ptr(1), Follow)),
        sys(5, "fstat", &[Fd, Ptr], Full, |cx, a| file_stat::fstat(cx, a.fd(0), a.ptr(1))),
        sys(6, "lstat", &[Str, Ptr], Full, |cx, a| file_stat::stat(cx, a.ptr(0), a.ptr(1), Keep)),
        sys(21, "access", &[Str, Flags(ACCESS)], Full, |cx, a| {
            file_stat::faccessat(cx, AT_FDCWD, a.ptr(0), a.uint(1), 0)
        }),
        sys(78, "getdents", &[Fd, Ptr, Size], Full, |cx, a| {
            file_dir::getdents(cx, a.fd(0), a.ptr(1), a.uint(2), Format::Dirent)
        }),
        sys(137, "statfs", &[Str, Ptr], Full, |cx, a| file_stat::statfs(cx, a.ptr(0), a.ptr(1))),
        sys(138, "fstatfs", &[Fd, Ptr], Full, |cx, a| file_stat::fstatfs(cx, a.fd(0), a.ptr(1))),
        sys(217, "getdents64", &[Fd, Ptr, Size], Full, |cx, a| {
            file_dir::getdents(cx, a.fd(0), a.ptr(1), a.uint(2), Format::Dirent64)
        }),
        sys(262, "newfstatat", &[DirFd, Str, Ptr, Flags(names::AT)], Full, |cx, a| {
            file_stat::newfstatat(cx, a.fd(0), a.ptr(1), a.ptr(2), a.uint(3))
        }),
        sys(269, "faccessat", &[DirFd, Str, Flags(ACCESS)], Full, |cx, a| {
            file_stat::faccessat(cx, a.fd(0), a.ptr(1), a.uint(2), 0)
        }),
        sys(179, "quotactl", &[Hex, Str, Int, Ptr], Partial("no file system has quotas"), |cx, a| {
            quota::quotactl(cx, a.uint(0), a.ptr(1))
        }),
        sys(443, "quotactl_fd", &[Fd, Hex, Int, Ptr], Partial("no file system has quotas"), |cx, a| {
            quota::quotactl_fd(cx, a.fd(0), a.uint(1))
        }),
        sys(
            303,
            "name_to_handle_at",
            &[DirFd, Str, Ptr, Ptr, Flags(names::AT)],
            Partial("no file system gives handles"),
            |cx, a| handles::name_to_handle_at(cx, a.fd(0), a.ptr(1), a.ptr(2), a.uint(4)),
        ),
        sys(
            304,
            "open_by_handle_at",
            &[Fd, Ptr, OpenFlags],
            Partial("no file system gives handles"),
            |cx, a| handles::open_by_handle_at(cx, a.fd(0), a.ptr(1)),
        ),
        sys(332, "statx", &[DirFd, Str, Flags(names::AT), Flags(names::io::STATX), Ptr], Full, |cx, a| {
            file_stat::statx(cx, a.fd(0), a.ptr(1), a.uint(2), a.uint(3), a.ptr(4))
        }),
        sys(439, "faccessat2", &[DirFd, Str, Flags(ACCESS), Flags(EACCESS)], Full, |cx, a| {
            file_stat::faccessat(cx, a.fd(0), a.ptr(1), a.uint(2), a.uint(3))
        }),
    ];

    pub(super) const FILE_NAMES: &'static [Call<H>] = &[
        sys(79, "getcwd", &[Ptr, Size], Full, |cx, a| file_names::getcwd(cx, a.ptr(0), a.raw(1))),
        sys(80, "chdir", &[Str], Full, |cx, a| file_names::chdir(cx, a.ptr(0))),
        sys(81, "fchdir", &[Fd], Full, |cx, a| file_names::fchdir(cx, a.fd(0))),
        sys(82, "rename", &[Str, Str], Full, |cx, a| {
            file_names::renameat2(cx, AT_FDCWD, a.ptr(0), AT_FDCWD, a.ptr(1), 0)
        }),
        sys(83, "mkdir", &[Str, Mode], Full, |cx, a| file_names::mkdirat(cx, AT_FDCWD, a.ptr(0), a.uint(1))),
        sys(84, "rmdir", &[Str], Full, |cx, a| file_names::rmdir(cx, a.ptr(0))),
        sys(86, "link", &[Str, Str], Full, |cx, a| {
            file_names::linkat(cx, AT_FDCWD, a.ptr(0), AT_FDCWD, a.ptr(1), 0)
        }),
        sys(87, "unlink", &[Str], Full, |cx, a| file_names::unlinkat(cx, AT_FDCWD, a.ptr(0), 0)),
        sys(88, "symlink", &[Str, Str], Full, |cx, a| {
            file_names::symlinkat(cx, a.ptr(0), AT_FDCWD, a.ptr(1))
        }),
        sys(89, "readlink", &[Str, Out, Size], Full, |cx, a| {
            file_names::readlinkat(cx, AT_FDCWD, a.ptr(0), a.ptr(1), a.int(2))
        }),
        sys(95, "umask", &[Mode], Full, |cx, a| file_names::umask(cx, a.uint(0))),
        sys(133, "mknod", &[Str, Mode, Hex], Full, |cx, a| {
            file_names::mknodat(cx, AT_FDCWD, a.ptr(0), a.uint(1), a.uint(2))
        }),
        sys(155, "pivot_root", &[Str, Str], Full, |cx, a| mount::pivot_root(cx, a.ptr(0), a.ptr(1))),
        sys(161, "chroot", &[Str], Full, |cx, a| file_names::chroot(cx, a.ptr(0))),
        sys(165, "mount", &[Str, Str, Str, Flags(names::io::MOUNT), Ptr], Full, |cx, a| {
            mount::mount(cx, a.ptr(0), a.ptr(1), a.ptr(2), a.raw(3), a.ptr(4))
        }),
        sys(166, "umount2", &[Str, Flags(names::io::UMOUNT)], Full, |cx, a| {
            mount::umount2(cx, a.ptr(0), a.uint(1))
        }),
        sys(428, "open_tree", &[DirFd, Str, Hex], Full, |cx, a| {
            mount_api::open_tree(cx, a.fd(0), a.ptr(1), a.uint(2))
        }),
        sys(429, "move_mount", &[DirFd, Str, DirFd, Str, Hex], Partial("not beneath, no groups"), |cx, a| {
            mount_api::move_mount(cx, (a.fd(0), a.ptr(1)), (a.fd(2), a.ptr(3)), a.uint(4))
        }),
        sys(430, "fsopen", &[Str, Hex], Full, |cx, a| mount_api::fsopen(cx, a.ptr(0), a.uint(1))),
        sys(
            431,
            "fsconfig",
            &[Fd, Int, Str, Ptr, Int],
            Partial("flags and strings; wrong ones are refused when all is there"),
            |cx, a| mount_api::fsconfig(cx, a.fd(0), a.uint(1), a.ptr(2), a.ptr(3), a.int(4)),
        ),
        sys(432, "fsmount", &[Fd, Hex, Hex], Full, |cx, a| {
            mount_api::fsmount(cx, a.fd(0), a.uint(1), a.uint(2))
        }),
        sys(433, "fspick", &[DirFd, Str, Hex], Full, |cx, a| {
            mount_api::fspick(cx, a.fd(0), a.ptr(1), a.uint(2))
        }),
        sys(
            442,
            "mount_setattr",
            &[DirFd, Str, Flags(names::AT), Ptr, Size],
            Partial("no id maps"),
            |cx, a| mount_api::mount_setattr(cx, a.fd(0), a.ptr(1), a.uint(2), a.ptr(3), a.size(4)),
        ),
        sys(258, "mkdirat", &[DirFd, Str, Mode], Full, |cx, a| {
            file_names::mkdirat(cx, a.fd(0), a.ptr(1), a.uint(2))
        }),
        sys(259, "mknodat", &[DirFd, Str, Mode, Hex], Full, |cx, a| {
            file_names::mknodat(cx, a.fd(0), a.ptr(1), a.uint(2), a.uint(3))
        }),
        sys(263, "unlinkat", &[DirFd, Str, Flags(names::AT)], Full, |cx, a| {
            file_names::unlinkat(cx, a.fd(0), a.ptr(1), a.uint(2))
        }),
        sys(264, "renameat", &[DirFd, Str, DirFd, Str], Full, |cx, a| {
            file_names::renameat2(cx, a.fd(0), a.ptr(1), a.fd(2), a.ptr(3), 0)
        }),
        sys(265, "linkat", &[DirFd, Str, DirFd, Str, Flags(names::AT)], Full, |cx, a| {
            file_names::linkat(cx, a.fd(0), a.ptr(1), a.fd(2), a.ptr(3), a.uint(4))
        }),
        sys(266, "symlinkat", &[Str, DirFd, Str], Full, |cx, a| {
            file_names::symlinkat(cx, a.ptr(0), a.fd(1), a.ptr(2))
        }),
        sys(267, "readlinkat", &[DirFd, Str, Out, Size], Full, |cx, a| {
            file_names::readlinkat(cx, a.fd(0), a.ptr(1), a.ptr(2), a.int(3))
        }),
        sys(
            316,
            "renameat2",
            &[DirFd, Str, DirFd, Str, Flags(RENAME)],
            Partial("RENAME_WHITEOUT not with RENAME_NOREPLACE"),
            |cx, a| file_names::renameat2(cx, a.fd(0), a.ptr(1), a.fd(2), a.ptr(3), a.uint(4)),
        ),
    ];

    pub(super) const FILE_ATTRIBUTES: &'static [Call<H>] = &[
        sys(76, "truncate", &[Str, Int], Full, |cx, a| file_attr::truncate(cx, a.ptr(0), a.long(1))),
        sys(90, "chmod", &[Str, Mode], Full, |cx, a| {
            file_attr::fchmodat(cx, AT_FDCWD, a.ptr(0), a.uint(1), 0)
        }),
        sys(91, "fchmod", &[Fd, Mode], Full, |cx, a| file_attr::fchmod(cx, a.fd(0), a.uint(1))),
        sys(92, "chown", &[Str, Int, Int], Full, |cx, a| {
            file_attr::fchownat(cx, AT_FDCWD, a.ptr(0), a.uint(1), a.uint(2), 0)
        }),
        sys(93, "fchown", &[Fd, Int, Int], Full, |cx, a| {
            file_attr::fchown(cx, a.fd(0), a.uint(1), a.uint(2))
        }),
        sys(94, "lchown", &[Str, Int, Int], Full, |cx, a| {
            file_attr::fchownat(cx, AT_FDCWD, a.ptr(0), a.uint(1), a.uint(2), AT_SYMLINK_NOFOLLOW)
        }),
        sys(132, "utime", &[Str, Ptr], Full, |cx, a| file_attr::utime(cx, a.ptr(0), a.ptr(1))),
        sys(235, "utimes", &[Str, Ptr], Full, |cx, a| file_attr::futimesat(cx, AT_FDCWD, a.ptr(0), a.ptr(1))),
        sys(260, "fchownat", &[DirFd, Str, Int, Int, Flags(names::AT)], Full, |cx, a| {
            file_attr::fchownat(cx, a.fd(0), a.ptr(1), a.uint(2), a.uint(3), a.uint(4))
        }),
        sys(261, "futimesat", &[DirFd, Str, Ptr], Full, |cx, a| {
            file_attr::futimesat(cx, a.fd(0), a.ptr(1), a.ptr(2))
        }),
        sys(268, "fchmodat", &[DirFd, Str, Mode], Full, |cx, a| {
            file_attr::fchmodat(cx, a.fd(0), a.ptr(1), a.uint(2), 0)
        }),
        sys(280, "utimensat", &[DirFd, Str, Ptr, Flags(names::AT)], Full, |cx, a| {
            file_attr::utimensat(cx, a.fd(0), a.ptr(1), a.ptr(2), a.uint(3))
        }),
        sys(452, "fchmodat2", &[DirFd, Str, Mode, Flags(names::AT)], Full, |cx, a| {
            file_attr::fchmodat(cx, a.fd(0), a.ptr(1), a.uint(2), a.uint(3))
        }),
    ];

    pub(super) const XATTRS: &'static [Call<H>] = &[
        sys(188, "setxattr", &[Str, Str, In(3), Size, Flags(names::io::XATTR)], Full, |cx, a| {
            xattr::set(cx, Target::Path(a.ptr(0), Follow), a.ptr(1), a.ptr(2), a.size(3), a.uint(4))
        }),
        sys(189, "lsetxattr", &[Str, Str, In(3), Size, Flags(names::io::XATTR)], Full, |cx, a| {
            xattr::set(cx, Target::Path(a.ptr(0), Keep), a.ptr(1), a.ptr(2), a.size(3), a.uint(4))
        }),
        sys(190, "fsetxattr", &[Fd, Str, In(3), Size, Flags(names::io::XATTR)], Full, |cx, a| {
            xattr::set(cx, Target::Fd(a.fd(0)), a.ptr(1), a.ptr(2), a.size(3), a.uint(4))
        }),
        sys(191, "getxattr", &[Str, Str, Out, Size], Full, |cx, a| {
            xattr::get(cx, Target::Path(a.ptr(0), Follow), a.ptr(1), a.ptr(2), a.size(3))
        }),
        sys(192, "lgetxattr", &[Str, Str, Out, Size], Full, |cx, a| {
            xattr::get(cx, Target::Path(a.ptr(0), Keep), a.ptr(1), a.ptr(2), a.size(3))
        }),
        sys(193, "fgetxattr", &[Fd, Str, Out, Size], Full, |cx, a| {
            xattr::get(cx, Target::Fd(a.fd(0)), a.ptr(1), a.ptr(2), a.size(3))
        }),
        sys(194, "listxattr", &[Str, Ptr, Size], Full, |cx, a| {
            xattr::list(cx, Target::Path(a.ptr(0), Follow), a.ptr(1), a.size(2))
        }),
        sys(195, "llistxattr", &[Str, Ptr, Size], Full, |cx, a| {
            xattr::list(cx, Target::Path(a.ptr(0), Keep), a.ptr(1), a.size(2))
        }),
        sys(196, "flistxattr", &[Fd, Ptr, Size], Full, |cx, a| {
            xattr::list(cx, Target::Fd(a.fd(0)), a.ptr(1), a.size(2))
        }),
        sys(197, "removexattr", &[Str, Str], Full, |cx, a| {
            xattr::remove(cx, Target::Path(a.ptr(0), Follow), a.ptr(1))
        }),
        sys(198, "lremovexattr", &[Str, Str], Full, |cx, a| {
            xattr::remove(cx, Target::Path(a.ptr(0), Keep), a.ptr(1))
        }),
        sys(199, "fremovexattr", &[Fd, Str], Full, |cx, a| xattr::remove(cx, Target::Fd(a.fd(0)), a.ptr(1))),
    ];
}
