//! The parent's resolv.conf.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(resolv::fuzz::resolv_conf);
