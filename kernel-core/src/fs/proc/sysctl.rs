//! Settings of `/proc/sys` that are what they are: they can be read, and written with the value that they have. Sources:
//! `proc_sys_kernel(5)`, `proc_sys_fs(5)`, `proc_sys_vm(5)`.

use crate::errno::{EINVAL, Result};

/// What a write to a fixed setting does: nothing, if it asks for what is there. EINVAL for anything else.
pub(super) fn keep(text: &str, written: &[u8]) -> Result<()> {
    let asked = core::str::from_utf8(written).map_err(|_| EINVAL)?;
    let same = asked.trim_end_matches('\0').split_ascii_whitespace().eq(text.split_ascii_whitespace());
    if same { Ok(()) } else { Err(EINVAL) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_is_taken() {
        assert_eq!(keep("4\t4\t1\t7\n", b"4 4 1 7"), Ok(()));
        assert_eq!(keep("0\n", b"0\0"), Ok(()));
        assert_eq!(keep("0\n", b"1\n"), Err(EINVAL));
        assert_eq!(keep("0\n", b"\xff"), Err(EINVAL));
    }
}
