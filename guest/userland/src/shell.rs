//! The shell: brush (bash-compatible), started in the cheapest way that fits.
//!
//! A command string or a script runs on the first thread, in a runtime without reactor; each concurrent part of it
//! gets a thread when it starts (see vendor/README.md). Only an interactive shell, whose line editor needs it, gets a
//! reactor and a worker.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use brush_builtins::{BuiltinSet, ShellBuilderExt};
use brush_core::extensions::{ErrorFormatter, ShellExtensionsImpl};
use brush_core::{ProfileLoadBehavior, RcLoadBehavior, ShellExtensions};
use brush_interactive::{InteractiveShell, ShellError, UIOptions};
use tokio::sync::Mutex;

use crate::input::Input;
use crate::jobs;

type Shell = brush_core::Shell<ShellExtensionsImpl<Formatter>>;

const HELP: &str = "\
usage: sh [-abefhimnuvxC] [-o OPTION] [-O SHOPT] [-l] [--norc] [--noprofile] [--rcfile FILE]
          [-c COMMAND [NAME [ARG...]] | -s [ARG...] | SCRIPT [ARG...]]
";

/// Error messages as other shells write them: the shell's name, then the reason.
#[derive(Clone, Debug, Default)]
struct Formatter {
    name: String,
}

impl ErrorFormatter for Formatter {
    fn format_error(
        &self,
        error: &brush_core::error::Error,
        _shell: &brush_core::Shell<impl ShellExtensions>,
    ) -> String {
        let text = format!("{error:#}");
        // "No such file or directory (os error 2)": the number is for programmers.
        let text = text.rsplit_once(" (os error ").map_or(text.as_str(), |(text, _)| text);
        format!("{}: {text}\n", self.name)
    }
}

/// The command line of a shell, as sh(1) and bash(1) have it.
#[derive(Debug, Default, PartialEq)]
struct Options {
    /// argv\[0\] without its folder and the dash of a login shell.
    name: String,
    login: bool,
    interactive: bool,
    from_stdin: bool,
    once: bool,
    command: Option<String>,
    /// The script and its arguments; with a command its `$0` and the rest, with `-s` only arguments.
    operands: Vec<String>,
    enabled: Vec<String>,
    disabled: Vec<String>,
    shopt_enabled: Vec<String>,
    shopt_disabled: Vec<String>,
    skip_profile: bool,
    skip_rc: bool,
    rc_file: Option<PathBuf>,
}

/// The `set -o` name of a one-letter option.
fn option_name(letter: char) -> Option<&'static str> {
    Some(match letter {
        'a' => "allexport",
        'b' => "notify",
        'e' => "errexit",
        'f' => "noglob",
        'h' => "hashall",
        'k' => "keyword",
        'm' => "monitor",
        'n' => "noexec",
        'p' => "privileged",
        'u' => "nounset",
        'v' => "verbose",
        'x' => "xtrace",
        'B' => "braceexpand",
        'C' => "noclobber",
        'E' => "errtrace",
        'H' => "histexpand",
        'P' => "physical",
        'T' => "functrace",
        _ => return None,
    })
}

impl Options {
    /// Reads argv. `Err` has what to print, and whether that is what was asked for.
    fn parse(words: impl IntoIterator<Item = String>) -> Result<Options, (String, bool)> {
        let mut words = words.into_iter().peekable();
        let argv0 = words.next().unwrap_or_else(|| "sh".to_owned());
        let name = argv0.rsplit('/').next().unwrap_or_default().trim_start_matches('-').to_owned();
        let mut options = Options { name, login: argv0.starts_with('-'), ..Options::default() };
        let mut wants_command = false;
        while let Some(word) = words.next_if(|word| word.len() > 1 && word.starts_with(['-', '+'])) {
            let missing = |what: &str| (format!("{what} needs a value\n"), false);
            match word.as_str() {
                "--" => break,
                "--login" => options.login = true,
                "--norc" => options.skip_rc = true,
                "--noprofile" => options.skip_profile = true,
                "--rcfile" | "--init-file" => {
                    options.rc_file = Some(words.next().ok_or_else(|| missing(&word))?.into());
                }
                "--posix" | "--noediting" => {}
                "--verbose" => options.enabled.push("verbose".to_owned()),
                "--help" => return Err((HELP.to_owned(), true)),
                "--version" => return Err(("brush, a bash-compatible shell\n".to_owned(), true)),
                _ if word.starts_with("--") => return Err((format!("unknown option {word}\n{HELP}"), false)),
                _ => {
                    let on = word.starts_with('-');
                    for letter in word.chars().skip(1) {
                        match letter {
                            'c' if on => wants_command = true,
                            'i' if on => options.interactive = true,
                            'l' if on => options.login = true,
                            's' if on => options.from_stdin = true,
                            't' if on => options.once = true,
                            'o' | 'O' => {
                                let value = words.next().ok_or_else(|| missing(&word))?;
                                match (letter, on) {
                                    ('o', true) => options.enabled.push(value),
                                    ('o', false) => options.disabled.push(value),
                                    (_, true) => options.shopt_enabled.push(value),
                                    (_, false) => options.shopt_disabled.push(value),
                                }
                            }
                            _ => {
                                let unknown = || (format!("unknown option {word}\n{HELP}"), false);
                                let list = if on { &mut options.enabled } else { &mut options.disabled };
                                list.push(option_name(letter).ok_or_else(unknown)?.to_owned());
                            }
                        }
                    }
                }
            }
        }
        // A lone dash ends the options too.
        words.next_if(|word| word == "-");
        if wants_command {
            options.command = Some(words.next().ok_or(("-c needs a command\n".to_owned(), false))?);
        }
        options.operands = words.collect();
        Ok(options)
    }

    /// Whether commands come from the standard input.
    fn reads_stdin(&self) -> bool {
        self.command.is_none() && (self.from_stdin || self.operands.is_empty())
    }

    /// Whether there is somebody to talk to, by the rule of POSIX.
    fn is_interactive(&self) -> bool {
        let on_terminal = || std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        self.interactive || (self.reads_stdin() && on_terminal())
    }
}

/// Runs the shell with this argv and returns its exit status.
pub fn main(argv: Vec<OsString>) -> i32 {
    // Builtins must see EPIPE rather than kill the shell. What the shell starts gets the default action back.
    // SAFETY: no handler is installed, and there is one thread.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    let words = argv.into_iter().map(|word| word.to_string_lossy().into_owned());
    let options = match Options::parse(words) {
        Ok(options) => options,
        Err((text, true)) => {
            print!("{text}");
            return 0;
        }
        Err((text, false)) => {
            eprint!("sh: {text}");
            return 2;
        }
    };
    let interactive = options.is_interactive();
    if interactive {
        // Ctrl-C at the prompt drops the line, not the shell.
        let handler: extern "C" fn(libc::c_int) = ignore;
        // SAFETY: the handler does nothing, and the action is otherwise empty: no SA_RESTART, so that a read ends.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            libc::sigaction(libc::SIGINT, &action, std::ptr::null_mut());
        }
    }
    let mut builder = if interactive {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(1).enable_all();
        builder
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let name = options.name.clone();
    let done = builder.build().map_err(ShellError::from).and_then(|runtime| {
        let status = runtime.block_on(run(options, interactive));
        // A background list may outlive the shell: nobody waits for its thread.
        runtime.shutdown_background();
        status
    });
    done.unwrap_or_else(|error| {
        eprintln!("{name}: {error}");
        1
    })
}

extern "C" fn ignore(_signal: libc::c_int) {}

async fn run(options: Options, interactive: bool) -> Result<i32, ShellError> {
    let shell = Arc::new(Mutex::new(create(&options, interactive).await?));
    let profile = match options.skip_profile {
        true => ProfileLoadBehavior::Skip,
        false => ProfileLoadBehavior::LoadDefault,
    };
    let rc = match (options.skip_rc, &options.rc_file) {
        (true, _) => RcLoadBehavior::Skip,
        (false, Some(file)) => RcLoadBehavior::LoadCustom(file.clone()),
        (false, None) => RcLoadBehavior::LoadDefault,
    };
    shell.lock().await.load_config(&profile, &rc).await?;
    let done = if let Some(command) = options.command {
        shell.lock().await.run_dash_c_command(command).await.map(drop).map_err(ShellError::from)
    } else if options.from_stdin || options.operands.is_empty() {
        let ui = UIOptions::builder().disable_highlighting(true).build();
        let mut input = Input::new(&shell, &ui)?;
        InteractiveShell::new(&shell, &mut input, &(&ui).into())?.run_interactively().await
    } else {
        let arguments = options.operands.iter().skip(1);
        let mut shell = shell.lock().await;
        shell.run_script(Path::new(&options.operands[0]), arguments).await.map(drop).map_err(ShellError::from)
    };
    let shell = shell.lock().await;
    if let Err(ShellError::ShellError(error)) = &done {
        let mut stderr = shell.stderr();
        let _ = shell.display_error(&mut stderr, error);
        let _ = stderr.flush();
        return Ok(1);
    }
    done.map(|()| i32::from(shell.last_exit_status()))
}

async fn create(options: &Options, interactive: bool) -> Result<Shell, ShellError> {
    // `sh -c CMD NAME ARG...` and `sh -s ARG...` name the parameters; a script does so when it is run.
    let (name, arguments) = match (&options.command, options.operands.split_first()) {
        (Some(_), Some((name, rest))) => (name.clone(), Some(rest.to_vec())),
        (None, Some(_)) if options.from_stdin => (options.name.clone(), Some(options.operands.clone())),
        _ => (options.name.clone(), None),
    };
    let shell = brush_core::Shell::builder_with_extensions::<ShellExtensionsImpl<Formatter>>()
        .enable_options(options.enabled.clone())
        .disable_options(options.disabled.clone())
        .enable_shopt_options(options.shopt_enabled.clone())
        .disable_shopt_options(options.shopt_disabled.clone())
        .exit_after_one_command(options.once)
        .login(options.login)
        .interactive(interactive)
        .command_string_mode(options.command.is_some())
        .read_commands_from_stdin(options.reads_stdin())
        .profile(ProfileLoadBehavior::Skip)
        .rc(RcLoadBehavior::Skip)
        .shell_name(name)
        .maybe_shell_args(arguments)
        .error_formatter(Formatter { name: options.name.clone() })
        .default_builtins(BuiltinSet::BashMode)
        .builtin("bg", jobs::registration(jobs::bg))
        .builtin("kill", jobs::registration(jobs::kill))
        .builtin("wait", jobs::registration(jobs::wait));
    Ok(shell.build().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Options {
        Options::parse(words.iter().map(|word| (*word).to_owned())).unwrap()
    }

    #[test]
    fn the_command_is_the_first_operand() {
        let options = parsed(&["/bin/sh", "-c", "-e", "echo $0", "name", "-x"]);
        assert_eq!(options.command.as_deref(), Some("echo $0"));
        assert_eq!(options.operands, ["name", "-x"]);
        assert_eq!(options.enabled, ["errexit"]);
        let options = parsed(&["sh", "-exc", "--", "-- x"]);
        assert_eq!((options.command.as_deref(), options.enabled.len()), (Some("-- x"), 2));
        assert!(Options::parse(["sh".to_owned(), "-c".to_owned()]).is_err());
    }

    #[test]
    fn a_dash_makes_a_login_shell_and_values_follow_their_group() {
        let options = parsed(&["-bash", "-eo", "pipefail", "+u", "script", "-v"]);
        assert!(options.login && options.name == "bash");
        assert_eq!(
            (options.enabled, options.disabled),
            (vec!["errexit".into(), "pipefail".into()], vec!["nounset".into()])
        );
        assert_eq!(options.operands, ["script", "-v"]);
    }
}
