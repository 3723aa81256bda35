//! Results as files, and as parts of pages that other people wrote.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The line that a generated part ends with.
const END: &str = "<!-- end -->";

/// Writes a file, and says so.
pub fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// Writes the generated part of a page, which names the command that writes it; a page that is not there gets nothing
/// but that part.
pub fn write_part(path: &Path, command: &str, part: &str) -> Result<()> {
    let begin = begin(command);
    let page = match fs::read_to_string(path) {
        Ok(page) => page,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("{begin}\n{END}\n"),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    match replaced(&page, &begin, part) {
        Some(page) => write(path, &page),
        None => bail!("{} has no part between `{begin}` and `{END}`", path.display()),
    }
}

/// The line that a generated part begins with.
fn begin(command: &str) -> String {
    format!("<!-- begin: written by `{command}` -->")
}

/// The page with another generated part.
fn replaced(page: &str, begin: &str, part: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n\n{}\n\n{END}{after}", part.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_generated_part_changes() {
        let begin = begin("a command");
        let page = format!("# Mine\n\n{begin}\nold\n{END}\nmine too\n");
        let new = replaced(&page, &begin, "new\n").unwrap();
        assert_eq!(new, format!("# Mine\n\n{begin}\n\nnew\n\n{END}\nmine too\n"));
        assert_eq!(replaced(&new, &begin, "new").unwrap(), new);
        assert_eq!(replaced(&page, &super::begin("another"), "new"), None);
    }
}
