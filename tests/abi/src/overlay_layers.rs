//! What layers of an overlay hide, and what can be mounted as one. See [`crate::overlay`].

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::cases;
use crate::overlay::*;
use crate::support::*;

pub const CASES: &[Case] = cases![
    layers_hide_each_other,
    whiteouts_that_are_files,
    marks_are_not_shown,
    read_only_without_upper,
    options_are_checked,
];

unsafe fn layers_hide_each_other() -> Done {
    in_layers(|| {
        for dir in ["l/x", "l/y", "t", "t/x", "t/z", "u/x"] {
            io(fs::create_dir(dir))?;
        }
        io(fs::write("l/x/low", "l"))?;
        io(fs::write("l/x/both", "l"))?;
        io(fs::write("t/x/both", "t"))?;
        io(fs::write("u/x/up", "u"))?;
        io(fs::write("l/f", "l"))?;
        io(fs::write("l/y/hidden", "l"))?;
        io(fs::create_dir("l/z"))?;
        io(fs::write("l/z/hidden", "l"))?;
        // In the middle: a whiteout, a file where a directory is, an opaque directory.
        ok(libc::mknod(c"t/f".as_ptr(), libc::S_IFCHR, 0))?;
        io(fs::write("t/y", "file"))?;
        let name = c"trusted.overlay.opaque";
        ok(libc::setxattr(c"t/z".as_ptr(), name.as_ptr(), c"y".as_ptr().cast(), 1, 0))?;
        ok(mount(c"overlay", c"o", "lowerdir=t:l,upperdir=u,workdir=w"))?;
        eq(names("o")?, ["x", "y", "z"])?;
        eq(names("o/x")?, ["both", "low", "up"])?;
        says("o/x/both", "t")?;
        says("o/y", "file")?;
        check(names("o/z")?.is_empty(), "an opaque directory hides what is below")
    })
}

unsafe fn whiteouts_that_are_files() -> Done {
    in_layers(|| {
        for dir in ["l/d", "t", "t/d", "t/e", "l/e"] {
            io(fs::create_dir(dir))?;
        }
        for file in ["l/d/f", "l/d/g", "t/d/f", "l/e/f", "t/e/f"] {
            io(fs::write(file, ""))?;
        }
        let set = |path: &std::ffi::CStr, name: &std::ffi::CStr, value: &std::ffi::CStr| {
            let len = value.to_bytes().len();
            ok(libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), len, 0)).map(drop)
        };
        set(c"t", c"trusted.overlay.opaque", c"x")?;
        set(c"t/d", c"trusted.overlay.opaque", c"x")?;
        set(c"t/d/f", c"trusted.overlay.whiteout", c"y")?;
        // In a directory that does not say that it has such, it is a file.
        set(c"t/e/f", c"trusted.overlay.whiteout", c"y")?;
        ok(mount(c"overlay", c"o", "lowerdir=t:l,upperdir=u,workdir=w"))?;
        eq(names("o/d")?, ["g"])?;
        gone("o/d/f")?;
        eq(names("o/e")?, ["f"])
    })
}

unsafe fn marks_are_not_shown() -> Done {
    mounted(|| {
        fails(libc::mknod(c"o/w".as_ptr(), libc::S_IFCHR, 0), libc::EPERM)?;
        io(fs::remove_dir_all("o/d"))?;
        io(fs::create_dir("o/d"))?;
        let name = c"trusted.overlay.opaque";
        eq(xattr("o/d", name), None)?;
        let mut list = [0u8; 256];
        eq(libc::listxattr(c"o/d".as_ptr(), list.as_mut_ptr().cast(), list.len()), 0)
    })
}

unsafe fn read_only_without_upper() -> Done {
    in_layers(|| {
        io(fs::write("l/f", "lower"))?;
        io(fs::write("u/g", "upper"))?;
        ok(mount(c"overlay", c"o", "lowerdir=u:l"))?;
        eq(names("o")?, ["f", "g"])?;
        says("o/f", "lower")?;
        error_of(fs::write("o/f", "x"), libc::EROFS)?;
        error_of(fs::write("o/new", "x"), libc::EROFS)?;
        error_of(fs::remove_file("o/f"), libc::EROFS)?;
        error_of(fs::create_dir("o/d"), libc::EROFS)?;
        error_of(fs::rename("o/f", "o/g"), libc::EROFS)?;
        error_of(fs::set_permissions("o/f", fs::Permissions::from_mode(0o600)), libc::EROFS)
    })
}

unsafe fn options_are_checked() -> Done {
    in_layers(|| {
        io(fs::write("file", ""))?;
        io(fs::create_dir("w/inner"))?;
        for (options, want) in [
            ("", libc::EINVAL),
            ("lowerdir=l", libc::EINVAL),
            ("lowerdir=l,upperdir=u", libc::EINVAL),
            ("upperdir=u,workdir=w", libc::EINVAL),
            ("lowerdir=none,upperdir=u,workdir=w", libc::ENOENT),
            ("lowerdir=l,upperdir=none,workdir=w", libc::ENOENT),
            ("lowerdir=l,upperdir=u,workdir=u", libc::EINVAL),
            ("lowerdir=l,upperdir=w,workdir=w/inner", libc::EINVAL),
            ("lowerdir=l,upperdir=u,workdir=w,nonsense", libc::EINVAL),
            ("lowerdir=l,upperdir=u,workdir=w,index=maybe", libc::EINVAL),
        ] {
            let got = mount(c"overlay", c"o", options);
            if let Err(Stop::Failed(why)) = fails(got, want) {
                return fail(format!("{options}: {why}"));
            }
        }
        // A colon in a name is escaped.
        io(fs::create_dir("a:b"))?;
        io(fs::write("a:b/f", "colon"))?;
        ok(mount(c"overlay", c"o", "lowerdir=a\\:b:l,upperdir=u,workdir=w"))?;
        says("o/f", "colon")
    })
}
