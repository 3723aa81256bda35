//! What the kernel's own source package has: the test of its little C library, and kselftest.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Results;
use super::fetch::{binary, output};
use super::open::script;
use super::suites::{Suite, parse_busybox};

/// A static program without any library.
pub const NOLIBC: Suite = Suite {
    name: "nolibc-test",
    build: build_nolibc,
    inside: false,
    script: "$SUITE/nolibc-test",
    sample: Some(""),
    parse: parse_nolibc,
    explained: &[],
};

/// The kernel's own tests, a case each program.
pub const KSELFTEST: Suite = Suite {
    name: "kselftest",
    build: build_kselftest,
    inside: false,
    script: "sh $SUITE/run.sh $SUITE/built",
    sample: None,
    parse: parse_busybox,
    explained: &[
        ("no AF_INET", "exec:non-regular"),
        ("no hardware breakpoints", "breakpoints:breakpoint_test"),
        ("no huge pages", "memfd:run_hugetlbfs_test.sh"),
        ("no Landlock", "landlock:ptrace_test"),
        ("no modify_ldt(2)", "x86:fsgsbase_64\nx86:fsgsbase_restore_64"),
        ("no network namespaces", "pidfd:pidfd_setns_test\nproc:setns-dcache"),
        (
            "no real-time policies",
            "futex/functional:futex_requeue_pi\nfutex/functional:futex_requeue_pi_signal_restart\nfutex/functional:run.sh",
        ),
        (
            "no time namespaces",
            "timens:clock_nanosleep\ntimens:exec\ntimens:futex\ntimens:procfs\ntimens:timens\ntimens:timer\ntimens:timerfd",
        ),
        ("no /proc/PID/syscall", "proc:proc-self-syscall"),
        ("a signal frame changes no segments", "x86:sigreturn_64"),
        (
            "two threads spin for each other 100,000 times, on one virtual processor",
            "filesystems/epoll:epoll_wakeup_test",
        ),
        (
            "no clock image on tt",
            "vDSO:vdso_standalone_test_x86\nvDSO:vdso_test_abi\nvDSO:vdso_test_gettimeofday",
        ),
        ("the host's vsyscall page works on tt, and is not shown", "x86:test_vsyscall_64"),
        ("a call with TF set loses NT on tt", "x86:syscall_nt_64"),
        ("200 threads that spin for a lock take more than 150 s", "rseq:basic_percpu_ops_test"),
        ("a fault brings in 64 KiB, not a page", "mincore:mincore_selftest"),
        ("a filter of system calls cannot ask a listener (SECCOMP_RET_USER_NOTIF)", "seccomp:seccomp_bpf"),
        (
            "the vDSO is the host's: it stays where it is, above what a guest may map, and tells no processor",
            "proc:proc-pid-vm\nvDSO:vdso_test_getcpu\nx86:sysret_rip_64\nx86:test_mremap_vdso_64",
        ),
    ],
};

const PACKAGE: &str = "linux-source-6.1";

fn build_nolibc(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("nolibc");
    if folder.join("nolibc-test").exists() {
        return Ok(folder);
    }
    let package = binary(cache, PACKAGE)?;
    let tree = cache.join("linux");
    fs::create_dir_all(&tree)?;
    fs::create_dir_all(&folder)?;
    let unpack = r#"set -e
        dpkg-deb --fsys-tarfile "$1" | tar xO ./usr/src/linux-source-6.1.tar.xz | xz -dc |
            tar x -C "$2" --strip-components=1 --wildcards '*/tools/include/nolibc' '*/tools/testing/selftests/nolibc'"#;
    output(Command::new("sh").args(["-c", unpack, "sh"]).arg(package).arg(&tree))?;
    let tools = tree.join("tools");
    let mut cc = Command::new("cc");
    cc.args(["-Os", "-w", "-static", "-nostdlib", "-fno-stack-protector", "-fno-asynchronous-unwind-tables"]);
    cc.arg("-include").arg(tools.join("include/nolibc/nolibc.h")).arg("-o").arg(folder.join("nolibc-test"));
    output(cc.arg(tools.join("testing/selftests/nolibc/nolibc-test.c")).arg("-lgcc"))?;
    Ok(folder)
}

fn build_kselftest(cache: &Path) -> Result<PathBuf> {
    let folder = cache.join("kselftest");
    if !folder.join("done").exists() {
        for package in [PACKAGE, "libcap-dev", "libcap-ng-dev", "libpopt-dev"] {
            binary(cache, package)?;
        }
        script(include_str!("../../conformance/kselftest.sh"), cache, &folder)?;
    }
    fs::write(folder.join("run.sh"), include_str!("../../conformance/kselftest-run.sh"))?;
    Ok(folder)
}

/// Lines such as `12 chdir_dot = 0    [OK]`, in sections that start with `Running test 'NAME'`.
fn parse_nolibc(text: &str) -> Results {
    let (mut section, mut results) = (String::new(), Results::new());
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("Running test '") {
            section = rest.split('\'').next().unwrap_or_default().into();
        }
        let passed = line.ends_with("[OK]");
        if passed || line.ends_with("[FAIL]") {
            let name: Vec<&str> = line.split_whitespace().take(2).collect();
            results.insert(format!("{section} {}", name.join(" ")), passed);
        }
    }
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_read() {
        let text =
            "Running test 'syscall'\n0 getpid = 1   [OK]\n1 kill_0 = -1 EPERM != 0  [FAIL]\nErrors: 1\n";
        let want = [("syscall 0 getpid".to_string(), true), ("syscall 1 kill_0".to_string(), false)];
        assert_eq!(parse_nolibc(text), Results::from(want));
    }
}
