//! Readiness of many files at once. Source: `epoll(7)`.

/// Serialises how epoll instances are put into each other.
#[derive(Default)]
pub struct Topology;
