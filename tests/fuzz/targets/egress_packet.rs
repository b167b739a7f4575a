//! Packets of the enclave's own programs, off the detour's device.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(egress::fuzz::packet);
