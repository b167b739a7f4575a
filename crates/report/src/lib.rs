//! What a proxify tells of itself: to `proxify status` beside it, to the relay on its parent, and to
//! whoever scrapes metrics; how it travels, and how people read it.

#![forbid(unsafe_code)]

mod allowance;
mod command;
mod frame;
mod printable;
mod show;
mod status;
mod style;
pub mod text;

pub use allowance::Allowance;
pub use command::{Bench, Check, Command, MAX_BENCH, Name, Names, Region, Seconds, ValueError};
pub use frame::{
    FrameError, FromEnclave, HEARTBEAT, Level, Line, MAX_FRAME, MAX_LINE, MAX_OUTPUT, MAX_PIECE,
    RUN, SILENCE, Stream, ToEnclave,
};
pub use histogram::Histogram;
pub use printable::{printable, printable_line};
pub use show::health;
pub use status::{
    Durations, Gauges, Health, Link, Nameserver, Parent, ParentKind, Port, Status, Totals,
};
pub use style::Style;
