//! Every applet, and how it is called.

use std::ffi::OsString;

use crate::{own, shell};

/// The arguments of an applet, argv\[0\] included.
type Words = std::vec::IntoIter<OsString>;

/// One name and what is behind it.
pub struct Applet {
    /// What argv\[0\] is called.
    pub name: &'static str,
    kind: Kind,
}

/// Whose code it is, which decides what must be set up and how it is called.
enum Kind {
    /// uutils coreutils and sed.
    Core(fn(Words) -> i32),
    /// uutils grep, with the option that its name stands for.
    Grep(Option<&'static str>),
    /// uutils findutils.
    Find,
    Xargs,
    /// This crate's own.
    Own(fn(&[OsString]) -> i32),
    Shell,
}

const fn core(name: &'static str, main: fn(Words) -> i32) -> Applet {
    Applet { name, kind: Kind::Core(main) }
}

const fn own(name: &'static str, main: fn(&[OsString]) -> i32) -> Applet {
    Applet { name, kind: Kind::Own(main) }
}

const fn other(name: &'static str, kind: Kind) -> Applet {
    Applet { name, kind }
}

/// All of them.
pub const ALL: &[Applet] = &[
    other("sh", Kind::Shell),
    other("bash", Kind::Shell),
    other("brush", Kind::Shell),
    core("sed", sed::sed::uumain),
    other("grep", Kind::Grep(None)),
    other("egrep", Kind::Grep(Some("-E"))),
    other("fgrep", Kind::Grep(Some("-F"))),
    other("find", Kind::Find),
    other("xargs", Kind::Xargs),
    own("clear", own::terminal::clear),
    own("dmesg", own::kernel::dmesg),
    own("free", own::memory::free),
    own("halt", own::kernel::halt),
    own("hostname", own::kernel::hostname),
    own("mount", own::mount::mount),
    own("poweroff", own::kernel::poweroff),
    own("ps", own::ps::ps),
    own("reboot", own::kernel::reboot),
    own("reset", own::terminal::reset),
    own("umount", own::mount::umount),
    own("uptime", own::kernel::uptime),
    own("which", own::which::which),
    core("[", uu_test::uumain),
    core("arch", uu_arch::uumain),
    core("base32", uu_base32::uumain),
    core("base64", uu_base64::uumain),
    core("basename", uu_basename::uumain),
    core("cat", uu_cat::uumain),
    core("chgrp", uu_chgrp::uumain),
    core("chmod", uu_chmod::uumain),
    core("chown", uu_chown::uumain),
    core("chroot", uu_chroot::uumain),
    core("cksum", uu_cksum::uumain),
    core("comm", uu_comm::uumain),
    core("cp", uu_cp::uumain),
    core("csplit", uu_csplit::uumain),
    core("cut", uu_cut::uumain),
    core("date", uu_date::uumain),
    core("dd", uu_dd::uumain),
    core("df", uu_df::uumain),
    core("dirname", uu_dirname::uumain),
    core("du", uu_du::uumain),
    core("echo", uu_echo::uumain),
    core("env", uu_env::uumain),
    core("expand", uu_expand::uumain),
    core("expr", uu_expr::uumain),
    core("factor", uu_factor::uumain),
    core("false", uu_false::uumain),
    core("fmt", uu_fmt::uumain),
    core("fold", uu_fold::uumain),
    core("groups", uu_groups::uumain),
    core("head", uu_head::uumain),
    core("hostid", uu_hostid::uumain),
    core("id", uu_id::uumain),
    core("install", uu_install::uumain),
    core("join", uu_join::uumain),
    core("kill", uu_kill::uumain),
    core("link", uu_link::uumain),
    core("ln", uu_ln::uumain),
    core("logname", uu_logname::uumain),
    core("ls", uu_ls::uumain),
    core("md5sum", uu_md5sum::uumain),
    core("mkdir", uu_mkdir::uumain),
    core("mkfifo", uu_mkfifo::uumain),
    core("mknod", uu_mknod::uumain),
    core("mktemp", uu_mktemp::uumain),
    core("more", uu_more::uumain),
    core("mv", uu_mv::uumain),
    core("nice", uu_nice::uumain),
    core("nl", uu_nl::uumain),
    core("nohup", uu_nohup::uumain),
    core("nproc", uu_nproc::uumain),
    core("numfmt", uu_numfmt::uumain),
    core("od", uu_od::uumain),
    core("paste", uu_paste::uumain),
    core("pathchk", uu_pathchk::uumain),
    core("pr", uu_pr::uumain),
    core("printenv", uu_printenv::uumain),
    core("printf", uu_printf::uumain),
    core("pwd", uu_pwd::uumain),
    core("readlink", uu_readlink::uumain),
    core("realpath", uu_realpath::uumain),
    core("rm", uu_rm::uumain),
    core("rmdir", uu_rmdir::uumain),
    core("seq", uu_seq::uumain),
    core("sha1sum", uu_sha1sum::uumain),
    core("sha256sum", uu_sha256sum::uumain),
    core("sha512sum", uu_sha512sum::uumain),
    core("shuf", uu_shuf::uumain),
    core("sleep", uu_sleep::uumain),
    core("sort", uu_sort::uumain),
    core("split", uu_split::uumain),
    core("stat", uu_stat::uumain),
    core("stty", uu_stty::uumain),
    core("sum", uu_sum::uumain),
    core("sync", uu_sync::uumain),
    core("tac", uu_tac::uumain),
    core("tail", uu_tail::uumain),
    core("tee", uu_tee::uumain),
    core("test", uu_test::uumain),
    core("timeout", uu_timeout::uumain),
    core("touch", uu_touch::uumain),
    core("tr", uu_tr::uumain),
    core("true", uu_true::uumain),
    core("truncate", uu_truncate::uumain),
    core("tsort", uu_tsort::uumain),
    core("tty", uu_tty::uumain),
    core("uname", uu_uname::uumain),
    core("unexpand", uu_unexpand::uumain),
    core("uniq", uu_uniq::uumain),
    core("unlink", uu_unlink::uumain),
    core("wc", uu_wc::uumain),
    core("whoami", uu_whoami::uumain),
    core("yes", uu_yes::uumain),
];

/// Finds an applet by its name.
pub fn find(name: &str) -> Option<&'static Applet> {
    ALL.iter().find(|applet| applet.name == name)
}

impl Applet {
    /// Runs it with this argv and returns its exit status.
    pub fn run(&self, words: Vec<OsString>) -> i32 {
        match self.kind {
            Kind::Core(main) => {
                let name = if self.name == "[" { "test" } else { self.name };
                set_up(uucore::locale::setup_localization(name));
                main(words.into_iter())
            }
            Kind::Grep(option) => {
                let mut words = words;
                if let Some(option) = option {
                    words.insert(1, option.into());
                }
                set_up(uucore_of_grep::locale::setup_localization("grep"));
                uu_grep::uumain(words.into_iter())
            }
            Kind::Find => with_text(self.name, words, |words| {
                findutils::find::find_main(words, &findutils::find::StandardDependencies::new())
            }),
            Kind::Xargs => with_text(self.name, words, findutils::xargs::xargs_main),
            Kind::Own(main) => main(words.get(1..).unwrap_or_default()),
            Kind::Shell => shell::main(words),
        }
    }
}

/// Without its messages an applet prints their keys: ugly, and no reason not to run.
fn set_up<E: std::fmt::Display>(done: Result<(), E>) {
    if let Err(error) = done {
        eprintln!("userland: messages: {error}");
    }
}

/// findutils takes text only.
fn with_text(name: &str, words: Vec<OsString>, main: impl FnOnce(&[&str]) -> i32) -> i32 {
    let words: Result<Vec<String>, OsString> = words.into_iter().map(OsString::into_string).collect();
    match words {
        Ok(words) => main(&words.iter().map(String::as_str).collect::<Vec<_>>()),
        Err(word) => {
            eprintln!("{name}: not UTF-8: {}", word.to_string_lossy());
            1
        }
    }
}
