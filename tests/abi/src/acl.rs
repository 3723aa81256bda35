//! Access control lists: who may do what by them, how they go with permission bits, what new files get. acl(5), xattr(7).

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use libc::{c_int, c_long};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    lists_decide,
    groups_come_before_others,
    the_mask_is_the_group_class,
    without_a_group_class_bits_decide,
    short_lists_are_bits,
    new_files_inherit,
    set_rules,
];

const ACCESS: &CStr = c"system.posix_acl_access";
const DEFAULT: &CStr = c"system.posix_acl_default";

const OWNER: u16 = 1;
const USER: u16 = 2;
const GROUP: u16 = 4;
const NAMED_GROUP: u16 = 8;
const MASK: u16 = 16;
const OTHER: u16 = 32;
const NOBODY: u32 = 65534;
const NO_ID: u32 = u32::MAX;

/// A list of tags, permissions and ids.
fn list(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2u32.to_le_bytes().to_vec();
    for (tag, allows, id) in entries {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&allows.to_le_bytes());
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

unsafe fn set(path: &CStr, name: &CStr, value: &[u8]) -> c_int {
    libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0)
}

unsafe fn get(path: &CStr, name: &CStr) -> Done<Vec<u8>> {
    let mut bytes = vec![0; 256];
    let len = ok(libc::getxattr(path.as_ptr(), name.as_ptr(), bytes.as_mut_ptr().cast(), bytes.len()))?;
    bytes.truncate(len as usize);
    Ok(bytes)
}

unsafe fn has_none(path: &CStr, name: &CStr) -> Done {
    fails(libc::getxattr(path.as_ptr(), name.as_ptr(), null_mut(), 0) as c_long, libc::ENODATA)
}

unsafe fn mode(path: &CStr) -> Done<u32> {
    let mut stat = std::mem::zeroed();
    ok(libc::stat(path.as_ptr(), &mut stat))?;
    Ok(stat.st_mode & 0o7777)
}

/// A file `f` of root's with this list, in a directory that all may search. Skips where there are no lists.
unsafe fn file_with(entries: &[(u16, u16, u32)]) -> Done {
    need_root()?;
    ok(libc::chmod(c".".as_ptr(), 0o755))?;
    ok(libc::close(file(c"f", b"content")?))?;
    let done = set(c"f", ACCESS, &list(entries));
    if done == -1 && errno() == libc::EOPNOTSUPP {
        return skip("no access control lists here");
    }
    ok(done).map(drop)
}

/// What nobody may do with `f`.
unsafe fn nobody_may(read: bool, write: bool) -> Done {
    in_child(|| {
        drop_root()?;
        for (flags, access, may) in [(libc::O_RDONLY, libc::R_OK, read), (libc::O_WRONLY, libc::W_OK, write)]
        {
            let (opened, asked) = (libc::open(c"f".as_ptr(), flags), libc::access(c"f".as_ptr(), access));
            eq((opened >= 0, asked == 0), (may, may))?;
        }
        Ok(())
    })
}

unsafe fn lists_decide() -> Done {
    let entries =
        [(OWNER, 6, NO_ID), (USER, 6, NOBODY), (GROUP, 0, NO_ID), (MASK, 4, NO_ID), (OTHER, 0, NO_ID)];
    file_with(&entries)?;
    eq(mode(c"f")?, 0o640)?;
    eq(get(c"f", ACCESS)?, list(&entries))?;
    nobody_may(true, false)?;
    ok(set(c"f", ACCESS, b""))?;
    has_none(c"f", ACCESS)?;
    eq(mode(c"f")?, 0o640)?;
    nobody_may(false, false)
}

unsafe fn groups_come_before_others() -> Done {
    let group = |allows| {
        [
            (OWNER, 6, NO_ID),
            (GROUP, 0, NO_ID),
            (NAMED_GROUP, allows, NOBODY),
            (MASK, 7, NO_ID),
            (OTHER, 6, NO_ID),
        ]
    };
    file_with(&group(4))?;
    nobody_may(true, false)?;
    ok(set(c"f", ACCESS, &list(&group(0))))?;
    nobody_may(false, false)?;
    // A user's own entry comes first.
    let both = [&[group(6)[0], (USER, 0, NOBODY)][..], &group(6)[1..]].concat();
    ok(set(c"f", ACCESS, &list(&both)))?;
    nobody_may(false, false)
}

unsafe fn the_mask_is_the_group_class() -> Done {
    let entries = |owner, mask, other| {
        [
            (OWNER, owner, NO_ID),
            (USER, 6, NOBODY),
            (GROUP, 5, NO_ID),
            (MASK, mask, NO_ID),
            (OTHER, other, NO_ID),
        ]
    };
    file_with(&entries(6, 6, 0))?;
    nobody_may(true, true)?;
    ok(libc::chmod(c"f".as_ptr(), 0o741))?;
    eq(get(c"f", ACCESS)?, list(&entries(7, 4, 1)))?;
    nobody_may(true, false)?;
    ok(libc::chmod(c"f".as_ptr(), 0o700))?;
    nobody_may(false, false)
}

unsafe fn without_a_group_class_bits_decide() -> Done {
    let entries =
        [(OWNER, 6, NO_ID), (USER, 6, NOBODY), (GROUP, 0, NO_ID), (MASK, 0, NO_ID), (OTHER, 4, NO_ID)];
    file_with(&entries)?;
    eq(mode(c"f")?, 0o604)?;
    nobody_may(true, false)
}

unsafe fn short_lists_are_bits() -> Done {
    file_with(&[(OWNER, 7, NO_ID), (USER, 7, 5), (GROUP, 5, NO_ID), (MASK, 7, NO_ID), (OTHER, 1, NO_ID)])?;
    eq(mode(c"f")?, 0o771)?;
    ok(set(c"f", ACCESS, &list(&[(OWNER, 6, NO_ID), (GROUP, 4, NO_ID), (OTHER, 2, NO_ID)])))?;
    has_none(c"f", ACCESS)?;
    eq(mode(c"f")?, 0o642)?;
    // A set-id bit is not one of them.
    ok(libc::chmod(c"f".as_ptr(), 0o4642))?;
    ok(set(c"f", ACCESS, &list(&[(OWNER, 7, NO_ID), (GROUP, 0, NO_ID), (OTHER, 0, NO_ID)])))?;
    eq(mode(c"f")?, 0o4700)
}

unsafe fn new_files_inherit() -> Done {
    let default =
        [(OWNER, 7, NO_ID), (USER, 7, NOBODY), (GROUP, 5, NO_ID), (MASK, 7, NO_ID), (OTHER, 0, NO_ID)];
    file_with(&default)?;
    ok(libc::mkdir(c"d".as_ptr(), 0o755))?;
    ok(set(c"d", DEFAULT, &list(&default)))?;
    has_none(c"d", ACCESS)?;
    libc::umask(0o077);
    ok(libc::close(ok(libc::open(c"d/f".as_ptr(), libc::O_CREAT | libc::O_RDWR, 0o646))?))?;
    eq(mode(c"d/f")?, 0o640)?;
    let file = [(OWNER, 6, NO_ID), default[1], default[2], (MASK, 4, NO_ID), default[4]];
    eq(get(c"d/f", ACCESS)?, list(&file))?;
    has_none(c"d/f", DEFAULT)?;
    ok(libc::mkdir(c"d/e".as_ptr(), 0o2777))?;
    eq(mode(c"d/e")? & 0o777, 0o770)?;
    eq(get(c"d/e", ACCESS)?, list(&default))?;
    eq(get(c"d/e", DEFAULT)?, list(&default))?;
    ok(libc::mknod(c"d/p".as_ptr(), libc::S_IFIFO | 0o622, 0))?;
    eq(mode(c"d/p")?, 0o620)?;
    ok(libc::symlink(c"f".as_ptr(), c"d/l".as_ptr()))?;
    fails(libc::lgetxattr(c"d/l".as_ptr(), ACCESS.as_ptr(), null_mut(), 0) as c_long, libc::EOPNOTSUPP)?;
    // Without a list the umask is back.
    ok(libc::removexattr(c"d".as_ptr(), DEFAULT.as_ptr()))?;
    ok(libc::mkdir(c"d/g".as_ptr(), 0o777))?;
    eq(mode(c"d/g")?, 0o700)?;
    has_none(c"d/g", ACCESS)
}

unsafe fn set_rules() -> Done {
    let entries =
        [(OWNER, 6, NO_ID), (USER, 6, NOBODY), (GROUP, 0, NO_ID), (MASK, 4, NO_ID), (OTHER, 0, NO_ID)];
    file_with(&entries)?;
    let good = list(&entries);
    let refused = |bytes: &[u8], errno| fails(set(c"f", ACCESS, bytes), errno);
    refused(&good[..good.len() - 1], libc::EINVAL)?;
    refused(&good[..3], libc::EINVAL)?;
    refused(&[1, 0, 0, 0], libc::EOPNOTSUPP)?;
    refused(&list(&[entries[0], entries[1], entries[2], entries[4]]), libc::EINVAL)?;
    refused(&list(&[entries[0], entries[2], entries[1], entries[3], entries[4]]), libc::EINVAL)?;
    refused(&list(&[(OWNER, 8, NO_ID), entries[2], entries[4]]), libc::EINVAL)?;
    refused(&list(&[(3, 6, NO_ID), entries[2], entries[4]]), libc::EINVAL)?;
    refused(&list(&[entries[0], (USER, 6, NO_ID), entries[2], entries[3], entries[4]]), libc::EINVAL)?;
    eq(get(c"f", ACCESS)?, good.clone())?;
    fails(set(c"f", DEFAULT, &good), libc::EACCES)?;
    ok(set(c"f", DEFAULT, b""))?;
    ok(libc::symlink(c"f".as_ptr(), c"l".as_ptr()))?;
    let link = libc::lsetxattr(c"l".as_ptr(), ACCESS.as_ptr(), good.as_ptr().cast(), good.len(), 0);
    fails(link, libc::EOPNOTSUPP)?;
    in_child(|| {
        drop_root()?;
        fails(set(c"f", ACCESS, &good), libc::EPERM)?;
        fails(libc::removexattr(c"f".as_ptr(), ACCESS.as_ptr()), libc::EPERM)?;
        // But all may read it.
        eq(get(c"f", ACCESS)?, good.clone())
    })?;
    let mut names = vec![0u8; 256];
    let len = ok(libc::listxattr(c"f".as_ptr(), names.as_mut_ptr().cast(), names.len()))? as usize;
    check(names[..len].split(|byte| *byte == 0).any(|name| name == ACCESS.to_bytes()), "it is listed")?;
    fails(
        libc::getxattr(c"f".as_ptr(), ACCESS.as_ptr(), names.as_mut_ptr().cast(), 4) as c_long,
        libc::ERANGE,
    )?;
    ok(libc::removexattr(c"f".as_ptr(), ACCESS.as_ptr()))?;
    ok(libc::removexattr(c"f".as_ptr(), ACCESS.as_ptr()))?;
    // A list without entries is none.
    ok(set(c"f", ACCESS, &good))?;
    ok(set(c"f", ACCESS, &list(&[])))?;
    has_none(c"f", ACCESS)?;
    ok(libc::setxattr(c"f".as_ptr(), ACCESS.as_ptr(), null(), 0, 0)).map(drop)
}
