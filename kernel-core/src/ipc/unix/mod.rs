//! Local sockets. Source: `unix(7)`.

/// Names of local sockets, and descriptors on their way.
#[derive(Default)]
pub struct Namespace;
