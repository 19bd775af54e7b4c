//! Uploads and requests to Notary's routes by somebody who means harm or makes every mistake
//! there is. Each is answered in a way that old clients can read, none breaks anything: the
//! repository can be read and published to as before, by Debian's `notary` too.

mod case;
mod delegations;
mod feed;
mod file_names;
mod gated;
mod growth;
mod insider;
mod keys;
mod local;
mod log;
mod races;
mod removal;
mod rights;
mod roots;
mod site;
mod sizes;
mod snapshots;
mod spellings;
mod urls;
mod versions;
mod wire;
