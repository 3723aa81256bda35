//! From invented facts to pictures: what is exposed, what is not, what does not add up, and that drawings can be read.

use std::collections::BTreeMap;
use std::ops::Range;

use kernel_core::debug::inspect::{AddressSpace, Mapping, Owner, ProcessInfo, RamInfo, Resident, What};
use kernel_core::host::{Phys, Prot};

use super::facts::{Facts, Guest};
use super::host::{self, HostMapping};
use super::picture::{Picture, Whose};
use super::{label, svg, terminal, verdict, words};
use crate::judge::Outcome;

/// The host process that the kernel is.
const KERNEL: i32 = 100;

const RAM: &str = "rw-s 00000000 00:01 77 /memfd:lodger-ram (deleted)";

/// A guest with memory at `at`, which is `phys` of RAM, and the first page of RAM as a file.
fn guest(pid: u32, name: &str, host: i32, at: u64, phys: u64) -> Guest {
    let resident = |range: Range<u64>, phys, owner| Resident { range, phys: Phys(phys), owner };
    let mapping = |what, part: Resident, name: &str| Mapping {
        range: part.range.clone(),
        prot: Prot::READ | Prot::WRITE,
        shared: false,
        what,
        name: name.into(),
        offset: 0,
        resident: vec![part],
    };
    let program = mapping(What::File, resident(at..at + 0x1000, 0, Owner::File), "/bin/a");
    let heap = mapping(What::Heap, resident(at + 0x1000..at + 0x4000, phys, Owner::Process), "[heap]");
    Guest {
        process: ProcessInfo { pid, parent: 0, uid: 0, name: name.into(), state: b'S', threads: vec![pid] },
        space: AddressSpace {
            id: pid.into(),
            limits: 0..1 << 47,
            mappings: vec![program, heap],
            is_dead: false,
        },
        host,
    }
}

/// Lines of what is mapped for such a guest.
fn mapped(at: u64, phys: u64) -> String {
    let ram = "00:01 77 /memfd:lodger-ram (deleted)";
    format!(
        "{at:x}-{:x} r--s 0 {ram}\n{:x}-{:x} rw-s {phys:x} {ram}\n",
        at + 0x1000,
        at + 0x1000,
        at + 0x4000
    )
}

/// What the kernel's own process has.
fn kernels(more: &str) -> Vec<HostMapping> {
    let own = "550000000000-550000100000 r-xp 0 08:01 5 /bin/lodger\n550000200000-550000400000 rw-p 0 00:00 0 [heap]\n";
    let stubs = "7f0100000000-7f0100002000 rw-s 0 00:01 78 /memfd:lodger-requests (deleted)\n";
    parse(&format!("{more}{own}7f0000000000-7f0000100000 {RAM}\n{stubs}"))
}

fn parse(text: &str) -> Vec<HostMapping> {
    let mut mappings = host::parse(text).unwrap();
    mappings.sort_by_key(|mapping| mapping.range.start);
    mappings
}

fn facts(guests: Vec<Guest>, hosts: Vec<(i32, Vec<HostMapping>)>) -> Facts {
    let ram = RamInfo { size: 0x10_0000, total: 0x10_0000, used: 0x8000 };
    Facts { kernel: KERNEL, guests, ram, hosts: BTreeMap::from_iter(hosts) }
}

const STUB: &str = "7ffff0000000-7ffff0001000 r-xs 0 00:01 78 /memfd:lodger-requests (deleted)\n\
                    7ffff0001000-7ffff0002000 r--s 00001000 00:01 78 /memfd:lodger-requests (deleted)\n";

/// Two guests in processes of their own; `more` is mapped in the first one's, beside what should be.
fn apart(more: &str) -> Picture {
    let guests =
        vec![guest(1, "victim", 101, 0x40_0000, 0x1_0000), guest(2, "attacker", 102, 0x40_0000, 0x2_0000)];
    let first = parse(&format!("{}{STUB}{more}", mapped(0x40_0000, 0x1_0000)));
    let second = parse(&format!("{}{STUB}", mapped(0x40_0000, 0x2_0000)));
    let hosts = vec![(KERNEL, kernels("")), (101, first), (102, second)];
    label::picture(&facts(guests, hosts), "skas").unwrap()
}

/// Two guests and the kernel in one.
fn together() -> Picture {
    let (one, other) = (0x1000_0000_0000, 0x1040_0000_0000);
    let guests =
        vec![guest(1, "victim", KERNEL, one, 0x1_0000), guest(2, "attacker", KERNEL, other, 0x2_0000)];
    let left = "400000-401000 rw-s 00050000 00:01 77 /memfd:lodger-ram (deleted)\n";
    let maps = kernels(&format!("{left}{}{}", mapped(one, 0x1_0000), mapped(other, 0x2_0000)));
    label::picture(&facts(guests, vec![(KERNEL, maps)]), "tt").unwrap()
}

#[test]
fn guests_apart_see_nothing_of_each_other() {
    let picture = apart("");
    assert_eq!(verdict::of(&picture).outcome, Some(Outcome::Refused), "{}", verdict::of(&picture).why);
    let whose: Vec<Vec<Whose>> =
        picture.spaces.iter().map(|space| space.blocks.iter().map(|block| block.whose).collect()).collect();
    let guest = |at| vec![Whose::Party(at), Whose::Stub];
    assert_eq!(whose, [guest(0), guest(1), vec![Whose::Party(2), Whose::Ram, Whose::Stub]]);
    assert_eq!(picture.parties[0].bytes, 0x3000, "pages of files are nobody's alone");
}

#[test]
fn guests_together_see_everything() {
    let picture = together();
    assert_eq!(verdict::of(&picture).outcome, Some(Outcome::Exposed), "{}", verdict::of(&picture).why);
    let whose: Vec<Whose> = picture.spaces[0].blocks.iter().map(|block| block.whose).collect();
    use Whose::{Left, Party, Ram, Stub};
    assert_eq!(whose, [Left, Party(0), Party(1), Party(2), Ram, Stub]);
}

/// Each of these lines in a guest's process is a hole, and must be seen as one.
#[test]
fn a_hole_is_found() {
    for hole in [
        // The other guest's memory, all of RAM, and some that nobody has.
        "500000-503000 r--s 00020000 00:01 77 /memfd:lodger-ram (deleted)\n",
        "7e0000000000-7e0000100000 rw-s 00000000 00:01 77 /memfd:lodger-ram (deleted)\n",
        "500000-501000 r--s 00080000 00:01 77 /memfd:lodger-ram (deleted)\n",
        // Memory that came with a fork.
        "550000200000-550000400000 rw-p 00000000 00:00 0 [heap]\n",
        "550000000000-550000100000 r-xp 00000000 08:01 5 /bin/lodger\n",
    ] {
        assert_eq!(verdict::of(&apart(hole)).outcome, None, "{hole}");
    }
    // Reserved addresses are no hole.
    let reserved = "600000-700000 ---p 00000000 00:00 0 \n";
    assert_eq!(verdict::of(&apart(reserved)).outcome, Some(Outcome::Refused));
}

#[test]
fn drawings_are_well_formed_and_no_words_overlap() {
    let (apart, together) = (apart(""), together());
    for pictures in [vec![&apart], vec![&together], vec![&together, &apart]] {
        let sheet = svg::sheet(&pictures);
        let (width, height) = sheet.extent();
        let words = sheet.all_words();
        for (at, (a, text)) in words.iter().enumerate() {
            assert!(a.x >= 0.0 && a.x + a.width <= width && a.y + a.height <= height, "{text} is outside");
            for (b, other) in &words[at + 1..] {
                let beside = a.x + a.width <= b.x || b.x + b.width <= a.x;
                let below = a.y + a.height <= b.y || b.y + b.height <= a.y;
                assert!(beside || below, "`{text}` and `{other}` overlap");
            }
        }
        let drawn = sheet.finish("a < b & c");
        let document = roxmltree::Document::parse(&drawn).unwrap();
        let texts = document.descendants().filter(|node| node.has_tag_name("text")).count();
        assert!(texts > 30, "{texts}");
    }
}

#[test]
fn a_terminal_of_80_columns_is_wide_enough() {
    for picture in [apart(""), together()] {
        let plain = terminal::draw(&picture, terminal::Colour::None);
        assert!(plain.lines().all(|line| line.chars().count() < 80), "{plain}");
        assert!(!plain.contains('\x1b'));
        assert!(terminal::draw(&picture, terminal::Colour::Ansi).contains("\x1b[1m"));
        assert!(plain.contains("victim") && plain.contains(words::QUESTION));
    }
}

/// A saved picture is drawn again as it was.
#[test]
fn pictures_are_saved_whole() {
    let picture = together();
    let text = serde_json::to_string(&picture).unwrap();
    assert_eq!(serde_json::from_str::<Picture>(&text).unwrap(), picture);
}
