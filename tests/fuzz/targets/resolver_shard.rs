//! Queries, answers, faults and time in any order.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(resolver::fuzz::shard);
