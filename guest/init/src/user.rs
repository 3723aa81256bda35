//! Who the command runs as: names and numbers, looked up in /etc/passwd and /etc/group by hand (passwd(5), group(5)),
//! because a static glibc cannot do it.

/// The identity that a command gets.
#[derive(Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Primary group id.
    pub gid: u32,
    /// Supplementary groups, the primary one among them (as login programs set it).
    pub groups: Vec<u32>,
    /// Home folder; `/` for a user without an entry.
    pub home: Vec<u8>,
    /// Login shell; empty for a user without an entry, or with none in it.
    pub shell: Vec<u8>,
    /// The login name; a number's own digits for a user without an entry.
    pub name: Vec<u8>,
}

/// Resolves `U[:G]`. A number needs no entry: it then gets group 0 (as `docker run --user` does), or G. With G given, the
/// supplementary groups of the user are dropped.
pub fn resolve(spec: &[u8], passwd: &[u8], group: &[u8]) -> Result<User, String> {
    let (user, wanted_group) = match spec.iter().position(|&b| b == b':') {
        Some(at) => (&spec[..at], Some(&spec[at + 1..])),
        None => (spec, None),
    };
    let entry = lines(passwd).find(|entry| entry.first() == Some(&user)).or_else(|| {
        let uid = number(user)?;
        lines(passwd).find(|entry| entry.get(2).and_then(|field| number(field)) == Some(uid))
    });
    let mut found = match entry {
        Some(entry) => User {
            name: entry[0].to_vec(),
            uid: field(&entry, 2).ok_or_else(|| broken(user))?,
            gid: field(&entry, 3).ok_or_else(|| broken(user))?,
            groups: Vec::new(),
            home: text(&entry, 5, b"/"),
            shell: text(&entry, 6, b""),
        },
        None => User {
            name: user.to_vec(),
            uid: number(user).ok_or_else(|| format!("no user {} in /etc/passwd", show(user)))?,
            gid: 0,
            groups: Vec::new(),
            home: b"/".to_vec(),
            shell: Vec::new(),
        },
    };
    match wanted_group {
        Some(wanted) => {
            let entry = lines(group).find(|entry| entry.first() == Some(&wanted));
            let gid = entry.and_then(|entry| field(&entry, 2)).or_else(|| number(wanted));
            found.gid = gid.ok_or_else(|| format!("no group {} in /etc/group", show(wanted)))?;
            found.groups = vec![found.gid];
        }
        None => {
            found.groups = vec![found.gid];
            for entry in lines(group) {
                let member =
                    entry.get(3).is_some_and(|list| list.split(|&b| b == b',').any(|m| m == found.name));
                if let Some(gid) = field(&entry, 2).filter(|gid| member && !found.groups.contains(gid)) {
                    found.groups.push(gid);
                }
            }
        }
    }
    Ok(found)
}

/// The entries of a colon-separated file, without comments and empty lines.
fn lines(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    let real = |line: &&[u8]| !line.is_empty() && !line.starts_with(b"#");
    file.split(|&b| b == b'\n').filter(real).map(|line| line.split(|&b| b == b':').collect())
}

fn field(entry: &[&[u8]], at: usize) -> Option<u32> {
    entry.get(at).and_then(|field| number(field))
}

fn text(entry: &[&[u8]], at: usize, default: &[u8]) -> Vec<u8> {
    entry.get(at).filter(|field| !field.is_empty()).map_or(default, |field| field).to_vec()
}

/// A decimal id. The highest one is no id: setuid(2) and its relatives take it for "unchanged".
fn number(digits: &[u8]) -> Option<u32> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let value = std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()?;
    (value != u32::MAX).then_some(value)
}

fn broken(user: &[u8]) -> String {
    format!("the entry of {} in /etc/passwd is broken", show(user))
}

fn show(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] =
        b"# who\nroot:x:0:0:root:/root:/bin/sh\nann:x:1000:100:Ann:/home/ann:/bin/bash\nbad:x:q:1::/:\n";
    const GROUP: &[u8] = b"root:x:0:\nusers:x:100:\naudio:x:29:bob,ann\nvideo:x:44:annette\n";

    #[test]
    fn a_name_brings_its_groups_home_and_shell() {
        let ann = resolve(b"ann", PASSWD, GROUP).unwrap();
        assert_eq!((ann.uid, ann.gid, ann.groups), (1000, 100, vec![100, 29]));
        assert_eq!((&ann.home[..], &ann.shell[..]), (&b"/home/ann"[..], &b"/bin/bash"[..]));
        assert_eq!(resolve(b"1000", PASSWD, GROUP).unwrap().name, b"ann");
    }

    #[test]
    fn a_group_replaces_all_groups() {
        let ann = resolve(b"ann:audio", PASSWD, GROUP).unwrap();
        assert_eq!((ann.gid, ann.groups), (29, vec![29]));
        assert_eq!(resolve(b"ann:7", PASSWD, GROUP).unwrap().gid, 7);
    }

    #[test]
    fn numbers_need_no_entry_and_names_do() {
        let nobody = resolve(b"4242:17", b"", b"").unwrap();
        assert_eq!((nobody.uid, nobody.gid, &nobody.home[..]), (4242, 17, &b"/"[..]));
        assert_eq!(resolve(b"eve", PASSWD, GROUP), Err("no user eve in /etc/passwd".into()));
        assert_eq!(resolve(b"ann:wheel", PASSWD, GROUP), Err("no group wheel in /etc/group".into()));
        assert_eq!(resolve(b"bad", PASSWD, GROUP), Err("the entry of bad in /etc/passwd is broken".into()));
        assert!(resolve(b"4294967295", PASSWD, GROUP).is_err());
        assert!(resolve(b"", PASSWD, GROUP).is_err());
    }
}
