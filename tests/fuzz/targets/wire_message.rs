//! DNS messages, read in every way that there is.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(wire::fuzz::message);
