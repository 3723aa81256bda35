//! Capabilities (`capabilities(7)`): what root can do that others cannot.

use rustix::io::Result;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities,
};

/// None.
pub const NONE: CapabilitySet = CapabilitySet::empty();
/// To read a directory of the host's for guests as root does.
pub const TO_READ: CapabilitySet = CapabilitySet::DAC_READ_SEARCH.union(CapabilitySet::DAC_OVERRIDE);
/// To change it, and give files to others.
pub const TO_WRITE: CapabilitySet = TO_READ
    .union(CapabilitySet::CHOWN)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETFCAP);

/// Makes these the permitted and effective ones, of which the thread has to have all; none is inheritable.
fn set(all: CapabilitySet) -> Result<()> {
    set_capabilities(None, CapabilitySets { effective: all, permitted: all, inheritable: NONE })
}

/// Gives up all but those of `kept` in this thread and all that it starts, and for good: the bounding set is emptied as far
/// as that is allowed, and the ambient one. Says how many it has now.
pub fn keep(kept: CapabilitySet) -> Result<usize> {
    for number in 0..u64::BITS {
        // It is refused to who may not, and behind the last capability of this host.
        if remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)).is_err() {
            break;
        }
    }
    // A host that does not know it has no such set.
    let _ = clear_ambient_capability_set();
    let now = capabilities(None)?.permitted & kept;
    set(now)?;
    Ok(now.bits().count_ones() as usize)
}

/// Gives up all of the calling thread's. For a forked child: a system call only.
pub fn drop_all() {
    // To have fewer is always allowed.
    let done = set(NONE);
    debug_assert!(done.is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permitted() -> CapabilitySet {
        capabilities(None).unwrap().permitted
    }

    #[test]
    fn a_thread_keeps_what_it_is_told() {
        let had = permitted();
        let left = std::thread::spawn(|| (keep(TO_READ).unwrap(), permitted())).join().unwrap();
        assert_eq!(left, ((had & TO_READ).bits().count_ones() as usize, had & TO_READ));
        assert_eq!(std::thread::spawn(|| (drop_all(), permitted()).1).join().unwrap(), NONE);
        assert_eq!(permitted(), had);
    }
}
