use std::ffi::OsStr;

use resolv_conf::Config;
use serde::Serialize;

/// What glibc tries for a name, in its order (resolv.conf(5), resolver(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Expansion {
    /// The names, without final dot.
    pub names: Vec<String>,
    /// The search list.
    pub search: Vec<String>,
    /// A name with so many dots is tried as it is first.
    pub ndots: u32,
}

/// Names in a search list that are tried: what proxify itself would write, and old glibcs take.
const MAX_SEARCH: usize = 6;

/// The most that `ndots` can be (glibc's RES_MAXNDOTS).
const MAX_NDOTS: u32 = 15;

impl Expansion {
    /// What becomes of `name` with this resolv.conf, on a host of this name, and with LOCALDOMAIN and
    /// RES_OPTIONS from the environment.
    #[must_use]
    pub fn new(
        name: &str,
        resolv_conf: &[u8],
        hostname: &str,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Self {
        // What it does not understand is skipped, as by libc.
        let (config, _) = Config::parse_with_errors(resolv_conf);
        let mut search: Vec<String> = match environment("LOCALDOMAIN") {
            Some(list) => list.split_whitespace().map(str::to_owned).collect(),
            None => config.get_last_search_or_domain().cloned().collect(),
        };
        if search.is_empty()
            && let Some((_, domain)) = hostname.trim().split_once('.')
        {
            search.push(domain.to_owned());
        }
        search.truncate(MAX_SEARCH);
        let options = environment("RES_OPTIONS").unwrap_or_default();
        let ndots = options
            .split_whitespace()
            .filter_map(|option| option.strip_prefix("ndots:")?.parse().ok())
            .next_back()
            .unwrap_or(config.ndots)
            .min(MAX_NDOTS);
        Self {
            names: names(name, &search, ndots),
            search,
            ndots,
        }
    }
}

fn names(name: &str, search: &[String], ndots: u32) -> Vec<String> {
    if let Some(whole) = name.strip_suffix('.') {
        return vec![whole.to_owned()];
    }
    let dots = u32::try_from(name.matches('.').count()).unwrap_or(u32::MAX);
    let suffixed = |domain: &String| match domain.trim_end_matches('.') {
        "" => name.to_owned(),
        domain => format!("{name}.{domain}"),
    };
    let mut names: Vec<String> = search.iter().map(suffixed).collect();
    match dots >= ndots {
        true => names.insert(0, name.to_owned()),
        false => names.push(name.to_owned()),
    }
    let mut seen = Vec::new();
    names.retain(|name| {
        let is_new = !seen.contains(name);
        seen.push(name.clone());
        is_new
    });
    names
}

/// A variable as text; none if it is not set, or no text.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var_os(name)
        .as_deref()
        .and_then(OsStr::to_str)
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(name: &str, resolv_conf: &str) -> Vec<String> {
        Expansion::new(name, resolv_conf.as_bytes(), "host", |_| None).names
    }

    #[test]
    fn names_are_tried_in_the_order_of_libc() {
        let conf = "nameserver 127.0.0.1\nsearch a.test b.test\n";
        assert_eq!(expand("db", conf), ["db.a.test", "db.b.test", "db"]);
        assert_eq!(
            expand("db.corp", conf),
            ["db.corp", "db.corp.a.test", "db.corp.b.test"]
        );
        assert_eq!(expand("db.", conf), ["db"]);
        let conf = "search a.test\noptions ndots:5\n";
        assert_eq!(expand("x.y.svc", conf), ["x.y.svc.a.test", "x.y.svc"]);
        // The last line of its kind wins, and `domain` is a list of one.
        let conf = "search a.test b.test\ndomain c.test\n";
        assert_eq!(expand("db", conf), ["db.c.test", "db"]);
        assert_eq!(expand("db", "search .\n"), ["db"]);
    }

    #[test]
    fn without_a_search_list_the_hosts_own_domain_is_one() {
        let expand = |hostname| Expansion::new("db", b"", hostname, |_| None).names;
        assert_eq!(
            expand("ip-10-0-0-1.ec2.internal\n"),
            ["db.ec2.internal", "db"]
        );
        assert_eq!(expand("localhost"), ["db"]);
    }

    #[test]
    fn the_environment_goes_before_the_file() {
        let expansion =
            Expansion::new(
                "a.b",
                b"search a.test\noptions ndots:1\n",
                "",
                |name| match name {
                    "LOCALDOMAIN" => Some("x.test y.test".to_owned()),
                    "RES_OPTIONS" => Some("rotate ndots:2 use-vc".to_owned()),
                    _ => None,
                },
            );
        assert_eq!(expansion.names, ["a.b.x.test", "a.b.y.test", "a.b"]);
        assert_eq!(expansion.ndots, 2);
    }
}
