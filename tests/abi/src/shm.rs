//! System V shared memory: `shmget(2)`, `shmop(2)`, `shmctl(2)`.

use std::ptr::null_mut;

use libc::{c_int, c_void, shmid_ds};

use crate::cases;
use crate::support::*;

pub const CASES: &[Case] = cases![
    shared_by_fork,
    found_by_key,
    sizes_and_keys_are_checked,
    attach_addresses,
    read_only_stays_so,
    removed_when_detached_last,
    detached_piece_by_piece,
    exec_and_exit_detach,
    stat_tells_who_and_when,
    permissions,
    places_and_limits,
    lock_marks,
    proc_lists_segments,
    rlimit_of_addresses,
];

const PRIVATE: libc::key_t = libc::IPC_PRIVATE;

/// A segment of so many bytes that is removed when the test ends.
struct Segment(c_int);

impl Segment {
    #[track_caller]
    fn new(size: usize) -> Done<Segment> {
        // SAFETY: no memory is involved.
        Ok(Segment(ok(unsafe { libc::shmget(PRIVATE, size, libc::IPC_CREAT | 0o600) })?))
    }

    #[track_caller]
    fn attach(&self, flags: c_int) -> Done<*mut u8> {
        // SAFETY: the kernel chooses the place.
        Ok(ok(unsafe { libc::shmat(self.0, null_mut(), flags) })?.cast())
    }

    #[track_caller]
    fn stat(&self) -> Done<shmid_ds> {
        // SAFETY: the structure is the one that is asked for.
        unsafe {
            let mut ds = std::mem::zeroed();
            ok(libc::shmctl(self.0, libc::IPC_STAT, &mut ds))?;
            Ok(ds)
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: no memory is involved.
        unsafe { libc::shmctl(self.0, libc::IPC_RMID, null_mut()) };
    }
}

/// A key that hardly anybody else has.
fn key(salt: c_int) -> libc::key_t {
    // SAFETY: no memory is involved.
    0x4c4f_0000 ^ (unsafe { libc::getpid() } << 4) ^ salt
}

unsafe fn shared_by_fork() -> Done {
    let segment = Segment::new(3 * PAGE + 5)?;
    let at = segment.attach(0)?;
    eq(*at.add(4 * PAGE - 1), 0)?;
    in_child(|| {
        *at.add(PAGE) = 7;
        Ok(())
    })?;
    eq(*at.add(PAGE), 7)?;
    let other = segment.attach(0)?;
    check(other != at, "each attachment has its own place")?;
    eq(*other.add(PAGE), 7)?;
    ok(libc::shmdt(at.cast::<c_void>())).map(drop)
}

unsafe fn found_by_key() -> Done {
    let key = key(1);
    fails(libc::shmget(key, 100, 0o600), libc::ENOENT)?;
    let segment = Segment(ok(libc::shmget(key, 100, libc::IPC_CREAT | 0o600))?);
    eq(ok(libc::shmget(key, 50, 0o600))?, segment.0)?;
    eq(ok(libc::shmget(key, 0, 0))?, segment.0)?;
    fails(libc::shmget(key, 101, 0o600), libc::EINVAL)?;
    fails(libc::shmget(key, 100, libc::IPC_CREAT | libc::IPC_EXCL | 0o600), libc::EEXIST)?;
    let id = segment.0;
    drop(segment);
    fails(libc::shmget(key, 100, 0o600), libc::ENOENT)?;
    fails(libc::shmat(id, null_mut(), 0), libc::EINVAL)
}

unsafe fn sizes_and_keys_are_checked() -> Done {
    fails(libc::shmget(PRIVATE, 0, 0o600), libc::EINVAL)?;
    fails(libc::shmget(PRIVATE, usize::MAX, 0o600), libc::EINVAL)?;
    fails(libc::shmctl(-1, libc::IPC_STAT, null_mut()), libc::EINVAL)?;
    fails(libc::shmctl(0x7fff_fff0, libc::IPC_RMID, null_mut()), libc::EINVAL)?;
    let segment = Segment::new(1)?;
    fails(libc::shmctl(segment.0, libc::IPC_STAT, std::ptr::dangling_mut::<shmid_ds>()), libc::EFAULT)?;
    fails(libc::shmctl(segment.0, libc::IPC_SET, null_mut()), libc::EFAULT)?;
    fails(libc::shmctl(segment.0, 77, null_mut()), libc::EINVAL)?;
    fails(libc::shmdt(memory(PAGE)?.cast::<c_void>()), libc::EINVAL)?;
    fails(libc::shmdt(std::ptr::dangling::<c_void>()), libc::EINVAL)
}

unsafe fn attach_addresses() -> Done {
    let segment = Segment::new(2 * PAGE)?;
    let room = memory(4 * PAGE)?;
    let at = |addr: *mut u8, flags| libc::shmat(segment.0, addr.cast::<c_void>(), flags);
    fails(at(room.add(1), 0), libc::EINVAL)?;
    fails(at(room, 0), libc::EINVAL)?;
    fails(at(null_mut(), libc::SHM_REMAP), libc::EINVAL)?;
    *room.add(PAGE) = 1;
    eq(ok(at(room.add(PAGE), libc::SHM_REMAP))?, room.add(PAGE).cast())?;
    eq(*room.add(PAGE), 0)?;
    *room.add(3 * PAGE) = 2;
    ok(libc::shmdt(room.add(PAGE).cast::<c_void>()))?;
    ok(libc::munmap(room.cast::<c_void>(), 4 * PAGE))?;
    eq(ok(at(room.add(PAGE + 9), libc::SHM_RND))?, room.add(PAGE).cast())?;
    ok(libc::shmdt(room.add(PAGE).cast::<c_void>())).map(drop)
}

unsafe fn read_only_stays_so() -> Done {
    let segment = Segment::new(PAGE)?;
    let at = segment.attach(libc::SHM_RDONLY)?;
    fails(libc::mprotect(at.cast(), PAGE, libc::PROT_READ | libc::PROT_WRITE), libc::EACCES)?;
    let pid = spawn(|| {
        at.write_volatile(1);
        Ok(())
    })?;
    dies_of(pid, libc::SIGSEGV)?;
    eq(*at, 0)
}

unsafe fn removed_when_detached_last() -> Done {
    let key = key(2);
    let segment = Segment(ok(libc::shmget(key, PAGE, libc::IPC_CREAT | 0o600))?);
    let at = segment.attach(0)?;
    ok(libc::shmctl(segment.0, libc::IPC_RMID, null_mut()))?;
    fails(libc::shmget(key, PAGE, 0o600), libc::ENOENT)?;
    let ds = segment.stat()?;
    eq(ds.shm_perm.mode as c_int & 0o1777, 0o1600)?;
    eq(ds.shm_perm.__key, 0)?;
    let again = segment.attach(0)?;
    *at = 5;
    eq(*again, 5)?;
    ok(libc::shmdt(at.cast::<c_void>()))?;
    eq(segment.stat()?.shm_nattch, 1)?;
    ok(libc::shmdt(again.cast::<c_void>()))?;
    fails(libc::shmat(segment.0, null_mut(), 0), libc::EINVAL)
}

unsafe fn detached_piece_by_piece() -> Done {
    let segment = Segment::new(4 * PAGE)?;
    let at = segment.attach(0)?;
    ok(libc::munmap(at.add(PAGE).cast(), PAGE))?;
    check(segment.stat()?.shm_nattch > 0, "still attached")?;
    *at.add(2 * PAGE) = 1;
    ok(libc::shmdt(at.cast::<c_void>()))?;
    eq(segment.stat()?.shm_nattch, 0)?;
    fails(libc::mprotect(at.add(2 * PAGE).cast(), PAGE, libc::PROT_READ), libc::ENOMEM)
}

unsafe fn exec_and_exit_detach() -> Done {
    let segment = Segment::new(PAGE)?;
    let at = segment.attach(0)?;
    let (r, w) = pipe()?;
    let pid = spawn(|| {
        get(r)?;
        exec(&own_path(), &[c"exit", c"0"], &[])
    })?;
    soon("the child has it", || segment.stat().is_ok_and(|ds| ds.shm_nattch == 2))?;
    put(w, b"x")?;
    join(pid)?;
    let ds = segment.stat()?;
    eq((ds.shm_nattch, ds.shm_lpid), (1, pid))?;
    ok(libc::munmap(at.cast(), PAGE))?;
    eq(segment.stat()?.shm_nattch, 0)
}

unsafe fn stat_tells_who_and_when() -> Done {
    let segment = Segment::new(PAGE + 1)?;
    let fresh = segment.stat()?;
    eq(fresh.shm_segsz, PAGE + 1)?;
    eq((fresh.shm_cpid, fresh.shm_lpid, fresh.shm_atime, fresh.shm_dtime), (libc::getpid(), 0, 0, 0))?;
    check(fresh.shm_ctime > 0, "it was made at some time")?;
    eq((fresh.shm_perm.uid, fresh.shm_perm.cuid), (libc::geteuid(), libc::geteuid()))?;
    let at = segment.attach(0)?;
    let ds = segment.stat()?;
    check(ds.shm_atime >= fresh.shm_ctime && ds.shm_dtime == 0, "attached, not detached")?;
    eq((ds.shm_lpid, ds.shm_nattch), (libc::getpid(), 1))?;
    ok(libc::shmdt(at.cast::<c_void>()))?;
    check(segment.stat()?.shm_dtime >= ds.shm_atime, "detached")?;
    let mut new = segment.stat()?;
    new.shm_perm.mode = 0o7640;
    ok(libc::shmctl(segment.0, libc::IPC_SET, &mut new))?;
    eq(segment.stat()?.shm_perm.mode as c_int, 0o640)
}

unsafe fn permissions() -> Done {
    need_root()?;
    let segment = Segment::new(PAGE)?;
    let allow = |mode: c_int| {
        let mut ds = segment.stat()?;
        ds.shm_perm.mode = mode as _;
        ok(libc::shmctl(segment.0, libc::IPC_SET, &mut ds)).map(drop)
    };
    allow(0o604)?;
    in_child(|| {
        drop_root()?;
        fails(libc::shmat(segment.0, null_mut(), 0), libc::EACCES)?;
        ok(libc::shmat(segment.0, null_mut(), libc::SHM_RDONLY))?;
        fails(libc::shmat(segment.0, null_mut(), libc::SHM_RDONLY | libc::SHM_EXEC), libc::EACCES)?;
        segment.stat()?;
        let mut ds = segment.stat()?;
        fails(libc::shmctl(segment.0, libc::IPC_SET, &mut ds), libc::EPERM)?;
        fails(libc::shmctl(segment.0, libc::IPC_RMID, null_mut()), libc::EPERM)?;
        fails(libc::shmctl(segment.0, libc::SHM_LOCK, null_mut()), libc::EPERM)
    })?;
    allow(0o600)?;
    in_child(|| {
        drop_root()?;
        let mut ds: shmid_ds = std::mem::zeroed();
        fails(libc::shmctl(segment.0, libc::IPC_STAT, &mut ds), libc::EACCES)?;
        fails(libc::shmat(segment.0, null_mut(), libc::SHM_RDONLY), libc::EACCES)
    })
}

unsafe fn places_and_limits() -> Done {
    let segment = Segment::new(PAGE)?;
    let mut info = [0u64; 9];
    let highest = ok(libc::shmctl(0, libc::IPC_INFO, info.as_mut_ptr().cast()))?;
    eq(info[1], 1)?;
    check(info[0] >= 1 << 25 && info[2] >= 128, "limits are not small")?;
    let mut used = [0u64; 6];
    ok(libc::shmctl(0, 14, used.as_mut_ptr().cast()))?;
    check(used[0] >= 1 && used[1] >= 1, "a segment is counted")?;
    let mut found = false;
    for place in 0..=highest {
        for command in [13, 15] {
            let mut ds: shmid_ds = std::mem::zeroed();
            let id = libc::shmctl(place, command, &mut ds);
            found |= id == segment.0 && ds.shm_segsz == PAGE;
        }
    }
    check(found, "a place has the segment")?;
    let mut ds: shmid_ds = std::mem::zeroed();
    fails(libc::shmctl(30000, 13, &mut ds), libc::EINVAL)
}

unsafe fn lock_marks() -> Done {
    let segment = Segment::new(PAGE)?;
    ok(libc::shmctl(segment.0, libc::SHM_LOCK, null_mut()))?;
    eq(segment.stat()?.shm_perm.mode as c_int, 0o2600)?;
    ok(libc::shmctl(segment.0, libc::SHM_UNLOCK, null_mut()))?;
    eq(segment.stat()?.shm_perm.mode as c_int, 0o600)
}

/// The words of a segment's line in /proc/sysvipc/shm; none if it has no line.
pub fn listed(id: c_int) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
    let id = id.to_string();
    let line = text.lines().find(|line| line.split_whitespace().nth(1) == Some(&id)).unwrap_or_default();
    line.split_whitespace().map(str::to_owned).collect()
}

/// The line of /proc/self/maps of a mapping that begins there.
fn mapped_at(at: *mut u8) -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let begin = format!("{:x}-", at as usize);
    maps.lines().find(|line| line.starts_with(&begin)).unwrap_or_default().to_owned()
}

unsafe fn proc_lists_segments() -> Done {
    let segment = Segment::new(PAGE)?;
    let at = segment.attach(0)?;
    let words = listed(segment.0);
    eq(words.len(), 16)?;
    eq((&*words[2], &*words[3], &*words[6]), ("600", "4096", "1"))?;
    let line = mapped_at(at.cast());
    check(line.contains("rw-s") && line.contains("/SYSV00000000 (deleted)"), &line)?;
    let name = format!("/SYSV{:08x}", key(9));
    let keyed = Segment(ok(libc::shmget(key(9), PAGE, libc::IPC_CREAT | 0o600))?);
    let at = keyed.attach(0)?;
    drop(keyed);
    let line = mapped_at(at.cast());
    check(line.contains(&name), &line)?;
    let max = std::fs::read_to_string("/proc/sys/kernel/shmmni").unwrap_or_default();
    check(max.trim().parse::<u64>().is_ok(), "a limit is a number")
}

unsafe fn rlimit_of_addresses() -> Done {
    let segment = Segment::new(64 << 20)?;
    in_child(|| {
        let limit = libc::rlimit { rlim_cur: 32 << 20, rlim_max: 32 << 20 };
        ok(libc::setrlimit(libc::RLIMIT_AS, &limit))?;
        fails(libc::shmat(segment.0, null_mut(), 0), libc::ENOMEM)
    })?;
    let ds = segment.stat()?;
    eq((ds.shm_nattch, ds.shm_atime), (0, 0))
}
