//! PID 1 of a Lodger guest: `init [--tty] [--user U[:G]] [--workdir D] [-- CMD ARG...]`.
//!
//! It mounts what programs expect ([`mounts`]), runs one command with the environment that the kernel gave
//! ([`command`]), forwards signals to it, reaps orphans and ends with the command's exit status ([`supervise`]): 128+n
//! when it died of signal n, 127 when it was not found, 126 when it could not be executed, 125 when init itself failed.
//! Started as another process than PID 1 it mounts nothing and ends nobody, which is how it is tested.
//!
//! Boot time is spent here, so it makes few system calls: no Rust runtime before `main`, and no file is read in the
//! common case.

mod args;
mod command;
mod mounts;
mod supervise;
mod sys;
mod user;

use std::ffi::OsString;

/// Does what `words` (the arguments without argv\[0\]) ask for, and returns the exit status.
pub fn run(words: Vec<OsString>) -> i32 {
    let args = match args::parse(words) {
        Ok(args) => args,
        Err(why) => return fail(125, &why),
    };
    let alone = sys::getpid() == 1;
    if alone {
        mounts::mount_all();
    }
    let signals = supervise::signals();
    let mask = signals.block();
    let status = match sys::fork() {
        Ok(Some(child)) => supervise::until_end_of(child, &signals),
        Ok(None) => {
            let failure = command::start(args, &mask);
            sys::exit_now(fail(failure.status, &failure.why))
        }
        Err(error) => return fail(125, &format!("cannot start a process: {error}")),
    };
    if alone {
        supervise::end_the_rest(&signals);
        sys::sync();
    }
    status
}

/// Says why, in one write so that lines of several processes do not mix.
fn fail(status: i32, why: &str) -> i32 {
    sys::write(2, format!("lodger: {why}\n").as_bytes());
    status
}
