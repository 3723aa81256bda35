//! The builtins `kill`, `wait` and `bg` for the shell: brush's own know neither `kill -9`, nor `wait PID`, nor the status
//! of what was waited for, and `bg` does not say which job it continues. See POSIX, "Shell and Utilities".

use std::io::Write;

use brush_core::builtins::{CommandExecuteFunc, ContentOptions, ContentType, Registration};
use brush_core::jobs::JobState;
use brush_core::traps::TrapSignal;
use brush_core::{CommandArg, Error, ExecutionContext, ExecutionResult, ShellExtensions};
use futures::future::BoxFuture;

/// The end of a program whose ID is not that of a job.
const NOT_FOUND: u8 = 127;

/// A builtin that takes its arguments as they are.
pub fn registration<SE: ShellExtensions>(execute_func: CommandExecuteFunc<SE>) -> Registration<SE> {
    Registration {
        execute_func,
        content_func: no_help,
        disabled: false,
        special_builtin: false,
        declaration_builtin: false,
    }
}

fn no_help(name: &str, _: ContentType, _: &ContentOptions) -> Result<String, Error> {
    Ok(format!("{name}\n"))
}

/// `kill [-s SIGNAL | -n NUMBER | -SIGNAL] PID|%JOB...`, `kill -l [STATUS]`.
pub fn kill<SE: ShellExtensions>(
    context: ExecutionContext<'_, SE>,
    args: Vec<CommandArg>,
) -> BoxFuture<'_, Result<ExecutionResult, Error>> {
    Box::pin(async move {
        let words: Vec<String> = args.iter().skip(1).map(ToString::to_string).collect();
        let mut stderr = context.stderr();
        let (signal, targets) = match KillArgs::parse(&words) {
            Ok(KillArgs::List(numbers)) => {
                writeln!(context.stdout(), "{}", list(&numbers))?;
                return Ok(ExecutionResult::success());
            }
            Ok(KillArgs::Send(signal, targets)) => (signal, targets),
            Err(why) => {
                writeln!(stderr, "kill: {why}")?;
                return Ok(ExecutionResult::new(2));
            }
        };
        let mut result = ExecutionResult::success();
        for target in targets {
            let pid = if target.starts_with('%') {
                let job = context.shell.jobs_mut().resolve_job_spec(target);
                job.and_then(|job| job.process_group_id())
            } else {
                target.parse().ok()
            };
            let Some(pid) = pid else {
                writeln!(stderr, "kill: {target}: no such job or process")?;
                result = ExecutionResult::general_error();
                continue;
            };
            // SAFETY: no memory is involved.
            if unsafe { libc::kill(pid, signal) } != 0 {
                let error = std::io::Error::last_os_error();
                writeln!(stderr, "kill: {target}: {error}")?;
                result = ExecutionResult::general_error();
            }
        }
        Ok(result)
    })
}

/// What `kill` was asked to do.
#[derive(Debug, PartialEq)]
enum KillArgs<'a> {
    List(Vec<i32>),
    Send(i32, &'a [String]),
}

impl KillArgs<'_> {
    fn parse(words: &[String]) -> Result<KillArgs<'_>, String> {
        let (signal, rest) = match words {
            [first, rest @ ..] if first == "-l" || first == "-L" => {
                let number = |word: &String| word.parse().map_err(|_| format!("{word}: not a number"));
                return Ok(KillArgs::List(rest.iter().map(number).collect::<Result<_, _>>()?));
            }
            [first, value, rest @ ..] if first == "-s" || first == "-n" => (signal(value)?, rest),
            [first, rest @ ..] if first == "--" => (libc::SIGTERM, rest),
            [first, rest @ ..] if first.len() > 1 && first.starts_with('-') => (signal(&first[1..])?, rest),
            _ => (libc::SIGTERM, words),
        };
        let targets = match rest {
            [first, rest @ ..] if first == "--" => rest,
            _ => rest,
        };
        if targets.is_empty() {
            return Err("usage: kill [-s SIGNAL | -SIGNAL] PID|%JOB... or kill -l".to_owned());
        }
        Ok(KillArgs::Send(signal, targets))
    }
}

/// A signal by number or by name, with or without SIG; 0 asks only whether there is such a process.
fn signal(word: &str) -> Result<i32, String> {
    let unknown = || format!("{word}: unknown signal");
    match word.parse::<i32>() {
        Ok(number @ 0..=64) => Ok(number),
        Ok(_) => Err(unknown()),
        Err(_) => match TrapSignal::try_from(word) {
            Ok(TrapSignal::Signal(signal)) => Ok(signal as i32),
            _ => Err(unknown()),
        },
    }
}

/// The names of these signals, or of those that ended programs with these exit statuses; of all without any.
fn list(numbers: &[i32]) -> String {
    let name = |number: i32| TrapSignal::try_from(number).ok().map(|signal| signal.to_string());
    let short = |name: String| name.strip_prefix("SIG").map(str::to_owned).unwrap_or(name);
    let names: Vec<String> = if numbers.is_empty() {
        (1..32).filter_map(name).map(short).collect()
    } else {
        let plain = numbers.iter().map(|&number| if number > 128 { number - 128 } else { number });
        plain.filter_map(name).map(short).collect()
    };
    names.join(" ")
}

/// `wait [PID|%JOB...]`: the status of the last one; 0 without any.
pub fn wait<SE: ShellExtensions>(
    context: ExecutionContext<'_, SE>,
    args: Vec<CommandArg>,
) -> BoxFuture<'_, Result<ExecutionResult, Error>> {
    Box::pin(async move {
        let words: Vec<String> = args.iter().skip(1).map(ToString::to_string).collect();
        if words.is_empty() {
            context.shell.jobs_mut().wait_all().await?;
            return Ok(ExecutionResult::success());
        }
        let mut result = ExecutionResult::success();
        for word in words {
            let jobs = context.shell.jobs_mut();
            let job = if word.starts_with('%') {
                jobs.resolve_job_spec(&word)
            } else {
                let pid: Option<i32> = word.parse().ok();
                jobs.jobs.iter_mut().find(|job| pid.is_some() && job.representative_pid() == pid)
            };
            match job {
                // The status is all that counts: the job cannot end this shell.
                Some(job) => result = ExecutionResult::from(job.wait().await?.exit_code),
                None => {
                    writeln!(context.stderr(), "wait: {word}: not a child of this shell")?;
                    result = ExecutionResult::new(NOT_FOUND);
                }
            }
        }
        Ok(result)
    })
}

/// `bg [%JOB...]`: the current job without any.
pub fn bg<SE: ShellExtensions>(
    context: ExecutionContext<'_, SE>,
    args: Vec<CommandArg>,
) -> BoxFuture<'_, Result<ExecutionResult, Error>> {
    Box::pin(async move {
        let mut words: Vec<String> = args.iter().skip(1).map(ToString::to_string).collect();
        if words.is_empty() {
            words.push("%%".to_owned());
        }
        let mut result = ExecutionResult::success();
        for word in words {
            let said = match context.shell.jobs_mut().resolve_job_spec(&word) {
                None => Err(format!("bg: {word}: no such job")),
                Some(job) if matches!(job.state, JobState::Stopped) => {
                    job.move_to_background()?;
                    Ok(format!("[{}]{} {} &", job.id, job.annotation(), job.command_line))
                }
                Some(job) => Err(format!("bg: job {} already in background", job.id)),
            };
            match said {
                Ok(line) => writeln!(context.stdout(), "{line}")?,
                Err(why) => {
                    writeln!(context.stderr(), "{why}")?;
                    result = ExecutionResult::general_error();
                }
            }
        }
        Ok(result)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<(i32, Vec<String>), String> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        match KillArgs::parse(&words)? {
            KillArgs::Send(signal, targets) => Ok((signal, targets.to_vec())),
            KillArgs::List(_) => Err("a list".to_owned()),
        }
    }

    #[test]
    fn a_signal_has_four_spellings() {
        for words in [&["-9", "7"][..], &["-KILL", "7"], &["-s", "sigkill", "7"], &["-n", "9", "--", "7"]] {
            assert_eq!(parsed(words), Ok((9, vec!["7".to_owned()])), "{words:?}");
        }
        assert_eq!(parsed(&["--", "-7"]), Ok((15, vec!["-7".to_owned()])));
        assert!(parsed(&["-nope", "7"]).is_err());
        assert!(parsed(&["-9"]).is_err());
        assert_eq!(list(&[137]), "KILL");
    }
}
