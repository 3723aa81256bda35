//! Settings of `/proc/sys` that are what they are: they can be read, and written with the value that they have. Sources:
//! `proc_sys_kernel(5)`, `proc_sys_fs(5)`, `proc_sys_vm(5)`.

use crate::errno::{EINVAL, Result};

/// What a write to a fixed setting does: nothing, if it asks for what is there. EINVAL for anything else.
pub(super) fn keep(text: &str, written: &[u8]) -> Result<()> {
    let asked = core::str::from_utf8(written).map_err(|_| EINVAL)?;
    let same = asked.trim_end_matches('\0').split_ascii_whitespace().eq(text.split_ascii_whitespace());
    if same { Ok(()) } else { Err(EINVAL) }
}

/// A decimal number with white space around it, as `/proc/sys` takes it. EINVAL for what is none, or too large for a signed
/// one.
pub(super) fn number(written: &[u8]) -> Result<u32> {
    let text = core::str::from_utf8(written).map_err(|_| EINVAL)?;
    let number = text.trim_matches(['\n', ' ', '\t', '\0']).parse::<u32>().map_err(|_| EINVAL)?;
    if i32::try_from(number).is_ok() { Ok(number) } else { Err(EINVAL) }
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
        assert_eq!(
            (number(b" 12\n"), number(b"x"), number(b"2147483648")),
            (Ok(12), Err(EINVAL), Err(EINVAL))
        );
    }
}
