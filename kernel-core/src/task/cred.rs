//! Credentials: who a task is, and what it may do for that. Source: `credentials(7)`, `capabilities(7)`.

use alloc::sync::Arc;

use crate::task::user_ns::UserNs;

bitflags::bitflags! {
    /// Capabilities, by bit number, see `capabilities(7)`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Caps: u64 {
        /// Change owners.
        const CHOWN = 1 << 0;
        /// Bypass permission bits.
        const DAC_OVERRIDE = 1 << 1;
        /// Bypass read permission bits.
        const DAC_READ_SEARCH = 1 << 2;
        /// Act as the owner of any file.
        const FOWNER = 1 << 3;
        /// Keep set-id bits.
        const FSETID = 1 << 4;
        /// Signal anyone.
        const KILL = 1 << 5;
        /// Change group ids.
        const SETGID = 1 << 6;
        /// Change user ids.
        const SETUID = 1 << 7;
        /// Change capability sets.
        const SETPCAP = 1 << 8;
        /// Lock memory beyond the limit.
        const IPC_LOCK = 1 << 14;
        /// Bypass permissions of System V IPC.
        const IPC_OWNER = 1 << 15;
        /// chroot(2).
        const SYS_CHROOT = 1 << 18;
        /// ptrace(2) of anyone.
        const SYS_PTRACE = 1 << 19;
        /// mount(2), sethostname(2) and much else.
        const SYS_ADMIN = 1 << 21;
        /// reboot(2).
        const SYS_BOOT = 1 << 22;
        /// Raise priorities.
        const SYS_NICE = 1 << 23;
        /// Override resource limits.
        const SYS_RESOURCE = 1 << 24;
        /// Set the clock.
        const SYS_TIME = 1 << 25;
        /// vhangup(2), terminals.
        const SYS_TTY_CONFIG = 1 << 26;
        /// mknod(2).
        const MKNOD = 1 << 27;
        /// Set file capabilities.
        const SETFCAP = 1 << 31;
        /// Read the kernel log.
        const SYSLOG = 1 << 34;
        /// Choose numbers of processes.
        const CHECKPOINT_RESTORE = 1 << 40;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// What users and capabilities have to do with each other. Source: `capabilities(7)`, "The securebits flags".
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct SecureBits: u32 {
        /// The superuser gets no capabilities by executing a program.
        const NO_ROOT = 1 << 0;
        /// That stays as it is; so for the others.
        const NO_ROOT_LOCKED = 1 << 1;
        /// Capabilities stay as they are when user ids change.
        const NO_SETUID_FIXUP = 1 << 2;
        /// See there.
        const NO_SETUID_FIXUP_LOCKED = 1 << 3;
        /// Permitted ones stay when all user ids become others than the superuser's; until the next program.
        const KEEP_CAPS = 1 << 4;
        /// See there.
        const KEEP_CAPS_LOCKED = 1 << 5;
        /// No capability can be made ambient.
        const NO_CAP_AMBIENT_RAISE = 1 << 6;
        /// See there.
        const NO_CAP_AMBIENT_RAISE_LOCKED = 1 << 7;
        /// All that say that others stay.
        const LOCKS = 0b1010_1010;
    }
}

/// Capabilities that have to do with files, and come and go with the file system user id.
const OF_FILES: Caps = Caps::CHOWN
    .union(Caps::DAC_OVERRIDE)
    .union(Caps::DAC_READ_SEARCH)
    .union(Caps::FOWNER)
    .union(Caps::FSETID)
    .union(Caps::MKNOD)
    .union(Caps::from_bits_retain(1 << 9 | 1 << 32));

/// Every capability that Linux 6.1 has (`CAP_LAST_CAP` is 40).
pub const ALL_CAPS: Caps = Caps::from_bits_retain((1 << 41) - 1);

/// A task's credentials; immutable, replaced whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cred {
    /// Real, effective, saved and file system user id.
    pub uid: u32,
    /// Effective user id.
    pub euid: u32,
    /// Saved user id.
    pub suid: u32,
    /// File system user id.
    pub fsuid: u32,
    /// Real group id.
    pub gid: u32,
    /// Effective group id.
    pub egid: u32,
    /// Saved group id.
    pub sgid: u32,
    /// File system group id.
    pub fsgid: u32,
    /// Supplementary groups.
    pub groups: Arc<[u32]>,
    /// Effective capabilities.
    pub effective: Caps,
    /// Permitted capabilities.
    pub permitted: Caps,
    /// Inheritable capabilities.
    pub inheritable: Caps,
    /// Bounding set.
    pub bounding: Caps,
    /// Ambient set.
    pub ambient: Caps,
    /// Where the capabilities count.
    pub user_ns: UserNs,
    /// See there.
    pub secure_bits: SecureBits,
}

impl Cred {
    /// The superuser's, as PID 1 has them.
    pub fn root() -> Cred {
        Cred {
            uid: 0,
            euid: 0,
            suid: 0,
            fsuid: 0,
            gid: 0,
            egid: 0,
            sgid: 0,
            fsgid: 0,
            groups: Arc::from([]),
            effective: ALL_CAPS,
            permitted: ALL_CAPS,
            inheritable: Caps::empty(),
            bounding: ALL_CAPS,
            ambient: Caps::empty(),
            user_ns: UserNs::INITIAL,
            secure_bits: SecureBits::empty(),
        }
    }

    /// Whether it has `cap` over the whole system.
    pub fn capable(&self, cap: Caps) -> bool {
        self.effective.contains(cap) && self.user_ns.is_initial()
    }

    /// The real user id as the task itself sees it.
    pub fn shown_uid(&self) -> u32 {
        self.user_ns.shown_uid(self.uid)
    }

    /// The effective user id as the task itself sees it.
    pub fn shown_euid(&self) -> u32 {
        self.user_ns.shown_uid(self.euid)
    }

    /// The real group id as the task itself sees it.
    pub fn shown_gid(&self) -> u32 {
        self.user_ns.shown_gid(self.gid)
    }

    /// The effective group id as the task itself sees it.
    pub fn shown_egid(&self) -> u32 {
        self.user_ns.shown_gid(self.egid)
    }

    /// Whether `gid` is the file system group or a supplementary one.
    pub fn in_group(&self, gid: u32) -> bool {
        self.fsgid == gid || self.groups.contains(&gid)
    }

    /// What capabilities become when user ids changed. Source: `capabilities(7)`, "Effect of user ID changes".
    pub fn after_uid_change(&mut self, before: &Cred) {
        if self.secure_bits.contains(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        let root = self.user_ns.uid(0);
        let is_root = |uid: u32| Some(uid) == root;
        let had_root = [before.uid, before.euid, before.suid].into_iter().any(is_root);
        let has_root = [self.uid, self.euid, self.suid].into_iter().any(is_root);
        if had_root && !has_root {
            if !self.secure_bits.contains(SecureBits::KEEP_CAPS) {
                self.permitted = Caps::empty();
                self.effective = Caps::empty();
            }
            self.ambient = Caps::empty();
        }
        match (is_root(before.euid), is_root(self.euid)) {
            (true, false) => self.effective = Caps::empty(),
            (false, true) => self.effective = self.permitted,
            _ => {}
        }
    }

    /// What they become when the file system user id alone changed.
    pub fn after_fsuid_change(&mut self, before: &Cred) {
        if self.secure_bits.contains(SecureBits::NO_SETUID_FIXUP) {
            return;
        }
        let root = self.user_ns.uid(0);
        match (Some(before.fsuid) == root, Some(self.fsuid) == root) {
            (true, false) => self.effective -= OF_FILES,
            (false, true) => self.effective |= self.permitted & OF_FILES,
            _ => {}
        }
    }
}
