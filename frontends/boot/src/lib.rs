//! The `lodger` command: everything but the host. A binary names the concrete host in its last lines and calls
//! [`main`]: `lodger` is the one with SKAS, `lodger-tt` the one with TT. Each becomes the other when that is asked for.
//!
//! From the words to a running guest: [`words`] (with [`cli`] and [`uml_words`]) reads what was asked, [`plan`] works out
//! what PID 1 gets, [`userland`] and [`root`] find the files, and [`instance`] boots the kernel and serves it until its end,
//! after [`lockdown`]; [`doctor`] says what this machine allows.

pub mod cli;
pub mod console;
pub mod control;
pub mod disks;
pub mod doctor;
pub mod escape;
pub mod image;
pub mod instance;
pub mod kept;
pub mod lockdown;
pub mod logger;
pub mod mapped;
pub mod memory;
mod places;
pub mod plan;
pub mod root;
pub mod share;
pub mod signals;
pub mod terminal;
pub mod uml_words;
pub mod userland;
pub mod words;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::CommandFactory;

use crate::cli::{Backend, Cli, Generate};
use crate::words::{Asked, Refusal};

/// The exit status of lodger's own failures, usage errors among them.
pub const FAILURE: u8 = 125;

/// The life of the command: returns its exit status. `B` is the host of the binary's `own` backend.
pub fn main<B: host_linux::backend::Backend>(own: Backend) -> ExitCode {
    let status = match words::read(std::env::args_os().skip(1).collect(), own) {
        Ok(Asked::Generate(kind)) => generate(kind),
        Ok(Asked::Image(command)) => image::run(&command).map(|text| print(&text)),
        Ok(Asked::Disk(command)) => kept::run(&command).map(|text| print(&text)),
        Ok(Asked::Doctor(doctor, words)) => match doctor.backend.unwrap_or(own) {
            backend if backend != own => become_other(backend, &words).map(|never| match never {}),
            _ => doctor::run::<B>(&doctor).map(|text| print(&text)),
        },
        Ok(Asked::Run(request)) if request.backend != own => {
            become_other(request.backend, &request.words).map(|never| match never {})
        }
        Ok(Asked::Run(request)) => instance::run::<B>(&request),
        Err(refusal) => Ok(explain(refusal)),
    };
    let status = status.unwrap_or_else(|error| {
        logger::say(&format!("{error:#}"));
        FAILURE
    });
    ExitCode::from(status)
}

/// Prints why there is nothing to run: 0 if that is what was asked for (help, version).
fn explain(refusal: Refusal) -> u8 {
    match refusal {
        Refusal::Sentence(sentence) => {
            logger::say(&sentence);
            FAILURE
        }
        Refusal::Clap(error) => {
            // A reader that went away (`lodger --help | head -1`) has what it wanted.
            let _ = error.print();
            if error.use_stderr() { FAILURE } else { 0 }
        }
    }
}

/// Becomes the program of another backend, which is beside this one.
fn become_other(backend: Backend, words: &[OsString]) -> Result<Infallible> {
    let this = std::env::current_exe().context("cannot find out where lodger itself is")?;
    let (name, program) = match backend {
        Backend::Skas => ("skas", "lodger"),
        Backend::Tt => ("tt", "lodger-tt"),
    };
    let other = this.with_file_name(program);
    let error = Command::new(&other).args(words).exec();
    Err(error)
        .with_context(|| format!("--backend {name} needs {}, which cannot be executed", other.display()))
}

/// Prints what was asked for, and gives the exit status.
pub(crate) fn print(text: &str) -> u8 {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => 0,
        Err(_) => FAILURE,
    }
}

fn generate(kind: Generate) -> Result<u8> {
    let mut text = Vec::new();
    let shell = match kind {
        Generate::Man => {
            man_page(&mut text)?;
            None
        }
        Generate::Bash => Some(clap_complete::Shell::Bash),
        Generate::Zsh => Some(clap_complete::Shell::Zsh),
        Generate::Fish => Some(clap_complete::Shell::Fish),
    };
    if let Some(shell) = shell {
        clap_complete::generate(shell, &mut Cli::command(), "lodger", &mut text);
    }
    std::io::stdout().write_all(&text)?;
    Ok(0)
}

/// One page for `lodger` and `lodger run`.
fn man_page(text: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = Cli::command();
    command.build();
    let run = command.find_subcommand("run").cloned().unwrap_or_default();
    let (whole, run) = (clap_mangen::Man::new(command), clap_mangen::Man::new(run));
    whole.render_title(text)?;
    whole.render_name_section(text)?;
    run.render_synopsis_section(text)?;
    whole.render_description_section(text)?;
    run.render_options_section(text)?;
    run.render_extra_section(text)?;
    whole.render_version_section(text)
}
