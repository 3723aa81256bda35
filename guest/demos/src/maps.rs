//! What belongs to this program itself, by `/proc/self/maps`: nothing that answers there is a finding.

use std::ops::Range;

/// How far its stack grows when something below it is touched: the limit that a guest's first program has.
const STACK: u64 = 8 << 20;

/// The ranges of this program's own mappings, and where its stack can grow to.
pub fn own() -> Vec<Range<u64>> {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    text.lines().filter_map(range).collect()
}

fn range(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    let end = u64::from_str_radix(end, 16).ok()?;
    let start = u64::from_str_radix(start, 16).ok()?;
    Some(if line.ends_with("[stack]") { end.saturating_sub(STACK)..end } else { start..end })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_is_in_its_own_maps() {
        let here = this_program_is_in_its_own_maps as *const () as u64;
        assert!(own().iter().any(|range| range.contains(&here)));
        assert!(!own().iter().any(|range| range.contains(&8)));
    }

    #[test]
    fn where_a_stack_grows_is_its_programs_own() {
        let line = "7ffc10000000-7ffc10021000 rw-p 00000000 00:00 0                          [stack]";
        assert_eq!(range(line), Some(0x7ffc_0f82_1000..0x7ffc_1002_1000));
    }
}
