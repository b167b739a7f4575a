//! dig as a program that asks for known names, a batch of questions to a process.

use std::collections::BTreeSet;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tests::known::{self, Known};

use crate::TIMEOUT;
use crate::ask::{Answer, Counts};

/// One question in so many goes over TCP.
const TCP_EVERY: usize = 8;

/// Asks for A and AAAA of each known name, and A of a new one, each once, without a second try.
pub(crate) fn batch(
    known: &[Known],
    new: Option<&str>,
    over_tcp: bool,
    counts: &Counts,
) -> io::Result<()> {
    let mut questions = Vec::new();
    for known in known {
        for rtype in ["A", "AAAA"] {
            let right = Answer::right(known, |address| address.is_ipv4() == (rtype == "A"));
            questions.push((known.name.as_str(), rtype, right, false));
        }
    }
    let new_address = || Answer::Addresses([known::NEW_ADDRESS].into());
    questions.extend(new.map(|name| (name, "A", new_address(), true)));
    let mut lines = String::new();
    for (index, (name, rtype, ..)) in questions.iter().enumerate() {
        let transport = if over_tcp && index % TCP_EVERY == 0 {
            "+tcp"
        } else {
            "+notcp"
        };
        lines += &format!("{name} {rtype} {transport} +tries=1 +time=5\n");
    }
    let mut dig = Command::new("dig")
        .args([
            "+noall",
            "+comments",
            "+question",
            "+answer",
            "+stats",
            "-f",
            "/dev/stdin",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = dig.stdin.take() {
        stdin.write_all(lines.as_bytes())?;
    }
    let output = dig.wait_with_output()?;
    let output = String::from_utf8_lossy(&output.stdout);
    let mut replies = output.lines().collect::<Replies<'_>>().0;
    for (name, rtype, right, is_new) in &questions {
        // dig says nothing of what it asked when nobody answered.
        let reply = match replies.iter().position(|reply| reply.is_to(name, rtype)) {
            Some(place) => replies.remove(place),
            None => {
                counts.tell(format!("dig gave up:\n{output}"));
                Reply {
                    took: TIMEOUT,
                    ..Reply::default()
                }
            }
        };
        let what = format!("dig {name} {rtype}");
        counts.take(&what, right, *is_new, &reply.answer(), reply.took);
    }
    let asked = u64::try_from(questions.len()).unwrap_or(u64::MAX);
    counts.by_dig.fetch_add(asked, Ordering::Relaxed);
    Ok(())
}

/// One of dig's answers.
#[derive(Debug, Default)]
struct Reply<'a> {
    question: Vec<&'a str>,
    status: Option<&'a str>,
    addresses: BTreeSet<IpAddr>,
    took: Duration,
}

impl Reply<'_> {
    fn is_to(&self, name: &str, rtype: &str) -> bool {
        self.question.first() == Some(&name) && self.question.last() == Some(&rtype)
    }

    fn answer(&self) -> Answer {
        match self.status {
            Some("NOERROR") => Answer::Addresses(self.addresses.clone()),
            Some("NXDOMAIN") => Answer::NoSuchName,
            Some(_) => Answer::ServFail,
            None => Answer::Nothing,
        }
    }
}

struct Replies<'a>(Vec<Reply<'a>>);

impl<'a> FromIterator<&'a str> for Replies<'a> {
    fn from_iter<I: IntoIterator<Item = &'a str>>(lines: I) -> Self {
        let mut replies = Vec::new();
        let mut reply = Reply::default();
        for line in lines {
            if let Some((_, rest)) = line.split_once(", status: ") {
                reply.status = rest.split(',').next();
            } else if let Some(took) = line.strip_prefix(";; Query time: ") {
                let took = took
                    .strip_suffix(" msec")
                    .and_then(|took| took.parse().ok());
                reply.took = Duration::from_millis(took.unwrap_or(u64::MAX));
                replies.push(std::mem::take(&mut reply));
            } else if let Some(question) =
                line.strip_prefix(';').filter(|line| !line.starts_with(';'))
            {
                reply.question = question.split_whitespace().collect();
            } else if !line.starts_with(';') {
                let data = line.split_whitespace().next_back();
                reply
                    .addresses
                    .extend(data.and_then(|data| data.parse::<IpAddr>().ok()));
            }
        }
        Self(replies)
    }
}
