//! `lodger-tt`: what `lodger run --backend tt` becomes. Says that the TT host is not there yet.

use std::process::ExitCode;

fn main() -> ExitCode {
    lodger::logger::say("the TT backend is not there yet; use --backend skas, the default");
    ExitCode::from(lodger::FAILURE)
}
