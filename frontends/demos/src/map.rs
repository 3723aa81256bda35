//! The demo `map`: who can see what, drawn from the live mappings of a running instance.
//!
//! It boots a kernel in this process ([`instance`]). While the guests sleep, it asks the kernel what they have mapped, and
//! the host what is mapped in each process that holds one of them, or the kernel ([`facts`]). From these alone comes the
//! [`picture`] ([`label`]), its [`verdict`], and the drawings ([`terminal`], [`svg`]).

pub mod facts;
pub mod host;
pub mod instance;
pub mod label;
pub mod picture;
pub mod ranges;
pub mod verdict;

use std::path::Path;

use anyhow::{Context, Result};
use lodger::backend::Backend;

use crate::Scene;
use crate::judge::Verdict;
use facts::Facts;
use instance::Setting;
use picture::Picture;

/// Boots an instance in this process and draws it: in the terminal, and into `out` as SVG.
pub fn run<B: Backend>(scene: &Scene, out: Option<&Path>) -> Result<Verdict> {
    let setting =
        Setting { root: &scene.root, command: &["/demo", "scene", "map"], names: &["victim", "attacker"] };
    let facts = instance::with::<B, _>(&setting, Facts::take::<B>)?;
    let picture = label::picture(&facts, scene.kind.name())?;
    if let Some(out) = out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
        save(&picture, out)?;
    }
    Ok(verdict::of(&picture))
}

fn save(picture: &Picture, out: &Path) -> Result<()> {
    let path = out.join(format!("map-{}.json", picture.backend));
    let text = serde_json::to_string_pretty(picture)?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
