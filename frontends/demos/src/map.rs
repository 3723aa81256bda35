//! The demo `map`: who can see what, drawn from the live mappings of a running instance.
//!
//! It boots a kernel in this process ([`instance`]). While the guests sleep, it asks the kernel what they have mapped, and
//! the host what is mapped in each process that holds one of them, or the kernel ([`facts`]). From these alone comes the
//! [`picture`] ([`label`]), its [`verdict`], and the drawings ([`terminal`], [`svg`]).

pub mod canvas;
pub mod facts;
pub mod host;
pub mod instance;
pub mod label;
pub mod picture;
pub mod ranges;
pub mod svg;
pub mod terminal;
#[cfg(test)]
mod tests;
pub mod verdict;
pub mod words;

use std::path::Path;

use anyhow::{Context, Result};
use host_linux::backend::Backend;

use crate::judge::Verdict;
use crate::{Kind, Scene};
use facts::Facts;
use instance::Setting;
use picture::{Picture, SCHEMA};
use terminal::Colour;

/// What came of it.
pub struct Shown {
    /// What the picture proves.
    pub verdict: Verdict,
    /// The picture for the terminal.
    pub text: String,
}

/// Boots an instance in this process and draws it, into `out` as SVG.
pub fn run<B: Backend>(scene: &Scene, out: Option<&Path>) -> Result<Shown> {
    let setting =
        Setting { root: &scene.root, command: &["/demo", "scene", "map"], names: &["victim", "attacker"] };
    let facts = instance::with::<B, _>(&setting, Facts::take::<B>)?;
    let picture = label::picture(&facts, scene.kind.name())?;
    if let Some(out) = out {
        save(&picture, out)?;
    }
    let text = terminal::draw(&picture, Colour::of_stdout());
    Ok(Shown { verdict: verdict::of(&picture), text })
}

/// Writes `map-BACKEND.svg`, `map-BACKEND.json`, from which it was drawn, and `map.svg`, which has beside it what the last
/// run on the other backend left in the same folder.
fn save(picture: &Picture, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let write = |name: &str, text: &str| {
        let path = out.join(name);
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    };
    let file = |backend: &str, kind: &str| format!("map-{backend}.{kind}");
    write(&file(&picture.backend, "json"), &serde_json::to_string_pretty(picture)?)?;
    write(&file(&picture.backend, "svg"), &svg::draw(picture))?;
    let saved = [Kind::Tt, Kind::Skas].into_iter().filter_map(|kind| {
        let text = std::fs::read_to_string(out.join(file(kind.name(), "json"))).ok()?;
        serde_json::from_str::<Picture>(&text).ok().filter(|picture| picture.schema == SCHEMA)
    });
    let saved: Vec<Picture> = saved.collect();
    write("map.svg", &svg::draw_beside(&saved.iter().collect::<Vec<_>>()))
}
