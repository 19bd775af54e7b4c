//! The load that users of Notary put on a server: each request on a TLS connection of its own, and
//! repositories in docker's layout, signed at the machine's time so that any server accepts them.

mod connection;
mod publisher;

pub use connection::{Answer, Check, TlsClient, TlsConnection};
pub use publisher::{Publisher, Tag, read_key, request, upload};
