//! Disks: images and COW files through the real command line, as a guest and the host see them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use lodger_tests::backend::{self, Backend};
use lodger_tests::run::{LIMIT, Ran, Running, first_line, lodger, run, words};
use lodger_tests::user::Installed;
use lodger_tests::{Missing, roots, userland};
use nix::unistd::chown;
use tempfile::TempDir;

type Test = fn(Backend) -> Result<()>;

fn main() -> ExitCode {
    let each: &[(&str, Test)] = &[
        ("an_image_is_a_disk", an_image_is_a_disk),
        ("partitions_have_nodes", partitions_have_nodes),
        ("a_cow_file_keeps_changes", a_cow_file_keeps_changes),
        ("read_only_disks_are_not_written", read_only_disks_are_not_written),
        ("an_image_is_used_once", an_image_is_used_once),
        ("an_ext4_is_mounted", an_ext4_is_mounted),
        ("an_ext4_is_the_root", an_ext4_is_the_root),
        ("changes_to_a_directory_are_kept", |on| changes_are_kept(on, Made::Directory, None)),
        ("changes_to_an_archive_are_kept", |on| changes_are_kept(on, Made::Archive, None)),
        ("changes_to_an_image_are_kept", |on| changes_are_kept(on, Made::Image, None)),
        ("changes_of_a_user_are_kept", |on| {
            let installed = Installed::new()?;
            changes_are_kept(on, Made::Directory, Some(&installed))?;
            changes_are_kept(on, Made::Image, Some(&installed))
        }),
        ("a_disk_is_of_one_root_and_one_guest", a_disk_is_of_one_root_and_one_guest),
    ];
    backend::run("disks", |trials| {
        trials.once("images_that_are_none", images_that_are_none);
        each.iter().for_each(|(name, body)| trials.each(name, *body));
    })
}

/// Runs a script in a guest with these disks.
fn sh(on: Backend, disks: &[String], script: &str) -> Result<Ran> {
    userland()?;
    let flags: Vec<&str> = disks.iter().flat_map(|disk| ["--ubd", disk]).collect();
    run(&[&on.run()[..], &flags, &["--", "sh", "-c", script]].concat())
}

/// An image of `sectors` sectors, each of which is full of the last digit of its number.
fn image(dir: &TempDir, name: &str, sectors: usize) -> Result<PathBuf> {
    let bytes: Vec<u8> = (0..sectors).flat_map(|number| [b'0' + (number % 10) as u8; 512]).collect();
    let path = dir.path().join(name);
    fs::write(&path, bytes)?;
    Ok(path)
}

fn sector(path: &Path, number: usize) -> Result<u8> {
    fs::read(path)?.get(number * 512).copied().context("the image is too short")
}

fn an_image_is_a_disk(on: Backend) -> Result<()> {
    let dir = TempDir::new()?;
    let path = image(&dir, "a", 100)?;
    let script = "set -e
        dd if=/dev/ubda bs=1 skip=1535 count=3 2>/dev/null; echo
        printf XY | dd of=/dev/ubda bs=1 seek=1023 conv=notrunc 2>/dev/null
        dd if=/dev/ubda bs=1k count=200 2>/dev/null | wc -c
        cat /proc/partitions /sys/block/ubda/size /sys/block/ubda/ro /sys/dev/block/98:0/dev
        stat -c '%F %t:%T %a' /dev/ubda
        echo more | dd of=/dev/ubda bs=512 seek=100 2>/dev/null || echo full";
    let ran = sh(on, &[format!("0={}", path.display())], script)?.expect(0)?;
    let want = "233\n51200\nmajor minor  #blocks  name\n\n  98        0         50 ubda\n100\n0\n98:0\n\
                block special file 62:0 660\nfull\n";
    ensure!(ran.text() == want, "{}", ran.text());
    let bytes = fs::read(&path)?;
    ensure!(bytes.len() == 51200 && &bytes[1022..1026] == b"1XY2", "what was written is in the image");
    Ok(())
}

fn partitions_have_nodes(on: Backend) -> Result<()> {
    let dir = TempDir::new()?;
    let path = image(&dir, "a", 100)?;
    let mut bytes = fs::read(&path)?;
    bytes[..512].fill(0);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    bytes[446 + 4] = 0x83;
    bytes[446 + 8..446 + 16].copy_from_slice(&[7, 0, 0, 0, 20, 0, 0, 0]);
    fs::write(&path, bytes)?;
    let script = "set -e
        ls /dev/ubd* /sys/block/ubdb/ubdb1/start /sys/class/block | tr '\\n' ' '; echo
        head -c 1 /dev/ubdb1; cat /dev/ubdb1 | wc -c; tail -1 /proc/partitions";
    let ran = sh(on, &[format!("b={}", path.display())], script)?.expect(0)?;
    let text = ran.text();
    let want = "/dev/ubdb /dev/ubdb1 /sys/block/ubdb/ubdb1/start";
    ensure!(text.starts_with(want) && text.contains("710240\n  98       17         10 ubdb1\n"), "{text}");
    Ok(())
}

fn a_cow_file_keeps_changes(on: Backend) -> Result<()> {
    let dir = TempDir::new()?;
    let backing = image(&dir, "b", 100)?;
    let cow = dir.path().join("c");
    let disk = [format!("0={},{}", cow.display(), backing.display())];
    sh(on, &disk, "printf X | dd of=/dev/ubda bs=1 seek=5120 conv=notrunc 2>/dev/null")?.expect(0)?;
    let ran =
        sh(on, &[format!("0={}", cow.display())], "dd if=/dev/ubda bs=1 skip=5119 count=3 2>/dev/null")?;
    ensure!(ran.expect(0)?.text() == "9X0", "the next guest sees it");
    ensure!(sector(&backing, 10)? == b'0', "the backing file stays");
    let cow_name = cow.to_str().context("a strange name")?;
    let found = run(&["image", "inspect", cow_name, "--json"])?.expect(0)?;
    let found: serde_json::Value = serde_json::from_slice(&found.out)?;
    ensure!(found["cow"]["changed"] == 512, "{found}");
    run(&["image", "merge", cow_name])?.expect(0)?;
    ensure!(sector(&backing, 10)? == b'X' && !cow.exists(), "merged");
    // A backing file that changes makes the COW file useless.
    run(&["image", "create", cow_name, "--backing", &backing.display().to_string()])?.expect(0)?;
    fs::File::options().write(true).open(&backing)?.set_modified(std::time::UNIX_EPOCH)?;
    sh(on, &disk, "true")?.refused("was changed since")
}

fn read_only_disks_are_not_written(on: Backend) -> Result<()> {
    let dir = TempDir::new()?;
    let path = image(&dir, "a", 100)?;
    let script =
        "head -c 1 /dev/ubda; cat /sys/block/ubda/ro; (echo x > /dev/ubda) 2>/dev/null || echo refused";
    let ran = sh(on, &[format!("0r={}", path.display())], script)?.expect(0)?;
    ensure!(ran.text() == "01\nrefused\n", "{}", ran.text());
    Ok(())
}

fn an_image_is_used_once(on: Backend) -> Result<()> {
    let dir = TempDir::new()?;
    let path = image(&dir, "a", 100)?;
    userland()?;
    let word = format!("ubd0={}", path.display());
    let out = dir.path().join("out");
    let mut command =
        lodger(&[&on.run()[..], &["--append", &word, "--", "sh", "-c", "echo up; sleep 100"]].concat())?;
    command.stdout(fs::File::create(&out)?);
    let first = Running::start(command, Vec::new())?;
    first_line(&out)?;
    sh(on, &[format!("0={}", path.display())], "true")?.refused("in use by another instance")?;
    first.signal(nix::sys::signal::Signal::SIGKILL)?;
    first.wait(LIMIT)?;
    sh(on, &[format!("0={}", path.display())], "true")?.expect(0).map(drop)
}

/// An ext4 image with the files of a directory.
fn ext4(dir: &TempDir, files: &Path) -> Result<PathBuf> {
    let path = dir.path().join("ext4.img");
    let made =
        Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(files).arg(&path).arg("48M").status();
    match made {
        Ok(status) => ensure!(status.success(), "mke2fs failed"),
        Err(_) => return Err(Missing("no mke2fs on this machine".into()).into()),
    }
    Ok(path)
}

/// Fails unless the file system is sound.
fn check(image: &Path) -> Result<()> {
    let checked = Command::new("e2fsck").arg("-fn").arg(image).output()?;
    ensure!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    Ok(())
}

fn an_ext4_is_mounted(on: Backend) -> Result<()> {
    let (dir, files) = (TempDir::new()?, TempDir::new()?);
    fs::write(files.path().join("hello"), "from the host\n")?;
    let image = ext4(&dir, files.path())?;
    let script = "set -e
        mkdir /m; mount -t ext4 /dev/ubda /m
        cat /m/hello; echo from the guest > /m/new; mkdir /m/d; ln /m/new /m/d/link; ln -s hello /m/soft
        cp /bin/sh /m/sh; chmod 755 /m/sh; /m/sh -c 'echo run from it'
        cat /m/soft /m/d/link; grep -c ' /m ext4 rw' /proc/mounts
        umount /m; mount -t ext4 -o ro /dev/ubda /m; cat /m/new; (echo x > /m/x) 2>/dev/null || echo refused";
    let disk = [format!("0={}", image.display())];
    let ran = sh(on, &disk, script)?.expect(0)?;
    let want = "from the host\nrun from it\nfrom the host\nfrom the guest\n1\nfrom the guest\nrefused\n";
    ensure!(ran.text() == want, "{}", ran.text());
    check(&image)?;
    // The end of a guest unmounts what is mounted.
    sh(on, &disk, "mkdir /m; mount -t ext4 /dev/ubda /m; rm /m/sh; echo last > /m/last")?.expect(0)?;
    check(&image)?;
    let ran =
        sh(on, &disk, "mkdir /m; mount -t ext4 /dev/ubda /m; cat /m/last; ls /m/sh || true")?.expect(0)?;
    ensure!(ran.text() == "last\n", "{}", ran.text());
    Ok(())
}

fn an_ext4_is_the_root(on: Backend) -> Result<()> {
    let dir = TempDir::new()?;
    let root = roots::abi()?;
    let image = ext4(&dir, root.path())?;
    let before = fs::read(&image)?;
    run(&words(on, &image, &[], &["/abi", "exit", "7"]))?.expect(7)?;
    ensure!(fs::read(&image)? == before, "the image stays as it was");
    run(&words(on, &image, &["--root-rw"], &["/abi", "exit", "8"]))?.expect(8)?;
    check(&image)?;
    let disk = format!("0={}", image.display());
    let flags = [&on.run()[..], &["--ubd", &disk, "--root", "/dev/ubda", "--", "/abi", "exit", "9"]].concat();
    run(&flags)?.expect(9)?;
    check(&image)?;
    fs::write(&image, &before[..before.len() / 2])?;
    run(&words(on, &image, &[], &["/abi", "exit", "0"]))?.refused("cannot be mounted as ext4")
}

/// What a root file system is made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    Directory,
    Archive,
    Image,
}

/// An ordinary user.
const USER: u32 = 65534;

/// `lodger` with disks in a folder of this test, maybe as another user of the host.
struct WithDisks<'a> {
    home: TempDir,
    user: Option<&'a Installed>,
}

impl<'a> WithDisks<'a> {
    fn new(user: Option<&'a Installed>) -> Result<WithDisks<'a>> {
        userland()?;
        let home = TempDir::new()?;
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755))?;
        if user.is_some() {
            chown(home.path(), Some(USER.into()), Some(USER.into()))?;
        }
        Ok(WithDisks { home, user })
    }

    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = match self.user {
            Some(installed) => installed.lodger(words, USER),
            None => lodger(words)?,
        };
        command.env("LODGER_HOME", self.home.path());
        Ok(command)
    }

    fn run(&self, words: &[&str]) -> Result<Ran> {
        Running::start(self.command(words)?, Vec::new())?.wait(LIMIT)
    }
}

fn changes_are_kept(on: Backend, made: Made, user: Option<&Installed>) -> Result<()> {
    let with = WithDisks::new(user)?;
    let files = roots::busybox()?;
    let image = if made == Made::Image { Some(ext4(&with.home, files.path())?) } else { None };
    let root = match (&image, made) {
        (Some(image), _) => image.to_str(),
        (None, Made::Archive) => Some("default"),
        _ => files.path().to_str(),
    };
    let before = image.as_ref().map(fs::read).transpose()?;
    let root = root.context("a strange name")?;
    let sh = |disk: &str, script: &str| {
        let words = [&on.run()[..], &["--root", root, "--disk", disk, "--", "sh", "-c", script]].concat();
        with.run(&words)?.expect(0)
    };
    let change = "set -e; cd /root
        echo first > new; ln -s new soft; mkdir d; mkfifo d/p; chown 5:6 d; chmod 4711 new
        rm /etc/hosts; mv /etc/passwd passwd; echo more >> /etc/group
        rm -r /tmp; mkdir -m 1777 /tmp; echo in tmp > /tmp/x
        head -c 3000000 /dev/urandom > big; md5sum big > sum";
    sh("a", change)?;
    let look =
        "cd /root; cat soft /tmp/x; stat -c '%a %u %g %F' new d d/p; ls /etc/hosts /etc/passwd 2>/dev/null
        grep -c root passwd; tail -1 /etc/group; md5sum -c sum; echo second > new; rm big; touch /etc/hosts";
    let want = "first\nin tmp\n4711 0 0 regular file\n755 5 6 directory\n644 0 0 fifo\n1\nmore\nbig: OK\n";
    let second = sh("a", look)?.text();
    ensure!(second == want, "{second}");
    let third = sh("a", "cat /root/new; ls /etc/hosts; ls /root | tr '\\n' ' '")?.text();
    ensure!(third == "second\n/etc/hosts\nd new passwd soft sum ", "{third:?}");
    // Another disk knows nothing of it.
    sh("b", "[ ! -e /root/new ] && [ -s /etc/hosts ]")?;
    ensure!(!files.path().join("root/new").exists() && files.path().join("etc/hosts").exists());
    if let (Some(image), Some(before)) = (image, before) {
        ensure!(fs::read(image)? == before, "the image stays as it was");
    } else {
        check(&with.home.path().join("disks/a/changes"))?;
    }
    let listed = with.run(&["disk", "ls", "--json"])?.expect(0)?;
    let listed: serde_json::Value = serde_json::from_slice(&listed.out)?;
    ensure!(listed["disks"][0]["name"] == "a" && listed["disks"][1]["name"] == "b", "{listed}");
    with.run(&["disk", "rm", "a", "b"])?.expect(0)?;
    ensure!(with.run(&["disk", "ls"])?.expect(0)?.text().is_empty());
    with.run(&["disk", "rm", "a"])?.refused("no disk `a`")
}

fn a_disk_is_of_one_root_and_one_guest(on: Backend) -> Result<()> {
    let with = WithDisks::new(None)?;
    let root = with.home.path().join("root.cpio");
    fs::copy(userland()?.join("default.cpio"), &root)?;
    let root_name = root.to_str().context("a strange name")?;
    let words = |root| [&on.run()[..], &["--root", root, "--disk", "d", "--", "sh", "-c"]].concat();
    let sh = |script| [&words(root_name)[..], &[script]].concat();
    let out = with.home.path().join("out");
    let mut command = with.command(&sh("echo made > /root/before; sync; echo up; sleep 100"))?;
    command.stdout(fs::File::create(&out)?);
    let first = Running::start(command, Vec::new())?;
    first_line(&out)?;
    let again = || with.run(&sh("true"));
    again()?.refused("in use by another instance")?;
    with.run(&["disk", "rm", "d"])?.refused("in use")?;
    ensure!(with.run(&["disk", "ls"])?.expect(0)?.text().contains("in use"));
    first.signal(nix::sys::signal::Signal::SIGKILL)?;
    first.wait(LIMIT)?;
    // What was synced is there, and the disk is as good as before.
    let found = with.run(&sh("cat /root/before; echo more > /root/after"))?.expect(0)?;
    ensure!(found.text() == "made\n", "{}", found.text());
    check(&with.home.path().join("disks/d/changes"))?;
    with.run(&[&words("default")[..], &["true"]].concat())?.refused("another root file system")?;
    fs::File::options().write(true).open(&root)?.set_modified(std::time::UNIX_EPOCH)?;
    again()?.refused("another than when the disk")?;
    with.run(&["disk", "rm", "d"])?.expect(0)?;
    again()?.expect(0)?;
    fs::write(with.home.path().join("disks/d/changes"), [0; 1 << 20])?;
    again()?.refused("with the disk `d`")?;
    with.run(&[&on.run()[..], &["--disk", "../d", "--", "true"]].concat())?.refused("name of a disk")?;
    with.run(&[&on.run()[..], &["--disk", "d", "--root-rw", "--", "true"]].concat())?.refused("--root-rw")
}

fn images_that_are_none() -> Result<()> {
    let dir = TempDir::new()?;
    let path = dir.path().join("x");
    let refused = |word: &str| run(&["run", "--ubd", &format!("0={}", path.display())])?.refused(word);
    refused("cannot open the disk image")?;
    fs::write(&path, b"")?;
    refused("smaller than a sector")?;
    fs::write(&path, b"QFI\xfb")?;
    refused("qcow2")?;
    fs::write(&path, b"OOOM\0\0\0\x03")?;
    refused("damaged")?;
    run(&["run", "--ubd", "0z=x"])?.refused("flag z")?;
    run(&["ubd99=x"])?.refused("at most 26")
}
