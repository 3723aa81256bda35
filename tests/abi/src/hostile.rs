//! Programs that misbehave on purpose; the system tests run them in Lodger only.

use libc::c_int;

use crate::support::{PAGE, sleep_ms};

/// Maps and touches memory until something gives way: 0 when `mmap(2)` refused, else it never returns.
pub fn eat_memory() -> c_int {
    const CHUNK: usize = 1 << 20;
    loop {
        // SAFETY: fresh memory, never unmapped.
        unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let prot = libc::PROT_READ | libc::PROT_WRITE;
            let at = libc::mmap(std::ptr::null_mut(), CHUNK, prot, flags, -1, 0);
            if at == libc::MAP_FAILED {
                println!("mmap refused");
                return 0;
            }
            for offset in (0..CHUNK).step_by(PAGE) {
                at.cast::<u8>().add(offset).write_volatile(1);
            }
        }
    }
}

/// Touches one byte in every 64 KiB of 4 GiB, in an order that looks random, says so, and waits for the end of standard
/// input; 1 if it cannot.
pub fn sparse() -> c_int {
    const STEP: usize = 64 << 10;
    const STEPS: usize = 1 << 16;
    // SAFETY: fresh memory, never unmapped; each store lies in it.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let at =
            libc::mmap(std::ptr::null_mut(), STEPS * STEP, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        if at == libc::MAP_FAILED {
            println!("mmap: {}", std::io::Error::last_os_error());
            return 1;
        }
        let mut step = 1;
        for _ in 0..STEPS {
            // Of full period: each comes once.
            step = (step * 25173 + 13849) % STEPS;
            at.byte_add(step * STEP + step % STEP).cast::<u8>().write_volatile(1);
        }
    }
    println!("ready");
    let _ = std::io::stdin().read_line(&mut String::new());
    0
}

/// Has the kernel fill memory, until something gives way: 0 when a gibibyte is full, 3 for an error of the call.
pub fn eat_by_read() -> c_int {
    const CHUNK: usize = 1 << 20;
    // SAFETY: fresh memory, never unmapped; the reads stay in it.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let at =
            libc::mmap(std::ptr::null_mut(), CHUNK << 10, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0);
        let zero = libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY);
        let mut filled = 0;
        while at != libc::MAP_FAILED && filled < CHUNK << 10 {
            match libc::read(zero, at.byte_add(filled), CHUNK) {
                count @ 1.. => filled += count as usize,
                _ => {
                    println!("read: {}", std::io::Error::last_os_error());
                    return 3;
                }
            }
        }
    }
    0
}

/// Makes socket pairs without end, filled with all they take; then what refused them is printed and 0 returned.
pub fn hoard() -> c_int {
    crate::bombs::many_descriptors();
    let mut fds = [0; 2];
    // SAFETY: the arrays live.
    unsafe {
        let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK;
        while libc::socketpair(libc::AF_UNIX, kind, 0, fds.as_mut_ptr()) == 0 {
            let bytes = [1u8; 65536];
            for fd in fds {
                while libc::write(fd, bytes.as_ptr().cast(), bytes.len()) > 0 {}
            }
        }
    }
    println!("refused: {}", std::io::Error::last_os_error());
    0
}

/// Forks up to `n` children that fork in turn, two deep, and that all sleep; prints how many there were.
pub fn fork_bomb(n: u64) -> c_int {
    let mut made = 0;
    for _ in 0..n {
        // SAFETY: one thread; the child leaves by _exit.
        match unsafe { libc::fork() } {
            -1 => break,
            0 => {
                // SAFETY: as above.
                unsafe { libc::fork() };
                sleep_ms(60_000);
                unsafe { libc::_exit(0) };
            }
            _ => made += 1,
        }
    }
    println!("made {made}");
    0
}

/// Blocks every signal and computes for ever.
pub fn spin_blocked() -> c_int {
    // SAFETY: the set lives.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &all, std::ptr::null_mut());
    }
    println!("spinning");
    loop {
        std::hint::spin_loop();
    }
}

/// Reads where nothing is.
pub fn segv() -> c_int {
    // SAFETY: none; that is the point. The address is never mapped.
    unsafe { std::ptr::without_provenance::<u8>(8).read_volatile().into() }
}

/// Sends itself a signal; returns if it is not deadly.
pub fn kill_self(signal: c_int) -> c_int {
    // SAFETY: no memory is involved.
    unsafe { libc::kill(libc::getpid(), signal) };
    0
}
