//! The TT host: kernel and guests in one host address space, with no protection between them.
//!
//! Not there yet: this crate holds its place in the workspace and has no host to offer.

pub mod last_words;
pub mod rseq;
