//! What is shown of work that takes a minute: a bar on a terminal, one line a step anywhere else.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One step of the work.
pub struct Step {
    bar: ProgressBar,
}

impl Step {
    /// Starts to show a step of `total` parts; 0 when nobody knows how many.
    pub fn new(what: &str, total: u64, unit: Unit) -> Step {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
        let template = match (unit, total) {
            (_, 0) => "{spinner} {prefix} {wide_msg}",
            (Unit::Bytes, _) => "{bar:24} {bytes}/{total_bytes} {prefix} {wide_msg}",
            (Unit::Pieces, _) => "{bar:24} {pos}/{len} {prefix} {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_prefix(what.to_owned());
        if bar.is_hidden() {
            eprintln!("xtask: {what}");
        } else {
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Step { bar }
    }

    /// So much is done.
    pub fn at(&self, done: u64) {
        self.bar.set_position(done);
    }

    /// One more is done: this.
    pub fn next(&self, what: &str) {
        self.bar.inc(1);
        self.bar.set_message(what.to_owned());
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// What a step's parts are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things to count.
    Pieces,
}
