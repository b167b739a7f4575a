//! `wire` against hickory-proto: on generated messages both read the same, and hickory reads what
//! `wire` writes. What hickory cannot build is built by hand.

mod generate;
mod hostile;
mod messages;
mod names;
mod queries;
mod writing;
