//! What the processor offers to guests.

use kernel_core::host::Cpu;

/// What the host kernel tells this process of the processor; guest threads are threads of the same host.
pub fn cpu() -> Cpu {
    // SAFETY: `getauxval` only reads what the kernel passed at exec.
    let (hwcap, hwcap2) = unsafe { (libc::getauxval(libc::AT_HWCAP), libc::getauxval(libc::AT_HWCAP2)) };
    Cpu { hwcap: hwcap as u32, hwcap2: hwcap2 as u32, xstate_features: xstate_features() }
}

/// Whether programs may use `rdfsbase` and its siblings.
pub fn has_fsgsbase() -> bool {
    /// Bit of AT_HWCAP2.
    const FSGSBASE: u32 = 1 << 1;
    cpu().hwcap2 & FSGSBASE != 0
}

/// XCR0: the components that the host kernel switches. x87 and SSE alone where there is no XSAVE.
fn xstate_features() -> u64 {
    #[target_feature(enable = "xsave")]
    fn xcr0() -> u64 {
        // SAFETY: the caller has checked that the host kernel enabled XSAVE, which makes register 0 readable.
        unsafe { core::arch::x86_64::_xgetbv(0) }
    }
    // `is_x86_feature_detected` looks at OSXSAVE too.
    if std::arch::is_x86_feature_detected!("xsave") {
        // SAFETY: the feature was detected.
        unsafe { xcr0() }
    } else {
        3
    }
}

/// What the host kernel says of its first processor, without where that is among others: guests run on this, and their
/// kernel says where they see it.
pub fn processor() -> Vec<(String, String)> {
    const PLACE: [&str; 7] =
        ["processor", "physical id", "siblings", "core id", "cpu cores", "apicid", "initial apicid"];
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first = text.split("\n\n").next().unwrap_or_default();
    let lines = first.lines().filter_map(|line| line.split_once(':'));
    lines
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .filter(|(name, _)| !PLACE.contains(&name.as_str()))
        .collect()
}
