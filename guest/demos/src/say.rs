//! What a program says: lines for people, and facts that the frontend compares. A line is one write, so that those of
//! several programs do not mix.

use std::io::Write;

/// Who speaks.
#[derive(Clone, Copy)]
pub struct Voice(pub &'static str);

impl Voice {
    /// A line for people.
    pub fn say(self, text: &str) {
        line(&format!("{}: {text}\n", self.0));
    }

    /// A fact for the frontend.
    pub fn fact(self, key: &str, value: &str) {
        line(&format!("{}= {key} {value}\n", self.0));
    }
}

/// Nobody is left to be told when standard output is gone.
fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Bytes as people write them down.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
