//! Proof that the kernel needs no std: a program with its own panic handler and allocator links it. A dependency that
//! drags std in brings a second panic handler along, and the build fails.

use anyhow::{Context, Result};

use crate::cargo;

const MAIN: &str = include_str!("../../probe/main.rs");

/// Builds the program. It is a package of its own, so that features of the workspace's other crates do not reach it, with
/// the versions of the workspace's lock file.
pub fn build() -> Result<()> {
    let dir = cargo::target_dir().join("probe");
    std::fs::create_dir_all(&dir).context("cannot make the probe's folder")?;
    let kernel = cargo::root().join("kernel-core");
    let manifest = format!(
        "[package]\nname = \"probe\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n\
         [[bin]]\nname = \"probe\"\npath = \"main.rs\"\ntest = false\n\n\
         [dependencies]\nkernel-core = {{ path = {kernel:?} }}\n\n\
         [profile.dev]\npanic = \"abort\"\n\n[workspace]\n"
    );
    std::fs::write(dir.join("Cargo.toml"), manifest)?;
    std::fs::write(dir.join("main.rs"), MAIN)?;
    std::fs::copy(cargo::root().join("Cargo.lock"), dir.join("Cargo.lock"))?;
    let mut command = cargo::cargo(&["build", "--quiet", "--target", cargo::TARGET]);
    command.current_dir(&dir).arg("--target-dir").arg(dir.join("target"));
    command.env("RUSTFLAGS", "-C link-arg=-nostartfiles");
    cargo::check(&mut command).context("the kernel does not link without std")
}
