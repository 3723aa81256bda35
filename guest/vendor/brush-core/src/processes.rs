//! Process management

use futures::FutureExt;

use crate::{error, sys};

/// A waitable future that will yield the results of a child process's execution.
pub(crate) type WaitableChildProcess = std::pin::Pin<
    Box<dyn futures::Future<Output = Result<std::process::Output, std::io::Error>> + Send + Sync>,
>;

/// A child process that was started, and how to wait for it.
pub enum StartedChild {
    /// Beside signals and stops, with tokio's reactor: for an interactive shell.
    Watched(sys::process::Child),
    /// By blocking the thread, on which nothing else runs: for all others. It costs one system
    /// call, and leaves SIGINT and SIGTSTP with their default action.
    Plain(std::process::Child),
}

impl StartedChild {
    /// Returns the process's ID.
    pub fn id(&self) -> Option<u32> {
        match self {
            Self::Watched(child) => child.id(),
            Self::Plain(child) => Some(child.id()),
        }
    }
}

/// Starts a child process.
pub(crate) fn spawn(
    mut command: std::process::Command,
    interactive: bool,
) -> std::io::Result<StartedChild> {
    if interactive {
        sys::process::spawn(command).map(StartedChild::Watched)
    } else {
        command.spawn().map(StartedChild::Plain)
    }
}

/// How to wait for a child process.
enum Waiter {
    Watched(WaitableChildProcess),
    Plain(std::process::Child),
}

/// Tracks a child process being awaited.
pub struct ChildProcess {
    waiter: Waiter,
    /// If available, the process ID of the child.
    pid: Option<sys::process::ProcessId>,
    /// If available, the process group ID of the child.
    pgid: Option<sys::process::ProcessId>,
}

impl ChildProcess {
    /// Wraps a child process and its future.
    pub fn new(
        child: StartedChild,
        pid: Option<sys::process::ProcessId>,
        pgid: Option<sys::process::ProcessId>,
    ) -> Self {
        let waiter = match child {
            StartedChild::Watched(child) => Waiter::Watched(Box::pin(child.wait_with_output())),
            StartedChild::Plain(child) => Waiter::Plain(child),
        };
        Self {
            waiter,
            pid,
            pgid,
        }
    }

    /// Returns the process's ID.
    pub const fn pid(&self) -> Option<sys::process::ProcessId> {
        self.pid
    }

    /// Returns the process's group ID.
    pub const fn pgid(&self) -> Option<sys::process::ProcessId> {
        self.pgid
    }

    /// Waits for the process to exit.
    pub async fn wait(&mut self) -> Result<ProcessWaitResult, error::Error> {
        let exec_future = match &mut self.waiter {
            Waiter::Plain(child) => {
                return Ok(ProcessWaitResult::Completed(output_of(child.wait()?)));
            }
            Waiter::Watched(exec_future) => exec_future,
        };

        #[allow(unused_mut, reason = "only mutated on some platforms")]
        let mut sigtstp = sys::signal::tstp_signal_listener()?;
        #[allow(unused_mut, reason = "only mutated on some platforms")]
        let mut sigchld = sys::signal::chld_signal_listener()?;

        #[allow(clippy::ignored_unit_patterns)]
        loop {
            tokio::select! {
                output = &mut *exec_future => {
                    break Ok(ProcessWaitResult::Completed(output?))
                },
                _ = sigtstp.recv() => {
                    break Ok(ProcessWaitResult::Stopped)
                },
                _ = sigchld.recv() => {
                    if sys::signal::poll_for_stopped_children()? {
                        break Ok(ProcessWaitResult::Stopped);
                    }
                },
                _ = sys::signal::await_ctrl_c() => {
                    // SIGINT got thrown. Handle it and continue looping. The child should
                    // have received it as well, and either handled it or ended up getting
                    // terminated (in which case we'll see the child exit).
                },
            }
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Result<std::process::Output, error::Error>> {
        match &mut self.waiter {
            Waiter::Watched(checkable_future) => checkable_future
                .now_or_never()
                .map(|result| result.map_err(Into::into)),
            Waiter::Plain(child) => match child.try_wait() {
                Ok(status) => status.map(|status| Ok(output_of(status))),
                Err(error) => Some(Err(error.into())),
            },
        }
    }
}

/// Represents the result of waiting for an executing process.
pub enum ProcessWaitResult {
    /// The process completed.
    Completed(std::process::Output),
    /// The process stopped and has not yet completed.
    Stopped,
}

/// The streams of children go where the script says, so there is only a status.
fn output_of(status: std::process::ExitStatus) -> std::process::Output {
    std::process::Output {
        status,
        stdout: Vec::new(),
        stderr: Vec::new(),
    }
}
