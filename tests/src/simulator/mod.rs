//! A hostile world for clients: a repository that signs whatever a test makes it say, a trust
//! server and a registry that misbehave on command, and a consumer who has to cope with them.
//!
//! Server and registry answer through the client's ports, for the flows, and over real HTTP, for
//! the adapters and the program. Both write down what they were asked for.

mod consumer;
mod program;
mod registry;
mod repository;
mod server;
/// The repositories of the core's own attacks; there they need no network.
#[path = "../../../keys-schema/tests/support/mod.rs"]
pub mod support;
mod wire;

pub use consumer::{Answer, Consumer, Disk};
pub use program::Program;
pub use registry::{Habits, Kept, NotTaken, OCI_INDEX, OCI_MANIFEST, Registry, RegistryFault};
pub use repository::BOB;
pub use server::{Fault, Server};
pub use wire::{Loopback, Reply, Request, Sending};
