//! What a picture proves.

use super::picture::Picture;
use crate::judge::Verdict;

/// Exposed if every guest process sees and can change everything, refused if each sees nothing but its own.
pub fn of(picture: &Picture) -> Verdict {
    let kernel = picture.kernel();
    let guests = || picture.parties.iter().zip(&picture.sight).take(kernel).enumerate();
    if kernel < 2 {
        return Verdict::neither("there are not two guest processes to see each other");
    }
    for (at, (party, sight)) in guests() {
        let name = &party.name;
        if sight.unexplained > 0 {
            return Verdict::neither(format!("{name} sees {} bytes that nobody explains", sight.unexplained));
        }
        if sight.parties.get(at).is_none_or(|own| own.read == 0) {
            return Verdict::neither(format!("{name} does not even see its own memory"));
        }
    }
    let others = || {
        guests().flat_map(|(at, (_, sight))| {
            sight.parties.iter().enumerate().filter(move |(other, _)| *other != at).map(|(_, view)| *view)
        })
    };
    let seen = others().filter(|view| view.sees_all() && view.write > 0).count();
    let hidden = others().filter(|view| view.is_nothing() && view.of > 0).count();
    let all_ram = guests().all(|(_, (_, sight))| sight.ram.sees_all());
    let no_ram = guests().all(|(_, (_, sight))| sight.ram.read < sight.ram.of);
    let count = others().count();
    if seen == count && all_ram && picture.spaces.len() == 1 {
        return Verdict::exposed(
            "one host address space: every guest process sees, and can change, every other one, the kernel and all of RAM",
        );
    }
    if hidden == count && no_ram && picture.spaces.len() == picture.parties.len() {
        return Verdict::refused(format!(
            "{} host address spaces: no guest process sees another one's memory, the kernel's, or RAM that is not its own",
            picture.spaces.len()
        ));
    }
    Verdict::neither(format!(
        "of {count} pairs of a guest process and somebody else's memory, {seen} are open and {hidden} closed, in {} \
         host address spaces",
        picture.spaces.len()
    ))
}
