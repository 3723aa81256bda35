//! What belongs to this program itself, by `/proc/self/maps`: nothing that answers there is a finding.

use std::ops::Range;

/// The ranges of this program's own mappings.
pub fn own() -> Vec<Range<u64>> {
    let text = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    text.lines().filter_map(range).collect()
}

fn range(line: &str) -> Option<Range<u64>> {
    let (start, end) = line.split_whitespace().next()?.split_once('-')?;
    Some(u64::from_str_radix(start, 16).ok()?..u64::from_str_radix(end, 16).ok()?)
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
}
