//! HTTP: bytes to domain types at the door, results to answers on the way out. Decides
//! nothing about trust.

pub(crate) mod api;
mod begun;
mod conditional;
mod document;
mod extract;
pub(crate) mod health;
mod lingering;
pub(crate) mod middleware;
pub(crate) mod notary;
mod pieces;
mod problem;
pub(crate) mod publish;
mod rejection;
mod requests;
pub(crate) mod tuf;
mod upload;
