//! Lodger's developer commands: `cargo xtask VERB`. One file a verb; what several share is in [`cargo`].

mod bench;
mod cargo;
mod ci;
mod conformance;
mod demo;
mod fuzz;
mod guest;
mod install;
mod model;
mod rootfs;
mod run;
mod sim;
mod soak;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Lodger's developer commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Build what is needed, then `lodger run` with all that follows
    Run(run::Args),
    /// Run every test: units, ABI cases natively and on Lodger, whole systems
    Test(test::Args),
    /// Build the default userland
    Guest(guest::Options),
    /// Measure what a guest costs, beside the same programs natively and on other kernels
    Bench(bench::Args),
    /// Measure both backends beside native Linux, and show what each exposes
    Compare(bench::compare::Args),
    /// Build all and install it
    Install(install::Args),
    /// Show what each backend protects, by attacking it
    Demo(demo::Args),
    /// Run suites that nobody here wrote, natively and in a guest, and write docs/conformance.md
    Conformance(conformance::Args),
    /// Try many orders of what vCPUs do, with a model checker
    Model(model::Args),
    /// Run the kernel on a simulated host that fails, with guests that do anything
    Sim(sim::Args),
    /// Feed the kernel's readers of foreign data and its system calls with anything, and see that nothing fails
    Fuzz(fuzz::Args),
    /// Run a mix of work for minutes or hours, and see that nothing grows
    Soak(soak::Args),
    /// Make root file systems: Debian, busybox
    Rootfs(rootfs::Args),
    /// Check format, lints and the rules of the code base, with the time of each
    Ci(ci::Args),
    /// Check the rules of the code base that no compiler knows
    Tidy(tidy::Args),
}

/// The exit status of wrong words: the same as `lodger` has.
const USAGE: u8 = 125;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // `run` is parsed by hand: its words belong to `lodger run`, a `--` among them too.
    if words.get(1).is_some_and(|verb| verb == "run") && !run::asks_for_help(&words[2..]) {
        return run::run(&words[2..]);
    }
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            // A reader that went away has what it wanted.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.verb {
        Verb::Run(_) => return ExitCode::SUCCESS,
        Verb::Test(args) => test::run(&args),
        Verb::Guest(options) => guest::build(&options).map(|built| println!("{}", built.dir.display())),
        Verb::Bench(args) => bench::run(&args),
        Verb::Compare(args) => bench::compare::run(&args),
        Verb::Install(args) => install::run(&args),
        Verb::Demo(args) => return demo::run(&args),
        Verb::Conformance(args) => conformance::run(&args),
        Verb::Model(args) => model::run(&args),
        Verb::Sim(args) => sim::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Soak(args) => soak::run(&args),
        Verb::Rootfs(args) => rootfs::run(&args),
        Verb::Ci(args) => ci::run(&args),
        Verb::Tidy(args) => tidy::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_verbs_and_flags_fit_together() {
        super::Cli::command().debug_assert();
    }
}
