//! The framing of RFC 7766, however a stream cuts it.
#![cfg_attr(fuzzing, no_main)]

fuzz::target!(link::fuzz::frames);
