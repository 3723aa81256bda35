//! `lodger-demo-tt`: the demos on the TT backend. Says that the TT host is not there yet.

use std::process::ExitCode;

fn main() -> ExitCode {
    lodger::logger::say("the TT backend is not there yet");
    ExitCode::from(lodger_demos::FAILURE)
}
