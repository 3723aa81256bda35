//! Looks for another process's records.
//!
//! What is public of TT: it gives each address space a window of 256 GiB, side by side, and the kernel puts a
//! position-independent program two thirds up its window, plus a random distance of at most a sixteenth. So the neighbours'
//! programs are where this one is, some windows further, give or take 16 GiB.

use crate::probe::{self, PAGE};
use crate::say::Voice;
use crate::victim::{ALIGN, RECORDS, Record};

/// Where the windows begin.
const FIRST: u64 = 0x1000_0000_0000;

/// Bytes of a window.
const WINDOW: u64 = 256 << 30;

/// How far up a program lies in its window, at least, and how much chance adds to it.
const PLACE: u64 = WINDOW / 3 * 2;
const CHANCE: u64 = WINDOW / 16;

/// How many windows are searched on each side.
const REACH: u64 = 8;

/// At this distance, no block of records is missed.
const STRIDE: u64 = RECORDS as u64 / 2;

/// Looks through the windows of the neighbours, the next ones first; gives back where the record is.
pub fn find_record(me: Voice) -> Option<(u64, Record)> {
    let here = find_record as *const () as u64;
    let own = here.wrapping_sub(FIRST) / WINDOW;
    me.say(&format!(
        "My program lies at {here:#x}. If this is TT, processes have windows of 256 GiB side by side, and mine is number {own}."
    ));
    me.say("I probe where the programs in the windows beside mine would be.");
    for distance in 1..=REACH {
        for window in [own.checked_sub(distance), Some(own + distance)].into_iter().flatten() {
            let start = FIRST + window * WINDOW + PLACE;
            if let Some(found) = search(me, window, start, start + CHANCE + RECORDS as u64) {
                return Some(found);
            }
        }
    }
    let (tried, faults) = probe::counts();
    me.say(&format!("{} windows, {tried} pointers, {faults} of them SIGSEGV: nothing is there.", 2 * REACH));
    None
}

/// Looks through one window.
fn search(me: Voice, window: u64, start: u64, end: u64) -> Option<(u64, Record)> {
    let before = probe::counts().0;
    let mut at = start;
    while at < end {
        if !probe::answers(at) {
            at += STRIDE;
            continue;
        }
        let tried = probe::counts().0 - before;
        me.say(&format!("Window {window}: at pointer {tried}, {at:#x} answers. It is not mine. I read on."));
        let (low, high) = (edge(at, PAGE.wrapping_neg()), edge(at, PAGE));
        if let Some(found) = record_in(low, high + PAGE) {
            return Some(found);
        }
        at = high + STRIDE;
    }
    None
}

/// The last page that answers, going `step` by step from one that does.
fn edge(from: u64, step: u64) -> u64 {
    let mut page = from - from % PAGE;
    // No program of the demos is larger.
    for _ in 0..4 * RECORDS as u64 / PAGE {
        if !probe::answers(page.wrapping_add(step)) {
            break;
        }
        page = page.wrapping_add(step);
    }
    page
}

/// Looks for the label of a record in a range that answers.
fn record_in(low: u64, high: u64) -> Option<(u64, Record)> {
    let mut page = vec![0; PAGE as usize];
    for base in (low..high).step_by(PAGE as usize) {
        if !probe::read_into(base, &mut page) {
            continue;
        }
        let found = (0..page.len()).step_by(ALIGN).find_map(|at| Some((at, Record::parse(&page[at..])?)));
        if let Some((at, record)) = found {
            return Some((base + at as u64, record));
        }
    }
    None
}
