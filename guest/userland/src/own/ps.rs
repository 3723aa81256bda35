//! `ps`: every process, from /proc (proc(5)).

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::Path;

use super::{fail, plain, usage};

const USAGE: &str =
    "ps [-e|-f|-A|a|u|x] [-o FIELD,...]; fields: pid ppid pgid sid user uid tty stat vsz rss time comm args";

const SHORT: &[&str] = &["pid", "user", "stat", "time", "args"];
const FULL: &[&str] = &["pid", "ppid", "user", "stat", "vsz", "rss", "time", "args"];

/// One process, field by field.
struct Process {
    pid: u32,
    fields: HashMap<&'static str, String>,
}

/// `ps`. It shows all processes, whichever of the flags for that is given.
pub fn ps(words: &[OsString]) -> i32 {
    let mut columns: Vec<String> = SHORT.iter().map(|name| (*name).to_owned()).collect();
    let mut words = words.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        let letters = word.trim_start_matches('-');
        if word.starts_with("-o") || letters == "o" {
            let inline = letters.trim_start_matches('o').to_owned();
            let list =
                if inline.is_empty() { words.next().map(|list| list.into_owned()) } else { Some(inline) };
            columns = list.unwrap_or_default().split([',', ' ']).map(str::to_owned).collect();
        } else if letters.is_empty() || !letters.chars().all(|letter| "eAafuxwlj".contains(letter)) {
            return usage(USAGE);
        } else if letters.contains(['f', 'u', 'l', 'j']) {
            columns = FULL.iter().map(|name| (*name).to_owned()).collect();
        }
    }
    // `comm=` asks for a column without a title.
    let titled = columns.iter().any(|column| !column.ends_with('='));
    for column in &mut columns {
        *column = column.trim_end_matches('=').to_lowercase();
        if column == "cmd" || column == "command" {
            *column = "args".to_owned();
        }
    }
    let users = users();
    let mut processes = match std::fs::read_dir("/proc") {
        Ok(entries) => entries
            .flatten()
            .filter_map(|entry| read(&entry.path(), entry.file_name().to_str()?.parse().ok()?, &users))
            .collect::<Vec<_>>(),
        Err(error) => return fail("ps", format!("/proc: {}", plain(&error))),
    };
    processes.sort_by_key(|process| process.pid);
    let mut rows = Vec::new();
    if titled {
        rows.push(columns.iter().map(|column| column.to_uppercase()).collect::<Vec<_>>());
    }
    for process in &processes {
        let cells = columns.iter().map(|column| process.fields.get(column.as_str()).cloned());
        match cells.collect::<Option<Vec<_>>>() {
            Some(cells) => rows.push(cells),
            None => return usage(USAGE),
        }
    }
    print(&columns, &rows);
    0
}

/// Numbers to the right, text to the left, the last column as it is.
fn print(columns: &[String], rows: &[Vec<String>]) {
    let width = |at: usize| rows.iter().map(|row| row[at].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = widths[at];
            match columns[at].as_str() {
                _ if at + 1 == row.len() => line.push_str(cell),
                "user" | "stat" | "comm" | "args" | "tty" => line.push_str(&format!("{cell:<width$} ")),
                _ => line.push_str(&format!("{cell:>width$} ")),
            }
        }
        println!("{}", line.trim_end());
    }
}

/// Reads one process. `None` if it has ended meanwhile.
fn read(folder: &Path, pid: u32, users: &HashMap<u32, String>) -> Option<Process> {
    let stat = std::fs::read(folder.join("stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let (comm, rest) = split_stat(&stat)?;
    // Field N of proc(5) is `rest[N - 3]`.
    let number = |field: usize| rest.get(field - 3).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
    let uid = status
        .lines()
        .find_map(|line| line.strip_prefix("Uid:")?.split_whitespace().nth(1)?.parse::<u32>().ok())
        .unwrap_or(0);
    let mut args = std::fs::read(folder.join("cmdline")).unwrap_or_default();
    while args.last() == Some(&0) {
        args.pop();
    }
    let args = String::from_utf8_lossy(&args).replace('\0', " ");
    // SAFETY: sysconf has no preconditions.
    let (ticks, page) = unsafe { (libc::sysconf(libc::_SC_CLK_TCK), libc::sysconf(libc::_SC_PAGESIZE)) };
    let seconds = (number(14) + number(15)) / u64::try_from(ticks).unwrap_or(100).max(1);
    let resident = number(24) * u64::try_from(page).unwrap_or(4096) / 1024;
    let (tty, state) = (number(7), rest.first()?.to_string());
    let leader = if number(6) == u64::from(pid) { "s" } else { "" };
    let foreground = if tty != 0 && rest.get(5).is_some_and(|group| *group == rest[2]) { "+" } else { "" };
    let fields = HashMap::from([
        ("pid", pid.to_string()),
        ("ppid", number(4).to_string()),
        ("pgid", number(5).to_string()),
        ("sid", number(6).to_string()),
        ("uid", uid.to_string()),
        ("user", users.get(&uid).cloned().unwrap_or_else(|| uid.to_string())),
        ("tty", terminal(tty)),
        ("stat", format!("{state}{leader}{foreground}")),
        ("vsz", (number(23) / 1024).to_string()),
        ("rss", resident.to_string()),
        ("time", format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)),
        ("comm", comm.to_owned()),
        ("args", if args.is_empty() { format!("[{comm}]") } else { args }),
    ]);
    Some(Process { pid, fields })
}

/// Splits /proc/PID/stat into the name and what follows; the name may have spaces and parentheses in it.
fn split_stat(stat: &str) -> Option<(&str, Vec<&str>)> {
    let (start, end) = (stat.find('(')?, stat.rfind(')')?);
    Some((stat.get(start + 1..end)?, stat.get(end + 1..)?.split_whitespace().collect()))
}

/// The name of a terminal by its number: the minor one is in bits 0-7 and 20-31, the major one between.
fn terminal(number: u64) -> String {
    let (major, minor) = ((number >> 8) & 0xfff, (number & 0xff) | ((number >> 12) & 0xfff00));
    match major {
        0 => "?".to_owned(),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        5 if minor == 1 => "console".to_owned(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => format!("{major}:{minor}"),
    }
}

fn users() -> HashMap<u32, String> {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        Some((fields.nth(1)?.parse().ok()?, name))
    };
    passwd.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_end_of_itself() {
        let (comm, rest) = split_stat("7 (a) b) S 1 7 7 0 -1").unwrap();
        assert_eq!((comm, &rest[..2]), ("a) b", &["S", "1"][..]));
        assert!(split_stat("7 )(").is_none());
    }

    #[test]
    fn terminals_have_names() {
        assert_eq!(terminal(0), "?");
        assert_eq!(terminal(0x0501), "console");
        assert_eq!(terminal(0x8803), "pts/3");
    }
}
