//! The command line as clap sees it. What the flags mean is the contract of `docs/command-line.md`; what is planned
//! and not there yet is known here by name, so that it is refused instead of mistaken.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};

use crate::doctor::Doctor;
use crate::image::Image;
use crate::kept::{self, Disk};
use crate::{memory, share};

const EXAMPLES: &str = "\
Examples:
  lodger run                              a shell in the default userland
  lodger run -- sh -c 'ls / | wc -l'      one command: its streams, its exit status
  lodger run --root DIR -- /bin/bash      a directory or cpio archive as the root
  lodger run --strace=LOG -- ls           its system calls, written to LOG
  lodger run --disk work -- sh            changes are there the next time
  lodger run --ubd 0=disk.img -- sh       with the disk image as /dev/ubda
  lodger mem=256M init=/bin/sh            the same in User-mode Linux's words";

const RUN_EXAMPLES: &str = "\
Examples:
  lodger run
  lodger run -- uname -a
  lodger run --env LANG --env EDITOR=vi --workdir /tmp -- sh
  tar cz . | lodger run -- tar tz
  lodger run --root rootfs.cpio.gz --init /sbin/init

The exit status is that of CMD, or 128+N when signal N ended it, 125 when lodger
itself failed, 126 when CMD cannot be executed, 127 when it is not there.
On a terminal, `Ctrl-a x` ends a guest that hangs, and `Ctrl-a h` helps.";

/// A Linux-compatible kernel that lodges inside an ordinary process.
#[derive(Debug, Parser)]
#[command(name = "lodger", version, after_help = EXAMPLES, disable_help_subcommand = true)]
#[command(arg_required_else_help = true, args_override_self = true)]
pub struct Cli {
    /// Print a man page or a shell's completions.
    #[arg(long, value_enum, hide = true, value_name = "KIND")]
    pub generate: Option<Generate>,
    /// What to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// What `--generate` prints.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Generate {
    /// The man page, in roff.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

/// What `lodger` can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Boot a guest and run a command in it
    Run(Box<Run>),
    /// (not there yet) List running instances
    #[command(hide = true)]
    Ps(Words),
    /// (not there yet) Run another command in an instance
    #[command(hide = true)]
    Exec(Words),
    /// (not there yet) Shut an instance down
    #[command(hide = true)]
    Stop(Words),
    /// (not there yet) End an instance
    #[command(hide = true)]
    Kill(Words),
    /// Look what this machine lets lodger do, and how it locks itself down
    Doctor(Doctor),
    /// Make, describe and merge disk images
    #[command(subcommand)]
    Image(Image),
    /// List and remove the disks that `run --disk` has made
    #[command(subcommand)]
    Disk(Disk),
}

impl Verb {
    /// The name of a verb that is planned and not there yet.
    pub fn planned(&self) -> Option<&'static str> {
        match self {
            Verb::Run(_) | Verb::Doctor(_) | Verb::Image(_) | Verb::Disk(_) => None,
            Verb::Ps(_) => Some("ps"),
            Verb::Exec(_) => Some("exec"),
            Verb::Stop(_) => Some("stop"),
            Verb::Kill(_) => Some("kill"),
        }
    }
}

/// The words after a verb that is not there yet; they do not matter.
#[derive(Debug, clap::Args)]
pub struct Words {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<OsString>,
}

/// How guest processes are kept on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// Every guest process in a host address space of its own
    Skas,
    /// The kernel and all guest processes in one host address space: no protection between them
    Tt,
}

/// How system calls of guests are caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Trap {
    /// By a system call filter in the guest's own host process
    Seccomp,
    /// By tracing it
    Ptrace,
}

impl From<Trap> for host_linux::backend::Trap {
    fn from(trap: Trap) -> Self {
        match trap {
            Trap::Seccomp => Self::Seccomp,
            Trap::Ptrace => Self::Ptrace,
        }
    }
}

/// `lodger run`.
#[derive(Debug, clap::Args)]
#[command(after_help = RUN_EXAMPLES, args_override_self = true)]
pub struct Run {
    /// How guest processes are kept on the host; without it, skas
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// The root file system: a name (`default`, or what `cargo xtask rootfs` has made: `debian`, `busybox`) or a path with a
    /// `/` in it to a directory, a cpio archive, gzip-compressed or not, or an ext4 image; it is not changed without
    /// --root-rw: changes go to memory, or to --disk
    #[arg(long, value_name = "ROOT", default_value = "default")]
    pub root: OsString,
    /// Change the directory or image that --root names; else changes are in memory, and gone with the guest
    #[arg(long)]
    pub root_rw: bool,
    /// Keep changes to the root file system on the disk of this name, which is made if it is not there, and used by one
    /// guest at a time; `lodger disk` lists and removes them
    #[arg(long, value_name = "NAME", value_parser = kept::name)]
    pub disk: Option<String>,
    /// Show a directory of the host in the guest, at GUEST; with :ro it cannot be changed there; can be given often
    #[arg(long, value_name = "HOST:GUEST[:ro]")]
    pub share: Vec<OsString>,
    /// Memory of the guest: bytes, or with K, M, G or T behind the number
    #[arg(long, value_name = "SIZE", default_value = "512M", value_parser = memory::parse)]
    pub mem: u64,
    /// The most processes and threads of the guest, those that ended and were not waited for among them
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(2..=4096))]
    pub pids: u32,
    /// Give the guest a disk: number or letter N is /dev/ubda for 0 or a, FILE a raw image or COW file of User-mode Linux;
    /// with BACKING, FILE is a COW file over it, made if it is not there. FLAGS are r (read-only), s (every write lasts at
    /// once), d (FILE is no COW file), c (not locked) and t (nothing is discarded); can be given again
    #[arg(long, value_name = "N[FLAGS]=FILE[,BACKING]", value_parser = clap::builder::OsStringValueParser::new(), action = ArgAction::Append)]
    pub ubd: Vec<OsString>,
    /// Run this program of the root file system as PID 1, with the words after `--` as its arguments
    #[arg(long, value_name = "PATH")]
    pub init: Option<PathBuf>,
    /// Run CMD as this user and group: names of the guest, or numbers
    #[arg(long, value_name = "USER[:GROUP]")]
    pub user: Option<OsString>,
    /// Set a variable for CMD, or copy one of the host's; can be given again
    #[arg(long, value_name = "K=V|K", value_parser = clap::builder::OsStringValueParser::new(), action = ArgAction::Append)]
    pub env: Vec<OsString>,
    /// Run CMD in this directory of the guest
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// The guest's host name
    #[arg(long, value_name = "NAME", default_value = "lodger", value_parser = hostname)]
    pub hostname: String,
    /// How system calls are caught; without it, seccomp if this machine allows it, else ptrace
    #[arg(long, value_enum)]
    pub trap: Option<Trap>,
    /// Never rewrite code of guests where it often makes system calls; for programs that check their own code
    #[arg(long)]
    pub no_patch: bool,
    /// Keep all rights and files that lodger has, which it gives up otherwise before guests run; for debugging it
    #[arg(long)]
    pub no_lockdown: bool,
    /// Write the guest's system calls to standard error, or to FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub strace: Option<PathBuf>,
    /// Which kernel messages go to standard error: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "error", value_parser = level)]
    pub log: log::LevelFilter,
    /// Print no warnings
    #[arg(long)]
    pub quiet: bool,
    /// Give CMD a terminal, even if standard input and output are none
    #[arg(long, overrides_with = "no_tty")]
    pub tty: bool,
    /// Give CMD the streams as they are, even if they are a terminal
    #[arg(long, overrides_with = "tty")]
    pub no_tty: bool,
    /// Words of a kernel command line, as User-mode Linux takes them; unknown ones go to init
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    pub append: Option<OsString>,
    /// A word of a kernel command line that goes to init.
    #[arg(long, hide = true, action = ArgAction::Append)]
    pub init_word: Vec<OsString>,
    /// Flags that are planned.
    #[command(flatten)]
    pub planned: Planned,
    /// The command and its arguments; without it, a shell
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Flags of `run` that are planned and not there yet.
#[derive(Debug, clap::Args)]
pub struct Planned {
    #[arg(long, hide = true, value_name = "N")]
    cpus: Option<u32>,
    #[arg(long, hide = true, value_name = "ID")]
    name: Option<OsString>,
}

impl Run {
    /// Why this version cannot do on `backend` what is asked: one sentence, if anything is asked that is planned only, or
    /// that the backend does not have.
    pub fn refusal(&self, backend: Backend) -> Option<&'static str> {
        let planned = &self.planned;
        let cpus = planned.cpus.is_some_and(|cpus| cpus != 1);
        let tt = backend == Backend::Tt;
        let refusals = [
            (
                tt && cpus,
                "--cpus other than 1 is not for --backend tt: its guests take turns in one address space, and so \
                 have one processor",
            ),
            (
                tt && self.trap == Some(Trap::Seccomp),
                "--trap seccomp is not for --backend tt: it traces its guests' threads, so use --trap ptrace",
            ),
            (
                tt && self.share.iter().any(|words| share::is_writable(words)),
                "--share is for --backend tt with :ro only: its guests can reach the kernel, and would reach your files",
            ),
            (cpus, "--cpus other than 1 is not there yet: a guest has one processor"),
            (
                self.disk.is_some() && self.root_rw,
                "--disk is not for --root-rw: either the disk has the changes, or the root itself is changed",
            ),
            (planned.name.is_some(), "--name is not there yet: instances have no names"),
        ];
        refusals.into_iter().find(|(asked, _)| *asked).map(|(_, sentence)| sentence)
    }
}

fn level(name: &str) -> Result<log::LevelFilter, String> {
    name.parse().map_err(|_| "a level is off, error, warn, info, debug or trace".into())
}

/// A host name as Linux takes it: 1 to 64 bytes (`__NEW_UTS_LEN`), and no space or control character.
fn hostname(name: &str) -> Result<String, String> {
    if name.is_empty() || name.len() > 64 {
        return Err("a host name has 1 to 64 bytes".into());
    }
    if name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a host name has no spaces or control characters".into());
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(words: &str) -> Result<Box<Run>, clap::Error> {
        match Cli::try_parse_from(["lodger", "run"].into_iter().chain(words.split_whitespace()))?.verb {
            Some(Verb::Run(run)) => Ok(run),
            other => panic!("{other:?} is not `run`"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let run = run("").unwrap();
        assert_eq!((run.backend, run.mem, run.root.to_str()), (None, 512 << 20, Some("default")));
        assert_eq!((run.hostname.as_str(), run.log), ("lodger", log::LevelFilter::Error));
        assert!(run.command.is_empty() && run.refusal(Backend::Skas).is_none());
    }

    #[test]
    fn words_behind_the_dashes_belong_to_the_command() {
        let run = run("--quiet -- sh -c --mem -- --tty").unwrap();
        assert_eq!(run.command, ["sh", "-c", "--mem", "--", "--tty"]);
        assert!(run.quiet && !run.tty);
    }

    #[test]
    fn strace_takes_a_file_only_behind_an_equals_sign() {
        assert_eq!(run("--strace -- ls").unwrap().strace, Some("-".into()));
        assert_eq!(run("--strace=log -- ls").unwrap().strace, Some("log".into()));
        assert!(run("--strace log").is_err());
    }

    #[test]
    fn later_flags_win() {
        let run = run("--mem 64M --tty --mem 1G --no-tty").unwrap();
        assert_eq!((run.mem, run.tty, run.no_tty), (1 << 30, false, true));
        let env = ["lodger", "run", "--env", "A=1", "--env", "B"];
        let Some(Verb::Run(run)) = Cli::try_parse_from(env).unwrap().verb else { panic!() };
        assert_eq!(run.env, ["A=1", "B"]);
    }

    #[test]
    fn planned_flags_are_refused_by_name() {
        for flag in ["--cpus 2", "--name n"] {
            for backend in [Backend::Skas, Backend::Tt] {
                let sentence = run(flag).unwrap().refusal(backend).unwrap();
                assert!(sentence.starts_with(flag.split(' ').next().unwrap()), "{flag}: {sentence}");
            }
        }
        assert!(run("--disk d --root-rw").unwrap().refusal(Backend::Skas).unwrap().starts_with("--disk"));
        assert_eq!(run("--disk d").unwrap().refusal(Backend::Tt), None);
        assert_eq!(run("--cpus 1 --trap ptrace").unwrap().refusal(Backend::Tt), None);
        for flag in ["--cpus 2", "--trap seccomp"] {
            assert!(run(flag).unwrap().refusal(Backend::Tt).unwrap().contains("tt"));
        }
    }

    #[test]
    fn host_names_are_checked() {
        assert!(run("--hostname a-b.c").is_ok());
        assert!(hostname("").is_err() && hostname("a b").is_err() && hostname(&"x".repeat(65)).is_err());
    }
}
