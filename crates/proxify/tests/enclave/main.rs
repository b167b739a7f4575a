//! The whole program in namespaces of its own, `lo` its only interface, with a relay on a unix
//! socket. Needs root or user namespaces, `bash` and util-linux; without them it fails.

mod app;
mod dns;
mod lab;
mod resolv_conf;
mod several;
mod terminal;
