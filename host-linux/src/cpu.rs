//! What the processor offers to guests.

use kernel_core::host::Cpu;

/// What the host kernel tells this process of the processor; guest threads are threads of the same host.
pub fn cpu() -> Cpu {
    // SAFETY: `getauxval` only reads what the kernel passed at exec.
    let (hwcap, hwcap2) = unsafe { (libc::getauxval(libc::AT_HWCAP), libc::getauxval(libc::AT_HWCAP2)) };
    Cpu { hwcap: hwcap as u32, hwcap2: hwcap2 as u32, xstate_features: xstate_features() }
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
