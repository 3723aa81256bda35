//! One guest from its boot to its end.

use anyhow::{Result, bail};

use crate::plan::{self, Surroundings};
use crate::root;
use crate::userland::Userland;
use crate::words::Request;

/// Boots a guest and returns its exit status.
pub fn run(request: &Request) -> Result<u8> {
    let userland = Userland::find()?;
    let root = root::open(&request.run.root, &userland)?;
    let _init = userland.init()?;
    let _plan = plan::plan(request, &Surroundings::here()).map_err(anyhow::Error::msg)?;
    let _loaded = root.load()?;
    bail!("the kernel is not there yet");
}
