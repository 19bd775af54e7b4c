//! Reads over a real listener: statuses, headers, names, tokens, limits, stopping.

mod documents;
mod limits;
mod rights;
mod setting;
mod stopping;
mod trouble;
