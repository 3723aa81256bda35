use alloc::vec;

use super::*;
use crate::host::fake::FakeHost;
use crate::host::{Phys, Prot};
use crate::mm::cache::Backing;
use crate::mm::info::What;
use crate::mm::ram::Ram;
use crate::mm::stack::{AuxInfo, Start, build};

/// A program header, as p_type, p_flags, p_offset, p_vaddr, p_filesz, p_memsz, p_align.
type Segment = (u32, u32, u64, u64, u64, u64, u64);

/// The bytes of an ELF file: headers, then at 0x1000 "code" and at 0x2000 "data", 0x3000 bytes in all.
fn elf(e_type: u16, entry: u64, segments: &[Segment]) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([e_type, abi::EM_X86_64].iter().flat_map(|half| half.to_le_bytes()));
    bytes.extend(1u32.to_le_bytes());
    bytes.extend([entry, 64, 0].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend(0u32.to_le_bytes());
    bytes.extend([64u16, 56, segments.len() as u16, 0, 0, 0].iter().flat_map(|half| half.to_le_bytes()));
    for &(p_type, flags, offset, vaddr, filesz, memsz, align) in segments {
        bytes.extend([p_type, flags].iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend([offset, vaddr, vaddr, filesz, memsz, align].iter().flat_map(|word| word.to_le_bytes()));
    }
    bytes.resize(0x1000, 0);
    bytes.extend(b"code");
    bytes.resize(0x2000, 0xaa);
    bytes.extend(b"data");
    bytes.resize(0x3000, 0xbb);
    bytes
}

const R: u32 = abi::PF_R;
const RX: u32 = abi::PF_R | abi::PF_X;
const RW: u32 = abi::PF_R | abi::PF_W;

fn segments(base: u64) -> [Segment; 3] {
    [
        (abi::PT_LOAD, RX, 0, base, 0x1004, 0x1004, 0x1000),
        (abi::PT_LOAD, RW, 0x2000, base + 0x2000, 4, 0x5000, 0x1000),
        (abi::PT_GNU_STACK, RW, 0, 0, 0, 0, 16),
    ]
}

struct Fixture {
    ram: Arc<Ram>,
    mm: Arc<Mm<FakeHost>>,
}

impl Fixture {
    fn new() -> Fixture {
        let host = FakeHost::new(1);
        let ram = Ram::new(host.ram(), 64 << 20);
        let mm = Mm::new(&host, &ram, 0..0).unwrap();
        Fixture { ram, mm }
    }

    fn binary(&self, bytes: Vec<u8>) -> Binary {
        let backing = Backing::Blob { owner: Arc::new(bytes), offset: 0, len: usize::MAX };
        Binary { pages: PageCache::new(&self.ram, backing), file: None }
    }

    fn load(&self, bytes: Vec<u8>) -> Result<Image> {
        load(&self.mm, &self.binary(bytes), None)
    }

    fn bytes(&self, addr: u64) -> [u8; 6] {
        self.mm.user().get(addr).unwrap()
    }
}

#[test]
fn loads_a_program_at_fixed_addresses() {
    let test = Fixture::new();
    let image = test.load(elf(abi::ET_EXEC, 0x40_1000, &segments(0x40_0000))).unwrap();
    assert_eq!((image.entry, image.program_entry), (0x40_1000, 0x40_1000));
    assert_eq!((image.headers, image.header_count), (0x40_0040, 3));
    assert!(!image.executable_stack);
    assert_eq!(&test.bytes(0x40_1000), b"code\xaa\xaa", "pages show the file around a segment");
    assert_eq!(&test.bytes(0x40_2000), b"data\0\0", "but what is behind data is zero");
    assert_eq!(test.bytes(0x40_6000), [0; 6]);
    assert!(test.mm.user().get::<u8>(0x40_7000).is_err());
    assert!(test.mm.user().set(0x40_1000, &0u8).is_err(), "code is not writable");
    let layout = test.mm.layout();
    assert!(layout.brk_start >= 0x40_7000 && layout.brk_start.is_multiple_of(0x1000));
    let prots: Vec<Prot> = test.mm.maps().iter().map(|map| map.prot).collect();
    assert_eq!(prots, [Prot::READ | Prot::EXEC, Prot::READ | Prot::WRITE, Prot::READ | Prot::WRITE]);
}

#[test]
fn loads_a_dynamic_program_and_its_interpreter() {
    let test = Fixture::new();
    let mut wanted = vec![(abi::PT_INTERP, R, 0x1800, 0x1800, 6, 6, 1)];
    wanted.extend(segments(0));
    let mut bytes = elf(abi::ET_DYN, 0x1000, &wanted);
    bytes[0x1800..0x1806].copy_from_slice(b"/ld.x\0");
    let exe = test.binary(bytes);
    assert_eq!(interpreter(&exe), Ok(Some(b"/ld.x".to_vec())));
    let ld = test.binary(elf(abi::ET_DYN, 0x1002, &segments(0)));
    let image = load(&test.mm, &exe, Some(&ld)).unwrap();
    assert_eq!(image.entry, image.interpreter_base + 0x1002);
    assert_ne!(image.program_entry, image.entry);
    assert_eq!(&test.bytes(image.program_entry)[..4], b"code");
    assert_eq!(&test.bytes(image.entry)[..2], b"de");
    assert_eq!(load(&test.mm, &exe, Some(&test.binary(b"#!/bin/sh\n".to_vec()))), Err(ELIBBAD));

    let aux = AuxInfo {
        uid: 1000,
        euid: 0,
        gid: 0,
        egid: 0,
        secure: true,
        hwcap: 0,
        hwcap2: 2,
        clock_image: Some(0x7000),
        min_signal_stack: 3376,
    };
    let (args, env) = ([b"prog".to_vec(), b"-x".to_vec()], [b"A=1".to_vec()]);
    let sp = build(&test.mm, &image, &Start { args: &args, env: &env, path: b"/bin/prog", aux }).unwrap();
    assert_eq!(sp % 16, 0);
    let word = |index: u64| test.mm.user().get::<u64>(sp + 8 * index).unwrap();
    let string = |addr| test.mm.user().read_cstr(addr, 100).unwrap();
    assert_eq!(
        (word(0), string(word(1)), string(word(2)), word(3)),
        (2, b"prog".to_vec(), b"-x".to_vec(), 0)
    );
    assert_eq!((string(word(4)), word(5)), (b"A=1".to_vec(), 0));
    let aux = |kind| (0..20).find(|n| word(6 + 2 * n) == kind).map(|n| word(7 + 2 * n));
    assert_eq!((aux(3), aux(5), aux(7)), (Some(image.headers), Some(4), Some(image.interpreter_base)));
    assert_eq!((aux(9), aux(11), aux(23)), (Some(image.program_entry), Some(1000), Some(1)));
    assert_eq!(
        (string(aux(31).unwrap()), string(aux(15).unwrap())),
        (b"/bin/prog".to_vec(), b"x86_64".to_vec())
    );
    let layout = test.mm.layout();
    assert_eq!(string(layout.args.start), b"prog");
    assert_eq!(string(layout.env.start), b"A=1");
    assert_eq!(layout.args.end, layout.env.start);
    assert_eq!(test.mm.maps().last().unwrap().what, What::Stack);
}

#[test]
fn refuses_what_linux_refuses() {
    let refused = |e_type, segments: &[Segment]| Fixture::new().load(elf(e_type, 0, segments)).err();
    let code = segments(0x40_0000)[0];
    assert_eq!(refused(abi::ET_REL, &[code]), Some(ENOEXEC));
    assert_eq!(refused(abi::ET_EXEC, &[]), Some(ENOEXEC));
    assert_eq!(refused(abi::ET_EXEC, &[code; 74]), Some(ENOEXEC), "more headers than a page");
    assert_eq!(refused(abi::ET_EXEC, &[segments(0)[2]]), Some(EINVAL), "nothing to load");
    let change = |change: fn(&mut Segment)| {
        let mut segment = code;
        change(&mut segment);
        refused(abi::ET_EXEC, &[segment])
    };
    assert_eq!(change(|segment| segment.5 = 1), Some(EINVAL), "more in the file than in memory");
    assert_eq!(change(|segment| segment.2 = 1), Some(EINVAL), "offset and address do not fit");
    assert!(change(|segment| segment.3 = u64::MAX - 0xfff).is_some());
    assert!(change(|segment| segment.5 = u64::MAX / 2).is_some());
    let test = Fixture::new();
    assert_eq!(test.load(b"\x7fELF".to_vec()).err(), Some(ENOEXEC));
    let interp = |path_at: u64, len: u64| {
        let segment = (abi::PT_INTERP, R, path_at, 0, len, len, 1);
        interpreter(&test.binary(elf(abi::ET_DYN, 0, &[segment])))
    };
    assert_eq!(interp(0x1000, 4), Err(ENOEXEC), "no zero byte at the end");
    assert_eq!(interp(0x1000, 5000), Err(ENOEXEC));
    assert_eq!(interp(0x2fff, 16), Err(EIO));
}

#[test]
fn survives_damaged_headers() {
    let whole = elf(abi::ET_DYN, 0x1000, &segments(0));
    let mut seed = 3u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) % below
    };
    let test = Fixture::new();
    for round in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..=round % 4 {
            let at = (16 + random(64 + 3 * 56 - 16)) as usize;
            bytes[at] = [0, 0xff, 0x7f, 0x80, random(256) as u8][random(5) as usize];
        }
        let mm = Mm::new(&FakeHost::new(1), &test.ram, 0..0).unwrap();
        let exe = test.binary(bytes);
        let _ = interpreter(&exe);
        let _ = load(&mm, &exe, Some(&exe));
    }
    assert_eq!(test.ram.free(), test.ram.total());
    assert_eq!(test.ram.reserve(1 << 40), Ok(Phys(0)));
}
