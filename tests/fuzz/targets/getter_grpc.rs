//! The old parent's gRPC getter as an adversary speaks it.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(vpc::fuzz::getter);
