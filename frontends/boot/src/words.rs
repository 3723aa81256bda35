//! From the words of the process to what was asked for: `lodger VERB ...`, or User-mode Linux's `lodger mem=256M ...`.

use std::ffi::{OsStr, OsString};

use clap::Parser;

use crate::cli::{Backend, Cli, Run, Verb};
use crate::uml_words;

/// Why there is nothing to run.
#[derive(Debug)]
pub enum Refusal {
    /// clap has a text: help and version on standard output, what is wrong on standard error.
    Clap(clap::Error),
    /// One sentence.
    Sentence(String),
}

impl From<clap::Error> for Refusal {
    fn from(error: clap::Error) -> Refusal {
        Refusal::Clap(error)
    }
}

impl From<String> for Refusal {
    fn from(sentence: String) -> Refusal {
        Refusal::Sentence(sentence)
    }
}

/// What a guest is started with.
#[derive(Debug)]
pub struct Request {
    /// The flags of `run`.
    pub run: Run,
    /// The backend that they mean.
    pub backend: Backend,
    /// The words of `lodger` without the program's name, in terms of `lodger run`: what the program of another backend is given.
    pub words: Vec<OsString>,
    /// Words that were written as a kernel command line.
    pub kernel_words: Vec<OsString>,
}

/// What `lodger` was asked to do.
#[derive(Debug)]
pub enum Asked {
    /// Print this.
    Generate(crate::cli::Generate),
    /// Do something with a disk image.
    Image(crate::image::Image),
    /// Do something with disks that have names.
    Disk(crate::kept::Disk),
    /// Look at this machine. With the words of `lodger`, for the program of another backend.
    Doctor(crate::doctor::Doctor, Vec<OsString>),
    /// Start a guest.
    Run(Box<Request>),
}

/// Reads the words behind the name of a program whose `own` backend is this one.
pub fn read(words: Vec<OsString>, own: Backend) -> Result<Asked, Refusal> {
    match words.first() {
        Some(first) if uml_words::is_kernel_word(first) => {
            let kernel_words = words.iter().take_while(|word| *word != "--").cloned().collect();
            let translated = uml_words::translate(words)?;
            run(join(vec!["run".into()], translated.flags, translated.command), kernel_words, own)
        }
        _ => run(words, Vec::new(), own),
    }
}

fn run(words: Vec<OsString>, kernel_words: Vec<OsString>, own: Backend) -> Result<Asked, Refusal> {
    let cli = parse(&words)?;
    let run = match (cli.generate, cli.verb) {
        (Some(kind), _) => return Ok(Asked::Generate(kind)),
        (None, Some(Verb::Run(run))) => run,
        (None, Some(Verb::Image(command))) => return Ok(Asked::Image(command)),
        (None, Some(Verb::Disk(command))) => return Ok(Asked::Disk(command)),
        (None, Some(Verb::Doctor(doctor))) => return Ok(Asked::Doctor(doctor, words)),
        (None, Some(verb)) => {
            return Err(format!("the verb `{}` is not there yet", verb.planned().unwrap_or_default()).into());
        }
        (None, None) => {
            return Err(parse(&["--help".into()]).err().map_or(String::new().into(), Refusal::from));
        }
    };
    if let Some(line) = &run.append {
        return append(&words, line, kernel_words, own);
    }
    request(*run, words, kernel_words, own)
}

/// The request that these flags are, unless they ask for something that is not there.
fn request(
    run: Run,
    words: Vec<OsString>,
    kernel_words: Vec<OsString>,
    own: Backend,
) -> Result<Asked, Refusal> {
    let backend = run.backend.unwrap_or(own);
    if let Some(sentence) = run.refusal(backend) {
        return Err(sentence.to_string().into());
    }
    Ok(Asked::Run(Box::new(Request { run, backend, words, kernel_words })))
}

/// Puts the words of `--append` behind the flags, where they win over them, and reads all again.
fn append(
    words: &[OsString],
    line: &OsStr,
    mut kernel_words: Vec<OsString>,
    own: Backend,
) -> Result<Asked, Refusal> {
    let appended = uml_words::split(line);
    kernel_words.extend(appended.iter().take_while(|word| *word != "--").cloned());
    let translated = uml_words::translate(appended)?;
    let dashes = words.iter().position(|word| word == "--").unwrap_or(words.len());
    let mut flags = words[..dashes].to_vec();
    flags.extend(translated.flags);
    let mut command = words.get(dashes + 1..).unwrap_or_default().to_vec();
    command.extend(translated.command);
    let cli = parse(&join(flags.clone(), Vec::new(), command.clone()))?;
    let Some(Verb::Run(mut run)) = cli.verb else {
        return Err(String::from("--append belongs to `run`").into());
    };
    run.append = None;
    request(*run, join(flags, Vec::new(), command), kernel_words, own)
}

fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([OsString::from("lodger")].iter().chain(words))
}

fn join(mut words: Vec<OsString>, flags: Vec<OsString>, command: Vec<OsString>) -> Vec<OsString> {
    words.extend(flags);
    if !command.is_empty() {
        words.push("--".into());
        words.extend(command);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(words: &[&str]) -> Result<Box<Request>, String> {
        match read(words.iter().map(OsString::from).collect(), Backend::Skas) {
            Ok(Asked::Run(request)) => Ok(request),
            Ok(other) => panic!("{other:?}"),
            Err(Refusal::Sentence(sentence)) => Err(sentence),
            Err(Refusal::Clap(error)) => Err(error.to_string()),
        }
    }

    #[test]
    fn kernel_words_mean_the_same_as_flags() {
        let found = request(&["mem=64M", "init=/bin/sh", "A=b", "single", "--", "-c", "exit 3"]).unwrap();
        assert_eq!(found.run.mem, 64 << 20);
        assert_eq!(found.run.init, Some("/bin/sh".into()));
        assert_eq!((found.run.env, found.run.init_word), (vec!["A=b".into()], vec!["single".into()]));
        assert_eq!(found.run.command, ["-c", "exit 3"]);
        assert_eq!(found.kernel_words, ["mem=64M", "init=/bin/sh", "A=b", "single"]);
        assert_eq!(found.words[0], "run");
    }

    #[test]
    fn each_program_has_a_backend_of_its_own() {
        let backend = |words: &[&str], own| match read(words.iter().map(OsString::from).collect(), own) {
            Ok(Asked::Run(request)) => request.backend,
            other => panic!("{other:?}"),
        };
        assert_eq!(backend(&["run"], Backend::Tt), Backend::Tt);
        assert_eq!(backend(&["run", "--backend", "tt"], Backend::Skas), Backend::Tt);
        assert_eq!(backend(&["run", "--append", "mode=tt"], Backend::Skas), Backend::Tt);
        assert_eq!(backend(&["mode=skas0"], Backend::Tt), Backend::Skas);
    }

    #[test]
    fn appended_words_win() {
        let found =
            request(&["run", "--mem", "1G", "--append", "mem=64M quiet", "--", "ls", "--append"]).unwrap();
        assert_eq!((found.run.mem, found.run.quiet), (64 << 20, true));
        assert_eq!(found.run.command, ["ls", "--append"]);
        assert_eq!(found.kernel_words, ["mem=64M", "quiet"]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        assert!(request(&["ps", "--json"]).unwrap_err().contains("`ps` is not there yet"));
        assert!(request(&["run", "--append", "ubd=x"]).unwrap_err().starts_with("ubd=x"));
        assert!(request(&["run", "--append", "ncpus=4"]).unwrap_err().starts_with("--cpus"));
        assert!(request(&["mem=64M", "umid=x"]).unwrap_err().starts_with("--name"));
        assert!(request(&["mem=5"]).unwrap_err().contains("16M"));
        assert!(request(&["nonsense"]).is_err() && request(&[]).is_err());
        assert!(request(&["run", "ls"]).is_err(), "a command needs the dashes");
    }
}
