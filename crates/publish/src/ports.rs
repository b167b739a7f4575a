//! What is to be published, as it is written on a command line.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Which ports are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Each port that a program listens on, unless on loopback alone, under the same number.
    Auto,
    /// None.
    None,
    /// These.
    List(Vec<Publication>),
}

/// One published port: `PORT`, `PARENT:PORT` or `ADDR:PARENT:PORT`, as container engines write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Publication {
    /// Where the parent listens; an unspecified address is all of its.
    pub parent: SocketAddr,
    /// The port of the program in the enclave.
    pub program: u16,
}

/// One word of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// `auto`
    Auto,
    /// `none`
    None,
    /// A port.
    Port(Publication),
}

impl Ports {
    /// What a whole list says. `auto` and `none` stand alone, and a port of the parent has one program.
    ///
    /// # Errors
    ///
    /// Words that contradict each other.
    pub fn from_words(words: &[Word]) -> Result<Self, ParsePortsError> {
        let mut list: Vec<Publication> = Vec::new();
        for word in words {
            match (word, words.len()) {
                (Word::Auto, 1) => return Ok(Self::Auto),
                (Word::None, 1) => return Ok(Self::None),
                (Word::Auto, _) => return Err(ParsePortsError::NotAlone { word: "auto" }),
                (Word::None, _) => return Err(ParsePortsError::NotAlone { word: "none" }),
                (Word::Port(new), _) => match list.iter().find(|old| old.overlaps(new)) {
                    Some(old) if old == new => {}
                    Some(old) => {
                        return Err(ParsePortsError::Twice {
                            one: *old,
                            other: *new,
                        });
                    }
                    None => list.push(*new),
                },
            }
        }
        Ok(Self::List(list))
    }
}

impl Publication {
    /// Whether the parent can listen for one of them only.
    fn overlaps(&self, other: &Self) -> bool {
        let (one, other) = (self.parent, other.parent);
        let every = one.ip().is_unspecified() || other.ip().is_unspecified();
        one.port() == other.port() && (every || one.ip() == other.ip())
    }
}

impl FromStr for Word {
    type Err = ParsePortsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            text => text.parse().map(Self::Port),
        }
    }
}

impl FromStr for Publication {
    type Err = ParsePortsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = || ParsePortsError::Syntax { text: text.into() };
        let port = |text: &str| match text.parse() {
            Ok(0) | Err(_) => Err(bad()),
            Ok(port) => Ok(port),
        };
        let (rest, program) = match text.rsplit_once(':') {
            Some((rest, program)) => (Some(rest), port(program)?),
            None => (None, port(text)?),
        };
        let (ip, parent) = match rest.map(|rest| rest.rsplit_once(':').ok_or(rest)) {
            None => (None, program),
            Some(Err(parent)) => (None, port(parent)?),
            Some(Ok((ip, parent))) => (Some(ip), port(parent)?),
        };
        let ip = match ip.map(|ip| (ip, ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']')))) {
            None => Ipv4Addr::UNSPECIFIED.into(),
            Some((_, Some(ip))) => IpAddr::V6(ip.parse().map_err(|_| bad())?),
            Some((ip, None)) => IpAddr::V4(ip.parse().map_err(|_| bad())?),
        };
        Ok(Self {
            parent: SocketAddr::new(ip, parent),
            program,
        })
    }
}

impl fmt::Display for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.parent.ip().is_unspecified() {
            true => write!(f, "{}:{}", self.parent.port(), self.program),
            false => write!(f, "{}:{}", self.parent, self.program),
        }
    }
}

/// Text that names no port to publish.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePortsError {
    /// None of the forms.
    #[error(
        "`{text}` is no port to publish: write auto, none, PORT, PARENT:PORT as in 8443:443, or \
         ADDR:PARENT:PORT as in 127.0.0.1:8080:80 or [::1]:8080:80"
    )]
    Syntax {
        /// What was given.
        text: String,
    },
    /// `auto` or `none` beside others.
    #[error("`{word}` stands alone: other ports were given beside it")]
    NotAlone {
        /// Which.
        word: &'static str,
    },
    /// One port of the parent for two programs, or on all addresses and on one of them.
    #[error("{one} and {other} take one port of the parent for two programs, or twice")]
    Twice {
        /// The first.
        one: Publication,
        /// The second.
        other: Publication,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Ports, ParsePortsError> {
        let words: Result<Vec<Word>, _> = text.split(',').map(str::parse).collect();
        Ports::from_words(&words?)
    }

    #[test]
    fn ports_are_written_as_container_engines_write_them() {
        for (text, parent, program) in [
            ("8080", "0.0.0.0:8080", 8080),
            ("8443:443", "0.0.0.0:8443", 443),
            ("127.0.0.1:8080:80", "127.0.0.1:8080", 80),
            ("0.0.0.0:80:80", "0.0.0.0:80", 80),
            ("[::1]:8080:80", "[::1]:8080", 80),
            ("[2001:db8::1]:1:65535", "[2001:db8::1]:1", 65535),
        ] {
            let parent = parent.parse().unwrap();
            let publication = Publication { parent, program };
            assert_eq!(parsed(text).unwrap(), Ports::List(vec![publication]));
        }
        assert_eq!(parsed("auto").unwrap(), Ports::Auto);
        assert_eq!(parsed("none").unwrap(), Ports::None);
        let Ports::List(list) = parsed("8443:443,80,80").unwrap() else {
            panic!("a list");
        };
        assert!(parsed("127.0.0.1:80:80,[::1]:80:80,10.0.0.10:80:81").is_ok());
        let texts: Vec<String> = list.iter().map(Publication::to_string).collect();
        assert_eq!(texts, ["8443:443", "80:80"]);
    }

    #[test]
    fn what_is_no_port_says_what_would_be() {
        for text in [
            "",
            "0",
            "80:0",
            "0:80",
            "65536",
            "http",
            "80:http",
            ":80",
            "80:",
            "::1:80:80",
            "[::1:80:80",
            "[127.0.0.1]:80:80",
            "localhost:80:80",
            "1.2.3.4:80",
            "a:b:c:d",
            "-1",
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains("8443:443"), "{text}: {error}");
        }
        for (text, says) in [
            ("auto,80", "`auto` stands alone"),
            ("80,none", "`none` stands alone"),
            ("8080:80,8080:81", "two programs"),
            ("80:1,[::]:80:2", "two programs"),
            ("8080:80,127.0.0.1:8080:80", "or twice"),
        ] {
            let error = parsed(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
