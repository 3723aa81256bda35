//! The program of libFuzzer; `LODGER_FUZZ` says which target it runs.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<&lodger_fuzz::Target> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("LODGER_FUZZ").expect("LODGER_FUZZ is the name of a target");
        lodger_fuzz::target(&name).expect("LODGER_FUZZ is the name of a target")
    });
    (target.run)(data);
});
