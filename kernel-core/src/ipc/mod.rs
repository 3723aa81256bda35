//! Communication between processes.
