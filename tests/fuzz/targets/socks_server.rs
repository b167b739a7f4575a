//! The enclave's side of SOCKS5 as an adversary speaks it.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(link::fuzz::socks_server);
