//! Descriptors that whoever started this process left open: a guest needs none of them but the standard streams.

use std::fs;
use std::os::fd::RawFd;

/// Descriptors that were open at the start, but for the standard streams. A path such as `/dev/fd/63` may name one, so they
/// are closed only when everything is open that was asked for.
#[derive(Debug, Default)]
pub struct Inherited(Vec<RawFd>);

impl Inherited {
    /// Those of this moment: call it before anything is opened. None where there is no `/proc`.
    pub fn note() -> Inherited {
        let Ok(entries) = fs::read_dir("/proc/self/fd") else { return Inherited::default() };
        let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let mut found: Vec<RawFd> = numbers.filter(|fd| *fd > libc::STDERR_FILENO).collect();
        // That of the list itself is closed by now.
        found.retain(|fd| fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok());
        Inherited(found)
    }

    /// Closes them; says how many there were.
    pub fn close(self) -> usize {
        for fd in &self.0 {
            // Whoever started this process opened it, so nothing here owns it.
            let closed = nix::unistd::close(*fd);
            debug_assert!(closed.is_ok(), "{fd} was open");
        }
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;

    use super::*;

    #[test]
    fn what_was_open_at_the_start_is_closed() {
        let before = fs::File::open("/dev/null").unwrap().into_raw_fd();
        let noted = Inherited::note();
        assert!(noted.0.contains(&before) && noted.0.iter().all(|fd| *fd > 2));
        let after = fs::File::open("/dev/null").unwrap();
        // Those of other tests are none of this one's business.
        assert_eq!(Inherited(vec![before]).close(), 1);
        assert!(fs::symlink_metadata(format!("/proc/self/fd/{before}")).is_err());
        assert!(after.metadata().is_ok());
    }
}
