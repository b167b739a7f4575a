//! A nameserver's answer: validated, kept, and given to clients.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(resolver::fuzz::answer);
