//! The stories of the client on repositories in legacy mode, against a real server in this
//! process, and against servers that misbehave.

mod life;
mod repair;
mod servers;
mod setting;
