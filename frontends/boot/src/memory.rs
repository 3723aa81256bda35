//! Sizes of guest memory, as people write them.

/// The least memory that a guest boots with, in bytes.
pub const LEAST: u64 = 16 << 20;
/// The most: guest RAM is one sparse file, and its offsets are cut out of this range.
pub const MOST: u64 = 1 << 40;

/// Reads a number of bytes with an optional K, M, G or T behind it (powers of 1024, either case), within
/// [`LEAST`]..=[`MOST`]. An error is a sentence for whoever typed it.
pub fn parse(text: &str) -> Result<u64, String> {
    let (number, shift) = split(text)?;
    let bytes = number.saturating_mul(1 << shift);
    if bytes < LEAST {
        let hint = if shift == 0 && (LEAST >> 20..=MOST >> 20).contains(&number) {
            format!("; {number}M may be meant")
        } else {
            String::new()
        };
        return Err(format!("a guest needs at least {} of memory{hint}", show(LEAST)));
    }
    if bytes > MOST {
        return Err(format!("a guest can have at most {} of memory", show(MOST)));
    }
    Ok(bytes)
}

/// Reads any number of bytes as [`parse`] does.
pub fn bytes(text: &str) -> Result<u64, String> {
    split(text).map(|(number, shift)| number.saturating_mul(1 << shift))
}

fn split(text: &str) -> Result<(u64, u32), String> {
    let nonsense = || String::from("a size is a number with K, M, G or T behind it, for example 512M");
    let (digits, suffix) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match suffix.to_ascii_uppercase().as_str() {
        _ if digits.is_empty() => return Err(nonsense()),
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(nonsense()),
    };
    // Digits alone fail only by being too many.
    Ok((digits.parse().unwrap_or(u64::MAX), shift))
}

/// A size as [`parse`] reads it, with the largest suffix that leaves it whole.
pub fn show(bytes: u64) -> String {
    let suffixes = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
    let whole = suffixes.into_iter().find(|(shift, _)| bytes != 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| bytes.to_string(), |(shift, suffix)| format!("{}{suffix}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_suffixes() {
        assert_eq!(parse("512M"), Ok(512 << 20));
        assert_eq!(parse("1g"), Ok(1 << 30));
        assert_eq!(parse("262144k"), Ok(256 << 20));
        assert_eq!(parse("67108864"), Ok(64 << 20));
        assert_eq!(parse("1T"), Ok(1 << 40));
    }

    #[test]
    fn nonsense_gets_a_sentence() {
        for text in ["", "M", "x", "12X", "1.5G", "-1M", "512MB", "0x10M", "5 M", "+5M", "\u{663}M"] {
            assert!(parse(text).unwrap_err().starts_with("a size is"), "{text}");
        }
        assert_eq!(parse("512").unwrap_err(), "a guest needs at least 16M of memory; 512M may be meant");
        assert_eq!(parse("4M").unwrap_err(), "a guest needs at least 16M of memory");
        assert!(parse("2T").unwrap_err().contains("at most 1T"));
        assert!(parse("99999999999999999999999G").unwrap_err().contains("at most"));
    }

    #[test]
    fn sizes_are_shown_as_they_are_read() {
        for text in ["512M", "1G", "16385K", "1T", "16777217"] {
            assert_eq!(show(parse(text).unwrap()), text);
        }
    }
}
