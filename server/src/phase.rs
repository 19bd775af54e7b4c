//! Where a server is between its start and its end: a room of its own, so that what is stopped
//! need not know who stops it.

/// What a server does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Takes requests.
    Serving,
    /// Finishes requests.
    Draining,
    /// Cuts them off.
    Stopping,
}
