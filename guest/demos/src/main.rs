//! The guest's part of the demos: one static, position-independent program with four roles.
//!
//! * `demo scene NAME` runs as root and sets the scene: it starts the victim and the attacker as two ordinary users, and
//!   makes the files that one of them must not read ([`scene`]).
//! * `demo victim` has a secret ([`victim`]).
//! * `demo attack NAME` wants it ([`attack`]). It knows how Lodger is designed, which is public, and nothing of this run:
//!   where things are, it finds out by trying ([`probe`], [`neighbours`], [`kernel`]).
//! * `demo wait NAME` does nothing, under that name: somebody to be looked at ([`wait`]).
//!
//! The same bytes run on every backend. Nothing asks which one it is.

mod attack;
mod kernel;
mod maps;
mod neighbours;
mod probe;
mod random;
mod say;
mod scene;
mod victim;
mod wait;

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["scene", name] => scene::play(name),
        ["victim"] => victim::live(),
        ["attack", name] => attack::run(name),
        ["wait", name] => wait::forever(name),
        _ => {
            eprintln!("usage: demo scene NAME");
            ExitCode::from(2)
        }
    }
}
