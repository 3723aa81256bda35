//! Every input that is kept, and changes of them for a while, through every target: no fuzzer needed.
//!
//! `LODGER_FUZZ_SECONDS` says for how long changes are tried (1 for each target, but none for `native`); there is at least one
//! change. What fails is written to `crashes/TARGET/`, where the next run finds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use lodger_fuzz::mutate::mutated;
use lodger_fuzz::random::Random;
use lodger_fuzz::{TARGETS, Target, target};

fn folder(kind: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(kind).join(name)
}

/// The inputs of a target, by name.
fn kept(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let folders = ["corpus", "crashes"].map(|kind| folder(kind, target.name));
    let files = folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let mut inputs: Vec<_> =
        files.map(|file| (file.path(), fs::read(file.path()).expect("an input"))).collect();
    inputs.sort();
    inputs
}

/// Runs a target with an input; one that ends in a panic is kept, and named.
fn run(target: &Target, input: &[u8], name: &Path) {
    if let Err(panic) = std::panic::catch_unwind(|| (target.run)(input)) {
        if !name.exists() {
            let _ = fs::create_dir_all(folder("crashes", target.name)).and_then(|()| fs::write(name, input));
        }
        eprintln!("{} fails with {}", target.name, name.display());
        std::panic::resume_unwind(panic);
    }
}

fn replay(name: &str) {
    let target = target(name).expect("a target");
    let inputs = kept(target);
    assert!(!inputs.is_empty(), "{name} has a corpus");
    for (path, input) in &inputs {
        run(target, input, path);
    }
    // What native Linux does is its version's affair: what was looked at is compared, what nobody saw is not.
    if name == "native" {
        return;
    }
    let seconds = std::env::var("LODGER_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    let random = Random::new(1);
    for round in 0.. {
        let (_, input) = &inputs[round % inputs.len()];
        let (_, other) = &inputs[round * 7 % inputs.len()];
        let changed = mutated(input, other, &random);
        run(target, &changed, &folder("crashes", name).join("mutated"));
        if Instant::now() >= end {
            println!("{name}: {} inputs, {} changes of them", inputs.len(), round + 1);
            break;
        }
    }
}

/// A test for each, so that they run side by side.
macro_rules! replayed {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                replay(stringify!($name));
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            assert_eq!(TARGETS.map(|target| target.name), [$(stringify!($name)),*]);
        }
    };
}

replayed!(archive calls cow elf ext4 mount native partitions path seccomp sigreturn terminal);
