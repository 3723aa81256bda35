//! What the flags come to: arguments and environment of PID 1, the kernel command line, streams or a terminal.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::cli::Run;
use crate::memory;
use crate::words::Request;

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the guest is given as its standard streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Io {
    /// Lodger's own three, byte for byte.
    Streams,
    /// One terminal.
    Console,
}

/// What PID 1 is started with; all strings are without a terminating NUL.
#[derive(Debug, PartialEq, Eq)]
pub struct Plan {
    /// Its arguments, its own name first.
    pub argv: Vec<Vec<u8>>,
    /// Its environment: `NAME=VALUE`.
    pub env: Vec<Vec<u8>>,
    /// The text of /proc/cmdline, without a newline.
    pub cmdline: Vec<u8>,
    /// Its streams.
    pub io: Io,
}

/// The part of the host's state that matters.
#[derive(Debug, Default)]
pub struct Surroundings {
    /// Standard input and standard output are terminals.
    pub on_terminal: bool,
    /// The host's environment.
    pub env: Vec<(OsString, OsString)>,
}

impl Surroundings {
    /// Those of this process.
    pub fn here() -> Surroundings {
        use std::io::IsTerminal;
        let on_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
        Surroundings { on_terminal, env: std::env::vars_os().collect() }
    }

    fn var(&self, name: &OsStr) -> Option<&OsStr> {
        self.env.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_os_str())
    }
}

/// Works it out, or says in one sentence why it cannot be.
pub fn plan(request: &Request, around: &Surroundings) -> Result<Plan, String> {
    let run = &request.run;
    let io = if run.tty || (around.on_terminal && !run.no_tty) { Io::Console } else { Io::Streams };
    let plan = Plan { argv: argv(run, io)?, env: environment(run, around)?, cmdline: cmdline(request), io };
    if plan.argv.iter().chain(&plan.env).any(|word| word.contains(&0)) {
        return Err("a word with a NUL byte cannot be given to a program".into());
    }
    Ok(plan)
}

fn argv(run: &Run, io: Io) -> Result<Vec<Vec<u8>>, String> {
    let mut argv: Vec<OsString> = Vec::new();
    if let Some(init) = &run.init {
        if run.user.is_some() || run.workdir.is_some() {
            return Err(
                "--user and --workdir are for CMD: with --init there is none, PATH itself is PID 1".into()
            );
        }
        if !init.is_absolute() {
            return Err(format!("--init {} is no absolute path of the guest", init.display()));
        }
        argv.push(init.clone().into());
        argv.extend(run.init_word.iter().cloned());
        argv.extend(run.command.iter().cloned());
    } else {
        argv.push("init".into());
        if io == Io::Console {
            argv.push("--tty".into());
        }
        for (flag, value) in
            [("--user", run.user.as_deref()), ("--workdir", run.workdir.as_ref().map(|dir| dir.as_os_str()))]
        {
            argv.extend(value.into_iter().flat_map(|value| [flag.into(), value.to_owned()]));
        }
        argv.extend(run.init_word.iter().cloned());
        if !run.command.is_empty() {
            argv.push("--".into());
            argv.extend(run.command.iter().cloned());
        }
    }
    Ok(argv.into_iter().map(OsString::into_vec).collect())
}

fn environment(run: &Run, around: &Surroundings) -> Result<Vec<Vec<u8>>, String> {
    let terminal =
        around.var(OsStr::new("TERM")).filter(|term| !term.is_empty()).unwrap_or(OsStr::new("dumb"));
    let mut env: Vec<(OsString, OsString)> = vec![
        ("PATH".into(), PATH.into()),
        ("HOME".into(), "/root".into()),
        ("TERM".into(), terminal.to_owned()),
        ("LANG".into(), "C.UTF-8".into()),
    ];
    for word in &run.env {
        let bytes = word.as_bytes();
        let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
            Some(0) => return Err(format!("--env {}: a variable needs a name", word.to_string_lossy())),
            Some(at) => (OsStr::from_bytes(&bytes[..at]), Some(OsStr::from_bytes(&bytes[at + 1..]))),
            None if bytes.is_empty() => return Err("--env takes K=V or K".into()),
            // One that is not set on the host is not set in the guest.
            None => (word.as_os_str(), around.var(word)),
        };
        env.retain(|(found, _)| found != name);
        env.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    Ok(env.into_iter().map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat()).collect())
}

fn cmdline(request: &Request) -> Vec<u8> {
    let run = &request.run;
    let mut words: Vec<OsString> = vec![format!("mem={}", memory::show(run.mem)).into()];
    let mut assign = |name: &str, value: &OsStr| {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        words.push(word);
    };
    assign("root", &run.root);
    if let Some(init) = &run.init {
        assign("init", init.as_os_str());
    }
    let said: Vec<OsString> = words.clone();
    words.extend(request.kernel_words.iter().filter(|word| !said.contains(word)).cloned());
    let quoted = words.iter().map(|word| match word.as_bytes() {
        bytes if bytes.contains(&b' ') => [b"\"", bytes, b"\""].concat(),
        bytes => bytes.to_vec(),
    });
    quoted.collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Backend;
    use crate::words::{self, Asked};

    fn planned(words: &[&str], around: &Surroundings) -> Result<Plan, String> {
        match words::read(words.iter().map(OsString::from).collect(), Backend::Skas).unwrap() {
            Asked::Run(request) => plan(&request, around),
            other => panic!("{other:?}"),
        }
    }

    fn text(words: &[Vec<u8>]) -> Vec<String> {
        words.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
    }

    #[test]
    fn our_init_gets_flags_and_the_command() {
        let words = ["run", "--user", "a:b", "--workdir", "/tmp", "--", "ls", "--tty"];
        let plan = planned(&words, &Surroundings::default()).unwrap();
        assert_eq!(text(&plan.argv), ["init", "--user", "a:b", "--workdir", "/tmp", "--", "ls", "--tty"]);
        assert_eq!(plan.io, Io::Streams);
        assert_eq!(plan.cmdline, b"mem=512M root=default");
    }

    #[test]
    fn another_init_gets_the_words_alone() {
        let plan =
            planned(&["mem=64M", "init=/sbin/init", "single", "--", "-v"], &Surroundings::default()).unwrap();
        assert_eq!(text(&plan.argv), ["/sbin/init", "single", "-v"]);
        assert_eq!(plan.cmdline, b"mem=64M root=default init=/sbin/init single");
        assert!(planned(&["run", "--init", "/x", "--user", "u"], &Surroundings::default()).is_err());
        assert!(planned(&["run", "--init", "x"], &Surroundings::default()).unwrap_err().contains("absolute"));
    }

    #[test]
    fn a_terminal_is_a_console_unless_told_otherwise() {
        let terminal = Surroundings { on_terminal: true, ..Surroundings::default() };
        let io = |words: &[&str], around| planned(words, around).unwrap().io;
        assert_eq!(io(&["run"], &terminal), Io::Console);
        assert_eq!(io(&["run", "--no-tty"], &terminal), Io::Streams);
        assert_eq!(io(&["run", "--tty"], &Surroundings::default()), Io::Console);
        assert!(text(&planned(&["run"], &terminal).unwrap().argv).contains(&"--tty".into()));
    }

    #[test]
    fn the_environment_is_clean() {
        let host = [("TERM", "xterm"), ("SECRET", "x"), ("EDITOR", "vi"), ("LANG", "de")];
        let env = host.map(|(name, value)| (name.into(), value.into())).to_vec();
        let around = Surroundings { env, ..Surroundings::default() };
        let plan = planned(
            &["run", "--env", "EDITOR", "--env", "A=b=c", "--env", "UNSET", "--env", "LANG"],
            &around,
        );
        let env = text(&plan.unwrap().env);
        assert_eq!(env[1..], ["HOME=/root", "TERM=xterm", "EDITOR=vi", "A=b=c", "LANG=de"]);
        assert!(planned(&["run", "--env", "=x"], &around).is_err());
    }
}
