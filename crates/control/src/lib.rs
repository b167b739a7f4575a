//! What operators ask a running proxify, and what it tells them.

#![forbid(unsafe_code)]

mod status;

pub use status::{Gauges, Health, Link, Nameserver, Parent, ParentKind, Port, Status, Totals};
