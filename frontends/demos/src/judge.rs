//! What came of an attack: the attacker's claims beside what the victim knows. Nobody is believed alone.

use crate::instance::Report;

/// What a guest's memory, or the kernel's, was for the attacker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Open.
    Exposed,
    /// Out of reach.
    Refused,
}

impl Outcome {
    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Exposed => "exposed",
            Outcome::Refused => "refused",
        }
    }
}

/// The outcome, and how it was found.
#[derive(Debug)]
pub struct Verdict {
    /// None if it is neither: something went wrong.
    pub outcome: Option<Outcome>,
    /// One sentence.
    pub why: String,
}

impl Verdict {
    /// The attack succeeded.
    pub fn exposed(why: impl Into<String>) -> Verdict {
        Verdict { outcome: Some(Outcome::Exposed), why: why.into() }
    }

    /// The attack failed as it should.
    pub fn refused(why: impl Into<String>) -> Verdict {
        Verdict { outcome: Some(Outcome::Refused), why: why.into() }
    }

    /// Nothing that was foreseen.
    pub fn neither(why: impl Into<String>) -> Verdict {
        Verdict { outcome: None, why: why.into() }
    }
}

/// Judges an instance that is over.
pub type Judge = fn(&Report) -> Verdict;

/// What the programs said of one demo.
struct Said<'a>(&'a Report);

impl<'a> Said<'a> {
    /// That the scene was played to its end; otherwise what was there instead.
    fn ended(report: &'a Report) -> Result<Said<'a>, Verdict> {
        if report.hung {
            return Err(Verdict::neither("the instance hung and was killed"));
        }
        if report.status != 0 {
            return Err(Verdict::neither(format!("the instance ended with status {}", report.status)));
        }
        Ok(Said(report))
    }

    fn victim(&self, key: &str) -> Option<&'a str> {
        self.0.facts.get("victim", key)
    }

    fn attacker(&self, key: &str) -> Option<&'a str> {
        self.0.facts.get("attacker", key)
    }

    fn scene(&self, key: &str) -> Option<&'a str> {
        self.0.facts.get("scene", key)
    }

    /// How many addresses were tried, if each of them faulted.
    fn all_faulted(&self) -> Option<u64> {
        let [tried, faults] = ["tried", "faults"].map(|key| self.attacker(key)?.parse::<u64>().ok());
        tried.filter(|tried| *tried > 0 && Some(*tried) == faults)
    }
}

/// What a pointer that faults is answered with.
const SIGSEGV: &str = "SIGSEGV";

/// The victim's secret, which it tells when the attack is over.
pub fn peek(report: &Report) -> Verdict {
    let said = match Said::ended(report) {
        Ok(said) => said,
        Err(verdict) => return verdict,
    };
    let (found, told) = (said.attacker("found"), said.attacker("told"));
    match (said.victim("secret"), found, said.all_faulted()) {
        (Some(secret), Some(found), _) if secret == found && told == Some(secret) => {
            Verdict::exposed(format!("the attacker's {found} is the victim's secret"))
        }
        (Some(_), None, Some(tried)) if told == Some(SIGSEGV) => Verdict::refused(format!(
            "{tried} pointers were tried, all of them SIGSEGV, the one to the secret among them"
        )),
        (secret, ..) => Verdict::neither(format!("secret {secret:?}, found {found:?}, told {told:?}")),
    }
}

/// The victim's variable, as the victim sees it before and after.
pub fn poke(report: &Report) -> Verdict {
    let said = match Said::ended(report) {
        Ok(said) => said,
        Err(verdict) => return verdict,
    };
    let [before, after] = ["before", "after"].map(|key| said.victim(key));
    let (wrote, told) = (said.attacker("wrote"), said.attacker("told"));
    match (before, after, wrote, said.all_faulted()) {
        (Some(before), Some(after), Some(wrote), _) if after == wrote && after != before => {
            Verdict::exposed(format!("the victim had {before} and finds the attacker's {after}"))
        }
        (Some(before), Some(after), None, Some(tried)) if after == before && told == Some(SIGSEGV) => {
            Verdict::refused(format!(
                "{tried} pointers were tried, all of them SIGSEGV; the victim still has {after}"
            ))
        }
        _ => Verdict::neither(format!("before {before:?}, wrote {wrote:?}, after {after:?}, told {told:?}")),
    }
}

/// The key in a file that the attacker may not open.
pub fn kernel_read(report: &Report) -> Verdict {
    let said = match Said::ended(report) {
        Ok(said) => said,
        Err(verdict) => return verdict,
    };
    let (key, open, found) = (said.scene("key"), said.attacker("open"), said.attacker("found"));
    match (key, open, found, said.all_faulted()) {
        (Some(key), Some("EACCES"), Some(found), _) if key == found => {
            Verdict::exposed(format!("the attacker may not open the file, and has {found}, which is in it"))
        }
        (Some(_), Some("EACCES"), None, Some(tried)) => Verdict::refused(format!(
            "the file cannot be opened, and {tried} pointers to where a kernel could be are all SIGSEGV"
        )),
        _ => Verdict::neither(format!("key {key:?}, open {open:?}, found {found:?}")),
    }
}

/// A file of root's, before and after the attack on the credentials.
pub fn root(report: &Report) -> Verdict {
    let said = match Said::ended(report) {
        Ok(said) => said,
        Err(verdict) => return verdict,
    };
    let [before, after, found] = ["open", "again", "found"].map(|key| said.attacker(key));
    let (key, uid) = (said.scene("key"), said.attacker("uid"));
    match (before, after) {
        (Some("EACCES"), Some("opened")) if uid == Some("0") && key.is_some() && key == found => {
            Verdict::exposed("a process that nobody gave any right is root, and read root's file")
        }
        (Some("EACCES"), Some("EACCES")) if uid.is_some_and(|uid| uid != "0") && found.is_none() => {
            match said.all_faulted() {
                Some(tried) => Verdict::refused(format!(
                    "{tried} pointers to where a kernel could be are all SIGSEGV; the file stays closed"
                )),
                None => Verdict::neither("the file stayed closed, but not all pointers were refused"),
            }
        }
        _ => Verdict::neither(format!("open {before:?}, then {after:?} as uid {uid:?}, found {found:?}")),
    }
}

/// The sentence with which an instance reports that a guest wrecked its kernel.
const WRECKED: &str = "overwrote kernel memory";

/// Whether anybody lives after the kernel was scribbled over.
pub fn crash(report: &Report) -> Verdict {
    let fact = |who, key| report.facts.get(who, key);
    let alive = fact("victim", "alive");
    match report.status {
        125 if !report.hung && report.errors.contains(WRECKED) && alive.is_none() => Verdict::exposed(
            "one unprivileged process ended the kernel and everybody in it; from outside: status 125",
        ),
        0 if !report.hung
            && fact("scene", "attacker") == Some("signal 11")
            && alive.is_some()
            && alive == fact("victim", "before") =>
        {
            Verdict::refused("the attacker died of its own SIGSEGV; the victim lives and has what it had")
        }
        status => Verdict::neither(format!(
            "the instance ended with status {status}{}; victim alive: {}",
            if report.hung { " (it hung)" } else { "" },
            alive.is_some()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(lines: &[&str]) -> Report {
        let mut report = Report::default();
        for line in lines {
            assert!(report.facts.take(line).is_none(), "{line}");
        }
        report
    }

    #[test]
    fn a_claim_without_the_victims_word_is_nothing() {
        let secret = ["victim= secret ab", "attacker= found ab", "attacker= told ab"];
        assert_eq!(peek(&report(&secret)).outcome, Some(Outcome::Exposed));
        assert_eq!(peek(&report(&secret[1..])).outcome, None);
        let other = ["victim= secret ab", "attacker= found cd", "attacker= told cd"];
        assert_eq!(peek(&report(&other)).outcome, None);
        let nothing =
            ["victim= secret ab", "attacker= tried 9", "attacker= faults 9", "attacker= told SIGSEGV"];
        assert_eq!(peek(&report(&nothing)).outcome, Some(Outcome::Refused));
        assert_eq!(peek(&report(&nothing[..2])).outcome, None, "a failure must be seen to fail");
    }

    #[test]
    fn a_crash_is_the_whole_instance() {
        let mut down = report(&["victim= before ab"]);
        (down.status, down.errors) = (125, "lodger-tt: the guest overwrote kernel memory".into());
        assert_eq!(crash(&down).outcome, Some(Outcome::Exposed));
        down.hung = true;
        assert_eq!(crash(&down).outcome, None);
        let alone = ["victim= before ab", "victim= alive ab", "scene= attacker signal 11"];
        assert_eq!(crash(&report(&alone)).outcome, Some(Outcome::Refused));
        assert_eq!(crash(&report(&alone[..2])).outcome, None);
    }
}
