//! Signing requests over HTTP: from the first signature to the publication, and every way in
//! which that does not come about.

mod ceremony;
mod crash;
mod hostile;
mod life;
mod races;
mod rights;
