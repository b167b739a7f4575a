//! The kernel's tables of sockets.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(publish::fuzz::proc_net);
