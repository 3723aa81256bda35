//! Results as files, and as parts of pages that other people wrote.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

/// The lines that a generated part stands between.
const BEGIN: &str = "<!-- begin: written by `cargo xtask compare` -->";
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

/// Writes the generated part of a page; a page that is not there gets nothing but that part.
pub fn write_part(path: &Path, part: &str) -> Result<()> {
    let page = match fs::read_to_string(path) {
        Ok(page) => page,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("{BEGIN}\n{END}\n"),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    match replaced(&page, part) {
        Some(page) => write(path, &page),
        None => bail!("{} has no part between `{BEGIN}` and `{END}`", path.display()),
    }
}

/// The page with another generated part.
fn replaced(page: &str, part: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", part.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_generated_part_changes() {
        let page = format!("# Mine\n\n{BEGIN}\nold\n{END}\nmine too\n");
        let new = replaced(&page, "new\n").unwrap();
        assert_eq!(new, format!("# Mine\n\n{BEGIN}\n\nnew\n\n{END}\nmine too\n"));
        assert_eq!(replaced(&new, "new").unwrap(), new);
        assert_eq!(replaced("no part", "new"), None);
    }
}
