//! How a demo looks in a terminal: who speaks on the left, what is said on the right, in lines that fit.

/// Columns of a line.
const WIDTH: usize = 80;

/// Columns before the text.
const MARGIN: usize = 13;

/// Prints what `who` says.
pub fn say(who: &str, text: &str) {
    print!("{}", lines(who, text));
}

/// The lines of it; a word that is too long for a line gets one of its own.
fn lines(who: &str, text: &str) -> String {
    let mut out = format!("  {who:<width$}", width = MARGIN - 2);
    let mut column = MARGIN;
    for (number, word) in text.split_whitespace().enumerate() {
        let length = word.chars().count();
        if number > 0 && column + 1 + length > WIDTH {
            out.push('\n');
            out.push_str(&" ".repeat(MARGIN));
            column = MARGIN;
        } else if number > 0 {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_broken_between_words() {
        assert_eq!(lines("victim", "hello you"), "  victim     hello you\n");
        let long = lines("attacker", &"word ".repeat(30));
        assert!(long.lines().count() > 1 && long.lines().all(|line| line.len() <= WIDTH));
        assert!(long.lines().skip(1).all(|line| line.starts_with("             word")));
        assert_eq!(lines("x", &"y".repeat(100)).lines().count(), 1);
    }
}
