//! What a proxify tells of itself: to `proxify status` beside it, to the relay on its parent, and to
//! whoever scrapes metrics; and how people read it.

#![forbid(unsafe_code)]

mod show;
mod status;
mod style;
pub mod text;

pub use histogram::Histogram;
pub use show::health;
pub use status::{
    Durations, Gauges, Health, Link, Nameserver, Parent, ParentKind, Port, Status, Totals,
};
pub use style::Style;
