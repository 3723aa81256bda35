//! Lodger's kernel core.
