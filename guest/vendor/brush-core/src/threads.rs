//! The concurrent parts of a script (stages of a pipeline, background lists, substitutions), each
//! on a thread of its own, as other shells give each a process. They block: a builtin writes to a
//! full pipe, `read` waits for input. So no two of them may share a thread.

use crate::{error, results::ExecutionResult};

/// Runs `work` on a thread of its own. Of its result only the exit status counts, as that is all
/// that a process could hand to its parent: it cannot make this shell return or exit.
pub(crate) fn spawn<F>(work: F) -> tokio::task::JoinHandle<Result<ExecutionResult, error::Error>>
where
    F: Future<Output = Result<ExecutionResult, error::Error>> + Send + 'static,
{
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let result = runtime.block_on(work)?;
        Ok(ExecutionResult::from(result.exit_code))
    })
}
