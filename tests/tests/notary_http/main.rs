//! Notary's routes over a real listener: what old clients send and how they are answered.

mod online;
mod publishing;
mod reading;
mod refusals;
mod rights;
mod setting;
