//! The environment behind the command line.
//!
//! It comes in as a function, so that a test needs none.

use std::ffi::{OsStr, OsString};

use clap::error::{ContextKind, ContextValue};

/// Puts the environment's values where the defaults are.
pub(super) fn with_environment(
    command: clap::Command,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> clap::Command {
    command.mut_args(|arg| {
        match arg
            .get_long()
            .and_then(|long| from_environment(long, environment))
        {
            Some((_, value)) => arg.default_value(value),
            None => arg,
        }
    })
}

/// The variable that speaks for an option, and what it says in the option's terms.
fn from_environment(
    long: &str,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> Option<(String, OsString)> {
    let own = format!("PROXIFY_{}", long.replace('-', "_").to_ascii_uppercase());
    if let Some(value) = environment(&own) {
        return Some((own, value));
    }
    let (old, scheme) = match long {
        "parent" => ("PROXY_PARENT_CID", "vsock:"),
        "port" => ("PROXY_PARENT_PORT", ""),
        _ => return None,
    };
    let mut value = OsString::from(scheme);
    value.push(environment(old)?);
    Some((old.to_owned(), value))
}

/// Says in a value's error that the value came from the environment, if it did.
pub(super) fn name_variable(
    mut error: clap::Error,
    environment: &impl Fn(&str) -> Option<OsString>,
) -> clap::Error {
    let (Some(ContextValue::String(arg)), Some(ContextValue::String(value))) = (
        error.get(ContextKind::InvalidArg),
        error.get(ContextKind::InvalidValue),
    ) else {
        return error;
    };
    let long = arg
        .trim_start_matches("--")
        .split([' ', '='])
        .next()
        .unwrap_or_default();
    if let Some((variable, given)) = from_environment(long, environment)
        && given == OsStr::new(value)
    {
        let arg = ContextValue::String(format!("{arg} (from {variable})"));
        error.insert(ContextKind::InvalidArg, arg);
    }
    error
}
