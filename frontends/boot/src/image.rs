//! `lodger image`: makes, describes and merges disk images.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Subcommand;
use host_linux::disk::image::{self, Info};
use host_linux::disk::{Format, Options};
use kernel_core::block::{is_ext, partitions};
use kernel_core::host::block::BlockDevice;
use serde_json::{Value, json};

use crate::memory;

/// What `lodger image` can do.
#[derive(Debug, Subcommand)]
pub enum Image {
    /// Make an empty raw image, or a COW file over another image
    Create {
        /// The new file
        file: PathBuf,
        /// Size of a raw image: bytes, or with K, M, G or T behind the number; it takes no room until it is written
        #[arg(long, value_name = "SIZE", value_parser = memory::bytes, required_unless_present = "backing")]
        size: Option<u64>,
        /// Make a COW file of User-mode Linux over this image, which must not change from then on
        #[arg(long, value_name = "IMAGE", conflicts_with = "size")]
        backing: Option<PathBuf>,
    },
    /// Say what an image is: format, backing file, what was changed, partitions, file systems
    Inspect {
        /// The image
        file: PathBuf,
        /// Print it as JSON
        #[arg(long)]
        json: bool,
    },
    /// Write what a COW file has changed into its backing file and remove it, or all of the disk to a new raw image
    Merge {
        /// The COW file
        file: PathBuf,
        /// Leave both as they are, and make this raw image
        #[arg(long, value_name = "NEW")]
        into: Option<PathBuf>,
        /// Go on with a merge that was interrupted: the backing file was changed by it
        #[arg(long, conflicts_with = "into")]
        again: bool,
    },
}

/// Does it; what it prints goes to standard output.
pub fn run(command: &Image) -> Result<String> {
    match command {
        Image::Create { file, backing: Some(backing), .. } => image::create_cow(file, backing)?,
        Image::Create { file, size, .. } => image::create_raw(file, size.unwrap_or_default())?,
        Image::Inspect { file, json } => {
            let found = Found::look(file)?;
            return Ok(if *json { format!("{:#}\n", found.json(file)) } else { found.text() });
        }
        Image::Merge { file, into: Some(new), .. } => image::merge_to(file, new)?,
        Image::Merge { file, again, .. } => {
            let changed = image::merge_in_place(file, *again)?;
            return Ok(format!("{} merged, {} removed\n", memory::show(changed), file.display()));
        }
    }
    Ok(String::new())
}

/// What is in an image.
struct Found {
    info: Info,
    /// What a disk without partitions holds.
    content: Option<&'static str>,
    partitions: Vec<Part>,
}

struct Part {
    number: u32,
    start: u64,
    size: u64,
    content: Option<&'static str>,
}

impl Found {
    fn look(file: &Path) -> Result<Found> {
        let info = image::inspect(file)?;
        if let Format::Foreign(name) = info.format {
            bail!("{} is a {name} image, which lodger does not know", file.display());
        }
        let usable = info.cow.as_ref().is_none_or(|cow| cow.problem.is_none());
        let options = Options { read_only: true, shared: true, ..Options::default() };
        let disk = if usable { Some(host_linux::disk::open(file, None, options)?) } else { None };
        let Some(disk) = disk else { return Ok(Found { info, content: None, partitions: Vec::new() }) };
        let part = |part: &partitions::Partition| Part {
            number: part.number,
            start: part.range.start,
            size: part.range.end - part.range.start,
            content: content(&*disk, part.range.start),
        };
        let partitions = partitions::find(&*disk).iter().map(part).collect();
        Ok(Found { info, content: content(&*disk, 0), partitions })
    }

    fn format(&self) -> &'static str {
        if self.info.format == Format::Cow { "cow" } else { "raw" }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let info = &self.info;
        // Writing to a string cannot fail.
        let _ = writeln!(text, "format      {}", self.format());
        let _ = writeln!(text, "size        {}", memory::show(info.size));
        let _ = writeln!(text, "on the host {}", memory::show(info.allocated));
        if let Some(cow) = &info.cow {
            let _ = writeln!(text, "version     {}", cow.version);
            let _ = writeln!(text, "backing     {}", cow.backing.display());
            let _ = writeln!(text, "changed     {}", memory::show(cow.changed));
            if let Some(problem) = &cow.problem {
                let _ = writeln!(text, "problem     {problem}");
            }
        }
        if let Some(content) = self.content {
            let _ = writeln!(text, "content     {content}");
        }
        for part in &self.partitions {
            let (start, size) = (memory::show(part.start), memory::show(part.size));
            let _ = writeln!(
                text,
                "partition {} at {start}, {size}, {}",
                part.number,
                part.content.unwrap_or("unknown")
            );
        }
        text
    }

    fn json(&self, file: &Path) -> Value {
        let info = &self.info;
        let cow = info.cow.as_ref().map(|cow| {
            json!({
                "version": cow.version,
                "backing": cow.backing.to_string_lossy(),
                "changed": cow.changed,
                "problem": cow.problem,
            })
        });
        let part = |part: &Part| json!({"number": part.number, "start": part.start, "size": part.size, "content": part.content});
        json!({
            "schema": "lodger-image-1",
            "file": file.to_string_lossy(),
            "format": self.format(),
            "size": info.size,
            "allocated": info.allocated,
            "cow": cow,
            "content": self.content,
            "partitions": self.partitions.iter().map(part).collect::<Vec<_>>(),
        })
    }
}

/// Which file system begins at `start`, by its magic numbers.
pub fn content(disk: &dyn BlockDevice, start: u64) -> Option<&'static str> {
    let mut head = vec![0; 0x1000];
    let mut later = vec![0; 0x200];
    disk.read(start, &mut head).ok()?;
    let at = |offset: usize, magic: &[u8]| head.get(offset..offset + magic.len()) == Some(magic);
    if is_ext(&head) {
        let feature = |offset: usize, bit: u8| head[offset] & bit != 0;
        // A journal makes it ext3; extents, 64 bits or flexible groups ext4.
        return Some(
            match (feature(0x45c, 4), feature(0x460, 0x40) || feature(0x460, 0x80) || feature(0x461, 2)) {
                (_, true) => "ext4",
                (true, false) => "ext3",
                (false, false) => "ext2",
            },
        );
    }
    let near = [
        (0, &b"hsqs"[..], "squashfs"),
        (0, b"XFSB", "xfs"),
        (0x36, b"FAT1", "vfat"),
        (0x52, b"FAT32", "vfat"),
        (3, b"NTFS", "ntfs"),
        (0x400, &[0x10, 0x20, 0xf5, 0xf2], "f2fs"),
        (0xff6, b"SWAPSPACE2", "swap"),
        (0, b"LUKS\xba\xbe", "luks"),
    ];
    if let Some((.., name)) = near.iter().find(|(offset, magic, _)| at(*offset, magic)) {
        return Some(name);
    }
    let mut far = |offset: u64, magic: &[u8]| {
        disk.read(start + offset, &mut later).is_ok() && later.windows(magic.len()).any(|part| part == magic)
    };
    if far(0x10000, b"_BHRfS_M") {
        return Some("btrfs");
    }
    far(0x8000, b"CD001").then_some("iso9660")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(words: &[&str]) -> Result<String> {
        use clap::Parser;
        #[derive(Parser)]
        struct Only {
            #[command(subcommand)]
            image: Image,
        }
        run(&Only::try_parse_from([&["image"], words].concat())?.image)
    }

    #[test]
    fn images_are_made_described_and_merged() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let (raw, cow, new) = (path("raw"), path("cow"), path("new"));
        image(&["create", &raw, "--size", "1M"]).unwrap();
        assert!(image(&["create", &raw, "--size", "1M"]).unwrap_err().to_string().contains("there already"));
        assert!(image(&["create", &path("x")]).is_err());
        image(&["create", &cow, "--backing", &raw]).unwrap();
        let found: Value = serde_json::from_str(&image(&["inspect", &cow, "--json"]).unwrap()).unwrap();
        assert_eq!((&found["schema"], &found["format"]), (&json!("lodger-image-1"), &json!("cow")));
        assert_eq!((&found["size"], &found["cow"]["backing"]), (&json!(1 << 20), &json!(raw)));
        let disk = host_linux::disk::open(Path::new(&cow), None, Options::default()).unwrap();
        let mut sector = [0; 512];
        sector[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
        disk.write(1024, &sector).unwrap();
        drop(disk);
        let text = image(&["inspect", &cow]).unwrap();
        assert!(text.contains("changed     512\n") && text.contains("content     ext2\n"), "{text}");
        image(&["merge", &cow, "--into", &new]).unwrap();
        assert!(image(&["merge", &cow]).unwrap().starts_with("512 merged"));
        assert_eq!(std::fs::read(&raw).unwrap(), std::fs::read(&new).unwrap());
        assert!(image(&["inspect", &cow]).is_err());
    }
}
