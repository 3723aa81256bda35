//! What guest programs say, line by line.
//!
//! `who: text` is for people. `who= key value` is a fact, which this side compares with others and does not print: the text
//! beside it says the same in words.

use std::collections::BTreeMap;

/// A line for people.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which program says it.
    pub who: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// The facts, by who gave them and what they are.
#[derive(Debug, Default)]
pub struct Facts {
    facts: BTreeMap<(String, String), String>,
}

impl Facts {
    /// Takes a line in: a fact is kept, one for people is given back. So is one that is neither, as said by `guest`.
    pub fn take<'a>(&mut self, line: &'a str) -> Option<Line<'a>> {
        let word = line.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(line.len());
        let (who, rest) = line.split_at(word);
        if let Some(text) = rest.strip_prefix(": ").filter(|_| word > 0) {
            return Some(Line { who, text });
        }
        match rest.strip_prefix("= ").filter(|_| word > 0).and_then(|fact| fact.split_once(' ')) {
            Some((key, value)) => {
                self.facts.insert((who.into(), key.into()), value.into());
                None
            }
            None => Some(Line { who: "guest", text: line }),
        }
    }

    /// What `who` said of `key`, last.
    pub fn get(&self, who: &str, key: &str) -> Option<&str> {
        self.facts.get(&(who.into(), key.into())).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_kept_and_words_are_passed_on() {
        let mut facts = Facts::default();
        assert_eq!(facts.take("victim: hello: you"), Some(Line { who: "victim", text: "hello: you" }));
        assert_eq!(facts.take("victim= secret 12 34"), None);
        assert_eq!(facts.take("victim= odd"), Some(Line { who: "guest", text: "victim= odd" }));
        assert_eq!(facts.take(": x"), Some(Line { who: "guest", text: ": x" }));
        assert_eq!(facts.get("victim", "secret"), Some("12 34"));
        assert_eq!(facts.get("attacker", "secret"), None);
    }
}
