//! Directories of the host in a guest (`--share`, `--root DIR`, `--root-rw`): what is shared works, and nothing else is reached.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use lodger_tests::backend::{self, Backend, PROTECTED};
use lodger_tests::roots;
use lodger_tests::run::{LIMIT, Ran, Running, first_line, in_the_end, lodger, run};
use lodger_tests::user::Installed;
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Uid, chown, mkfifo};
use tempfile::TempDir;

fn main() -> ExitCode {
    backend::run("shares", |trials| {
        trials.once("tt_gets_nothing_to_write", tt_gets_nothing_to_write);
        trials.once("wrong_words", wrong_words);
        trials.each("nothing_outside_is_reached", |on| nothing_outside_is_reached(on, None));
        trials.each("nothing_outside_is_reached_by_a_user", |on| {
            nothing_outside_is_reached(on, Some((&Installed::new()?, 65534)))
        });
        trials.each("read_only_is_read_only", read_only_is_read_only);
        trials.each("a_root_stays_as_it_is", a_root_stays_as_it_is);
        trials.on(&PROTECTED, "both_sides_see_what_the_other_does", both_sides_see_what_the_other_does);
        trials.on(&PROTECTED, "what_is_done_here_hides_nothing", what_is_done_here_hides_nothing);
        let name = "what_the_host_cannot_keep_is_kept_beside";
        trials.on(&PROTECTED, name, what_the_host_cannot_keep_is_kept_beside);
        trials.each("a_directory_that_vanishes", a_directory_that_vanishes);
    })
}

/// A directory that everybody may enter.
fn open_dir() -> Result<TempDir> {
    let dir = tempfile::tempdir()?;
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
    Ok(dir)
}

fn share(host: &Path, guest: &str) -> String {
    format!("{}:{guest}", host.display())
}

/// Runs a script of the default userland with a share, at most so long; as another user of the host, if one is given.
fn script(
    on: Backend,
    user: Option<(&Installed, u32)>,
    share: &str,
    text: &str,
    limit: Duration,
) -> Result<Ran> {
    let words = [&on.run()[..], &["--share", share, "--", "sh", "-c", text]].concat();
    match user {
        None => start(&words)?.wait(limit),
        Some((installed, uid)) => Running::start(installed.lodger(&words, uid), Vec::new())?.wait(limit),
    }
}

fn start(words: &[&str]) -> Result<Running> {
    Running::start(lodger(words)?, Vec::new())
}

/// How long the race of [`nothing_outside_is_reached`] may take: it starts hundreds of processes, on a machine that may be busy.
const RACE_LIMIT: Duration = LIMIT.saturating_mul(4);

/// What must not come out.
const SECRET: &str = "the secret outside";

/// A directory with a secret, and a share in it that is full of ways out.
fn trap(uid: u32) -> Result<(TempDir, PathBuf)> {
    let outer = open_dir()?;
    let inner = outer.path().join("share");
    fs::create_dir(&inner)?;
    fs::write(outer.path().join("secret"), SECRET)?;
    fs::set_permissions(outer.path().join("secret"), fs::Permissions::from_mode(0o666))?;
    symlink(outer.path().join("secret"), inner.join("absolute"))?;
    symlink("../secret", inner.join("relative"))?;
    symlink("d/../../secret", inner.join("through"))?;
    symlink(outer.path(), inner.join("outer"))?;
    symlink("/proc/self/root", inner.join("magic"))?;
    fs::create_dir(inner.join("d"))?;
    fs::write(inner.join("d/secret"), "inside")?;
    mkfifo(&inner.join("fifo"), Mode::S_IRWXU)?;
    if Uid::effective().is_root() {
        mknod(&inner.join("mem"), SFlag::S_IFCHR, Mode::S_IRWXU | Mode::S_IRWXO, makedev(1, 1))?;
        mknod(&inner.join("tty"), SFlag::S_IFCHR, Mode::S_IRWXU | Mode::S_IRWXO, makedev(5, 0))?;
        for name in ["", "d", "d/secret", "fifo"] {
            chown(&inner.join(name), Some(uid.into()), Some(uid.into()))?;
        }
    }
    Ok((outer, inner))
}

fn nothing_outside_is_reached(on: Backend, user: Option<(&Installed, u32)>) -> Result<()> {
    let (outer, inner) = trap(user.map_or(0, |(_, uid)| uid))?;
    let mut words = share(&inner, "/mnt");
    if on == Backend::Tt {
        words += ":ro";
    }
    let way = outer.path().display();
    let text = format!(
        "for f in absolute relative through outer/secret magic{way}/secret ../secret ../..{way}/secret d/../../secret; do
           cat /mnt/$f; echo overwritten > /mnt/$f; done
         ln /mnt/absolute /mnt/hard && cat /mnt/hard
         mv /mnt/relative /mnt/d/../../x; cat /x
         timeout 1 cat /mnt/fifo
         dd if=/mnt/mem bs=1 count=1; cat < /mnt/tty
         mount -t hostfs {way} /root && cat /root/secret
         mount -t hostfs share /root && cat /root/secret
         n=0; while [ $n -lt 100 ]; do n=$((n + 1)); cat /mnt/d/secret; echo race > /mnt/d/secret; done
         until cat /mnt/d/secret; do :; done"
    );
    // The other side swaps the directory for a link to the one outside, and back, as long as the guest runs: it has read what is
    // inside in the end, however the two fare with their turns.
    let done = AtomicBool::new(false);
    let mut swaps = 0;
    let fifo = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(inner.join("fifo"))?;
    (&fifo).write_all(SECRET.as_bytes())?;
    let (dir, aside) = (inner.join("d"), inner.join("aside"));
    let ran = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if fs::rename(&dir, &aside).is_ok() {
                    let _ = symlink(outer.path(), &dir);
                    std::thread::sleep(Duration::from_micros(300));
                    let _ = fs::remove_file(&dir);
                    let _ = fs::rename(&aside, &dir);
                    swaps += 1;
                }
                std::thread::sleep(Duration::from_micros(300));
            }
        });
        let ran = script(on, user, &words, &text, RACE_LIMIT);
        done.store(true, Ordering::Relaxed);
        ran
    })?
    .expect(0)?;
    ensure!(!ran.text().contains(SECRET), "read: {}", ran.text());
    let inside = ["inside", "race"].iter().any(|text| ran.text().contains(text));
    let err: String = ran.err.chars().take(1000).collect();
    ensure!(inside, "nothing at all was read: {err}");
    ensure!(swaps > 0, "there was no race");
    ensure!(fs::read_to_string(outer.path().join("secret"))? == SECRET, "written");
    let names = fs::read_dir(outer.path())?.count();
    ensure!(names == 2, "something was made outside");
    ensure!(ran.err.contains("No such device"), "hostfs can be mounted: {err}");
    Ok(())
}

fn read_only_is_read_only(on: Backend) -> Result<()> {
    let dir = open_dir()?;
    fs::write(dir.path().join("f"), "before")?;
    let text = "cat /a/b/f; for c in 'echo x > /a/b/f' 'rm /a/b/f' 'mkdir /a/b/d' 'chmod 777 /a/b/f' 'mv /a/b/f /a/b/g' \
                'ln /a/b/f /a/b/g' 'ln -s x /a/b/g' 'touch /a/b/f' 'mount -o remount,rw /a/b && echo x > /a/b/f'; do
                sh -c \"$c\" && echo DONE; done; true";
    let words = share(dir.path(), "/a/b") + ":ro";
    let ran = script(on, None, &words, text, LIMIT)?.expect(0)?;
    ensure!(ran.text() == "before", "{}", ran.text());
    ensure!(fs::read_to_string(dir.path().join("f"))? == "before");
    ensure!(fs::read_dir(dir.path())?.count() == 1);
    Ok(())
}

fn a_root_stays_as_it_is(on: Backend) -> Result<()> {
    let root = roots::abi()?;
    let path = root.path().to_string_lossy().into_owned();
    let look = || -> Result<Vec<_>> {
        let mut names: Vec<_> =
            fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
        names.sort();
        Ok(names)
    };
    let before = look()?;
    let case = ["--", "/abi", "--all", "file::"];
    run(&[&on.run()[..], &["--root", &path], &case].concat())?.expect(0)?;
    ensure!(look()? == before, "the directory was changed");
    if on != Backend::Tt {
        let words =
            [&on.run()[..], &["--root", &path, "--root-rw", "--init", "/abi", "--", "show", "ids"]].concat();
        run(&words)?;
        // Only what asks for changes makes some: the kernel needs nothing but /dev, which is there.
        ensure!(look()? == before, "the directory was changed by a boot");
    }
    Ok(())
}

/// Waits for the guest to make the file `ready`.
fn until_ready(dir: &Path) -> Result<()> {
    in_the_end(LIMIT, || {
        ensure!(dir.join("ready").exists(), "the guest was never ready");
        Ok(())
    })
}

fn both_sides_see_what_the_other_does(on: Backend) -> Result<()> {
    let dir = open_dir()?;
    let file = |name: &str| dir.path().join(name);
    fs::write(file("log"), "one\n")?;
    let text = "cat /mnt/log; cat /mnt/new; mkdir /mnt/d; echo from the guest > /mnt/d/f; touch /mnt/ready
                while [ ! -e /mnt/go ]; do sleep 0.05; done
                sleep 0.2; cat /mnt/log; cat /mnt/new; ls /mnt/d; mv /mnt/d/f /mnt/moved; rmdir /mnt/d";
    let shared = share(dir.path(), "/mnt");
    let words = [&on.run()[..], &["--share", &shared, "--", "sh", "-c", text]].concat();
    let running = start(&words)?;
    until_ready(dir.path())?;
    let said = fs::read_to_string(file("d/f"))?;
    OpenOptions::new().append(true).open(file("log"))?.write_all(b"two\n")?;
    fs::write(file("new"), "new\n")?;
    fs::write(file("go"), "")?;
    let ran = running.wait(LIMIT)?.expect(0)?;
    ensure!(said == "from the guest\n", "{said}");
    ensure!(ran.text() == "one\none\ntwo\nnew\nf\n", "{}", ran.text());
    ensure!(file("moved").exists() && !file("d").exists());
    Ok(())
}

/// What a guest does to a file changes its times too; what the host does next is seen all the same.
fn what_is_done_here_hides_nothing(on: Backend) -> Result<()> {
    let dir = open_dir()?;
    let file = |name: &str| dir.path().join(name);
    for name in ["mode", "times", "names"] {
        fs::write(file(name), "one\n")?;
    }
    let text =
        "cd /mnt; cat mode times names; ls new; chmod 600 mode; touch times; ln names other; echo > ready
                while [ ! -e go ]; do sleep 0.05; done
                sleep 0.2; cat mode times names; stat -c '%s %h' mode names; cat new";
    let shared = share(dir.path(), "/mnt");
    let words = [&on.run()[..], &["--share", &shared, "--", "sh", "-c", text]].concat();
    let running = start(&words)?;
    until_ready(dir.path())?;
    for name in ["mode", "times", "names"] {
        OpenOptions::new().append(true).open(file(name))?.write_all(b"two\n")?;
    }
    fs::write(file("new"), "new\n")?;
    fs::write(file("go"), "")?;
    let ran = running.wait(LIMIT)?.expect(0)?;
    let wanted = ["one\n".repeat(3), "one\ntwo\n".repeat(3), "8 1\n8 2\nnew\n".into()].concat();
    ensure!(ran.text() == wanted, "{}", ran.text());
    Ok(())
}

fn what_the_host_cannot_keep_is_kept_beside(on: Backend) -> Result<()> {
    let installed = Installed::new()?;
    let dir = open_dir()?;
    chown(dir.path(), Some(65534.into()), Some(65534.into()))?;
    let text = "cd /mnt; echo x > f; chown 5:6 f; chmod 4750 f; mkdir d; chmod 0 d; mkfifo p; ln -s x l
                stat -c '%n %a %u %g %F' . f d p l; echo through > p & cat p";
    let ran = script(on, Some((&installed, 65534)), &share(dir.path(), "/mnt"), text, LIMIT)?.expect(0)?;
    let lines = [". 755 0 0 directory", "f 4750 5 6 regular file", "d 0 0 0 directory", "p 644 0 0 fifo"];
    for line in lines.into_iter().chain(["l 777 0 0 symbolic link", "through"]) {
        ensure!(ran.text().lines().any(|found| found == line), "no `{line}` in {}", ran.text());
    }
    for entry in fs::read_dir(dir.path())? {
        let mode = entry?.path().symlink_metadata()?.permissions().mode();
        ensure!(mode & 0o6000 == 0, "a set-id bit on the host: {mode:o}");
    }
    Ok(())
}

fn a_directory_that_vanishes(on: Backend) -> Result<()> {
    let dir = open_dir()?;
    let gone = dir.path().join("gone");
    fs::create_dir(&gone)?;
    fs::write(gone.join("f"), "x\n")?;
    let out = dir.path().join("out");
    let text = "cat /mnt/f; while [ -e /mnt/f ]; do sleep 0.05; done; ls /mnt; cat /mnt/f; echo x > /mnt/g; mkdir /mnt/d
                echo still here";
    let words = share(&gone, "/mnt") + if on == Backend::Tt { ":ro" } else { "" };
    let words = [&on.run()[..], &["--share", &words, "--", "sh", "-c", text]].concat();
    let mut command = lodger(&words)?;
    command.stdout(File::create(&out)?);
    let running = Running::start(command, Vec::new())?;
    first_line(&out)?;
    fs::remove_dir_all(&gone)?;
    let ran = running.wait(LIMIT)?.expect(0)?;
    let text = fs::read_to_string(&out)?;
    ensure!(text.ends_with("still here\n"), "{text} {}", ran.err);
    Ok(())
}

fn tt_gets_nothing_to_write() -> Result<()> {
    run(&["run", "--backend", "tt", "--share", "/tmp:/mnt", "--", "true"])?.refused(":ro")?;
    run(&["run", "--backend", "tt", "--root", "/tmp", "--root-rw", "--", "true"])?.refused("--root-rw")
}

fn wrong_words() -> Result<()> {
    for (words, why) in [("/tmp", "HOST:GUEST"), ("/nowhere:/mnt", "/nowhere"), ("/tmp:mnt", "absolute")] {
        run(&["run", "--share", words, "--", "true"])?.refused(why)?;
    }
    run(&["run", "--share", "/tmp:/bin/sh", "--", "true"])?.refused("/bin/sh")?;
    // Changes to an archive cannot stay.
    run(&["run", "--root-rw", "--", "true"])?.refused("--root-rw")
}
