//! Where the commands of a shell come from that has neither a script nor `-c`: the line editor on a terminal that can do
//! it, plain lines from anything else.

use std::io::{IsTerminal, Write};

use brush_core::parser::ParseError;
use brush_core::{Shell, ShellExtensions};
use brush_interactive::{
    InputBackend, InteractivePrompt, ReadResult, ReedlineInputBackend, ShellError, ShellRef, UIOptions,
};

/// Reads one complete command at a time.
pub struct Input {
    editor: Option<ReedlineInputBackend>,
}

impl Input {
    /// Looks at the standard input, and at TERM for whether a terminal understands more than lines.
    pub fn new(shell: &ShellRef<impl ShellExtensions>, ui: &UIOptions) -> Result<Input, ShellError> {
        let plain = std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb");
        let editor = match std::io::stdin().is_terminal() && !plain {
            true => Some(ReedlineInputBackend::new(ui, shell)?),
            false => None,
        };
        Ok(Input { editor })
    }
}

impl InputBackend for Input {
    fn read_line(
        &mut self,
        shell: &ShellRef<impl ShellExtensions>,
        prompt: InteractivePrompt,
    ) -> Result<ReadResult, ShellError> {
        let Some(editor) = &mut self.editor else {
            return read_command(shell, &prompt);
        };
        let again = InteractivePrompt {
            prompt: prompt.prompt.clone(),
            alt_side_prompt: String::new(),
            continuation_prompt: prompt.continuation_prompt.clone(),
        };
        match editor.read_line(shell, prompt) {
            // The terminal did not answer where its cursor is: it is one for lines after all.
            Err(ShellError::InputError(_)) => {
                self.editor = None;
                read_command(shell, &again)
            }
            done => done,
        }
    }

    fn get_read_buffer(&self) -> Option<(String, usize)> {
        self.editor.as_ref().and_then(InputBackend::get_read_buffer)
    }

    fn set_read_buffer(&mut self, buffer: String, cursor: usize) {
        if let Some(editor) = &mut self.editor {
            editor.set_read_buffer(buffer, cursor);
        }
    }
}

/// Reads lines until they make a command.
fn read_command(
    shell: &ShellRef<impl ShellExtensions>,
    prompt: &InteractivePrompt,
) -> Result<ReadResult, ShellError> {
    let on_terminal = std::io::stdin().is_terminal();
    let mut text = Vec::new();
    loop {
        if on_terminal {
            let prompt = if text.is_empty() { &prompt.prompt } else { &prompt.continuation_prompt };
            eprint!("{prompt}");
            std::io::stderr().flush()?;
        }
        match read_line() {
            Ok(line) if line.is_empty() && text.is_empty() => return Ok(ReadResult::Eof),
            // The end amid a command: running it says what is missing.
            Ok(line) if line.is_empty() => break,
            Ok(line) => text.extend(line),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {
                eprintln!();
                return Ok(ReadResult::Interrupted);
            }
            Err(error) => return Err(ShellError::InputError(error)),
        }
        // Nobody else has the shell while it waits for input.
        if shell.try_lock().is_ok_and(|shell| is_complete(&shell, &text)) {
            break;
        }
    }
    Ok(ReadResult::Input(String::from_utf8_lossy(&text).into_owned()))
}

fn is_complete(shell: &Shell<impl ShellExtensions>, text: &[u8]) -> bool {
    // A line that ends in a backslash goes on.
    let backslashes = text.strip_suffix(b"\n").unwrap_or(text).iter().rev().take_while(|&&b| b == b'\\');
    if backslashes.count() % 2 == 1 {
        return false;
    }
    match shell.parse_string(String::from_utf8_lossy(text)) {
        Err(ParseError::Tokenizing { inner, .. }) => !inner.is_incomplete(),
        Err(ParseError::ParsingAtEndOfInput) => false,
        _ => true,
    }
}

/// Reads one line and not a byte more, for what follows may be meant for a program that the line starts: a file is read
/// in pieces and wound back, all else byte by byte. Empty at the end.
fn read_line() -> std::io::Result<Vec<u8>> {
    // SAFETY: no memory is involved.
    let can_seek = unsafe { libc::lseek(0, 0, libc::SEEK_CUR) } >= 0;
    let mut line = Vec::new();
    let mut piece = [0; 4096];
    let wanted = if can_seek { piece.len() } else { 1 };
    loop {
        // SAFETY: the buffer has room for as much as is wanted.
        let count = unsafe { libc::read(0, piece.as_mut_ptr().cast(), wanted) };
        let Ok(count) = usize::try_from(count) else {
            return Err(std::io::Error::last_os_error());
        };
        let read = &piece[..count];
        match read.iter().position(|&b| b == b'\n') {
            Some(end) => {
                let excess = count - end - 1;
                if excess > 0 {
                    // SAFETY: no memory is involved.
                    unsafe { libc::lseek(0, -i64::try_from(excess).unwrap_or(0), libc::SEEK_CUR) };
                }
                line.extend(&read[..=end]);
                return Ok(line);
            }
            None if read.is_empty() => return Ok(line),
            None => line.extend(read),
        }
    }
}
