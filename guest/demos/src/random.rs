//! Chance, from `getrandom(2)`.

/// Bytes that nobody can foresee.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    // SAFETY: the buffer is valid for its length, which is far below what getrandom gives in one piece.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    assert!(usize::try_from(got) == Ok(N), "getrandom gives what is asked for");
    bytes
}

/// A number below `limit`.
pub fn below(limit: u64) -> u64 {
    u64::from_le_bytes(bytes()) % limit
}
