//! What the processor offers to guests.

use kernel_core::host::Cpu;

/// What the host kernel tells this process of the processor; guest threads are threads of the same host, and have these
/// components of the vector state.
pub fn cpu(xstate_features: u64) -> Cpu {
    Cpu { hwcap: auxv(libc::AT_HWCAP), hwcap2: auxv(libc::AT_HWCAP2), xstate_features }
}

/// Whether programs may use `rdfsbase` and its siblings.
pub fn has_fsgsbase() -> bool {
    /// Bit of AT_HWCAP2.
    const FSGSBASE: u32 = 1 << 1;
    auxv(libc::AT_HWCAP2) & FSGSBASE != 0
}

/// The low half of an entry of the auxiliary vector.
fn auxv(kind: libc::c_ulong) -> u32 {
    // SAFETY: `getauxval` only reads what the kernel passed at exec.
    unsafe { libc::getauxval(kind) as u32 }
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
