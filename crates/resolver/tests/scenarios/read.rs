//! From text to a [`Scenario`]. What is not understood is refused, with its line.

use std::iter::Enumerate;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use resolver::{Config, Failed, Pins, Route, Routes};

use crate::entry::Entry;

/// Port of a nameserver that is written without one.
const DNS_PORT: u16 = 53;

/// Bytes of the cache where a scenario says nothing of it.
const CACHE_SIZE: usize = 1 << 20;

/// A file as the runner takes it.
pub(crate) struct Scenario {
    pub(crate) config: Config,
    pub(crate) nameservers: Vec<SocketAddr>,
    pub(crate) ranges: Vec<Range>,
    pub(crate) steps: Vec<Step>,
    /// Where SCENARIO_END stands.
    pub(crate) end: usize,
}

/// How nameservers answer by themselves during some steps.
pub(crate) struct Range {
    pub(crate) steps: RangeInclusive<u32>,
    /// All nameservers, if none is named.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) entries: Vec<Entry>,
}

pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) number: u32,
    /// The event's word.
    pub(crate) word: String,
    pub(crate) event: Event,
}

/// What happens in a step, or what must have happened before it.
pub(crate) enum Event {
    /// So many clients ask.
    Query(u32, Entry),
    /// So many questions have gone upstream, to this nameserver.
    CheckOutQuery(u32, Option<SocketAddr>, Entry),
    /// So many replies have gone to clients.
    CheckAnswer(u32, Entry),
    /// A nameserver answers.
    Reply(Option<SocketAddr>, Entry),
    /// It keeps silent, for as long as it has.
    Timeout(Option<Duration>),
    /// The question has not reached it.
    Error(Failed),
    TimePasses(Duration),
    /// Nothing went out that no step has checked.
    Nothing,
    Nameservers(Vec<SocketAddr>),
    LinkUp,
    /// Nothing has come of the link for so long.
    LinkSilent(Duration),
    /// So many packets a question costs.
    Cost(u32),
    /// So many packets went out besides.
    Spend(u32),
}

/// What is wrong, and where.
#[derive(Debug)]
pub(crate) struct Trouble {
    pub(crate) line: usize,
    pub(crate) what: String,
}

pub(crate) type Outcome<T> = Result<T, Trouble>;

/// The lines that say something, without comments.
pub(crate) struct Lines<'a> {
    rest: Enumerate<std::str::Lines<'a>>,
    /// Of the line read last, from 1.
    pub(crate) number: usize,
}

impl<'a> Lines<'a> {
    /// The next line. There is one until SCENARIO_END.
    pub(crate) fn next(&mut self) -> Outcome<Words<'a>> {
        for (index, line) in self.rest.by_ref() {
            self.number = index + 1;
            let text = line.split(';').next().unwrap_or_default().trim();
            if !text.is_empty() {
                return Ok(Words(text));
            }
        }
        self.refuse("the file ends here, without SCENARIO_END")
    }

    pub(crate) fn refuse<T>(&self, what: impl Into<String>) -> Outcome<T> {
        let (line, what) = (self.number, what.into());
        Err(Trouble { line, what })
    }

    /// Says in which line it is that something cannot be read.
    pub(crate) fn at<T>(&self, result: Result<T, String>) -> Outcome<T> {
        result.or_else(|what| self.refuse(what))
    }
}

/// A line, word by word.
#[derive(Clone, Copy)]
pub(crate) struct Words<'a>(pub(crate) &'a str);

impl<'a> Words<'a> {
    /// The next word as a value.
    pub(crate) fn value<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next().unwrap_or_default();
        word.parse()
            .map_err(|_| format!("expected {what}, not `{word}`"))
    }

    /// All that is left of the line.
    pub(crate) fn rest(&mut self) -> &'a str {
        std::mem::take(&mut self.0)
    }

    pub(crate) fn end(self) -> Result<(), String> {
        match self.0 {
            "" => Ok(()),
            more => Err(format!("`{more}` is not understood here")),
        }
    }

    fn seconds(&mut self) -> Result<Duration, String> {
        let seconds = self.value("seconds")?;
        Duration::try_from_secs_f64(seconds).map_err(|why| why.to_string())
    }

    /// The word and the value behind it, if that is what comes next.
    fn option<T>(
        &mut self,
        word: &str,
        read: impl FnOnce(&mut Self) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let mut words = *self;
        if words.next() != Some(word) {
            return Ok(None);
        }
        *self = words;
        read(self).map(Some)
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let (word, rest) = self
            .0
            .split_once(char::is_whitespace)
            .unwrap_or((self.0, ""));
        self.0 = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }
}

impl Scenario {
    pub(crate) fn read(text: &str) -> Outcome<Self> {
        let rest = text.lines().enumerate();
        let lines = &mut Lines { rest, number: 0 };
        let (config, nameservers) = config(lines)?;
        if !lines.next()?.0.starts_with("SCENARIO_BEGIN ") {
            return lines.refuse("expected SCENARIO_BEGIN and a title");
        }
        let (mut ranges, mut steps) = (Vec::new(), Vec::<Step>::new());
        loop {
            let mut words = lines.next()?;
            match words.next() {
                Some("RANGE_BEGIN") => ranges.push(range(lines, words)?),
                Some("STEP") => {
                    let step = step(lines, words)?;
                    if steps.last().is_some_and(|last| last.number >= step.number) {
                        return lines.refuse("the numbers of steps must grow");
                    }
                    steps.push(step);
                }
                Some("SCENARIO_END") => break,
                _ => return lines.refuse("expected RANGE_BEGIN, STEP or SCENARIO_END"),
            }
        }
        Ok(Self {
            config,
            nameservers,
            ranges,
            steps,
            end: lines.number,
        })
    }
}

/// The settings before CONFIG_END.
fn config(lines: &mut Lines<'_>) -> Outcome<(Config, Vec<SocketAddr>)> {
    let (mut nameservers, mut routes) = (Vec::new(), Vec::new());
    let mut config = Config {
        cache_size: CACHE_SIZE,
        seed: [1, 2],
        routes: Routes::default(),
        pins: Pins::default(),
        upstream_pps: 0,
    };
    loop {
        let mut words = lines.next()?;
        let word = words.next().unwrap_or_default();
        let set = || -> Result<(), String> {
            match word {
                "nameservers:" => nameservers = addresses(&mut words)?,
                "route:" => routes.push(Route {
                    suffix: words.value("a suffix")?,
                    nameservers: addresses(&mut words)?,
                }),
                "upstream-pps:" => config.upstream_pps = words.value("packets a second")?,
                "cache-size:" => config.cache_size = words.value("bytes")?,
                "CONFIG_END" => {}
                _ => return Err(format!("`{word}` is no option")),
            }
            words.end()
        }();
        lines.at(set)?;
        if word == "CONFIG_END" {
            config.routes = lines.at(Routes::new(routes).map_err(|why| why.to_string()))?;
            return Ok((config, nameservers));
        }
    }
}

fn range(lines: &mut Lines<'_>, mut words: Words<'_>) -> Outcome<Range> {
    let first = lines.at(words.value("the first step's number"))?;
    let last = lines.at(words.value("the last step's number"))?;
    lines.at(words.end())?;
    let (mut addresses, mut entries) = (Vec::new(), Vec::new());
    loop {
        let mut words = lines.next()?;
        match words.next() {
            Some("ADDRESS") => addresses.push(lines.at(address(&mut words))?),
            Some("ENTRY_BEGIN") => entries.push(Entry::read(lines, "RANGE_BEGIN")?),
            Some("RANGE_END") => break,
            _ => return lines.refuse("expected ADDRESS, ENTRY_BEGIN or RANGE_END"),
        }
        lines.at(words.end())?;
    }
    Ok(Range {
        steps: first..=last,
        addresses,
        entries,
    })
}

fn step(lines: &mut Lines<'_>, mut words: Words<'_>) -> Outcome<Step> {
    let line = lines.number;
    let number = lines.at(words.value("the step's number"))?;
    let word = words.next().unwrap_or_default();
    let number_above_0 = |words: &mut Words<'_>| words.value::<NonZeroU32>("a number above 0");
    let count = |words: &mut Words<'_>| {
        let count = words.option("COUNT", number_above_0)?;
        Ok(count.map_or(1, NonZeroU32::get))
    };
    let event = match word {
        "QUERY" | "CHECK_ANSWER" => {
            let count = lines.at(count(&mut words))?;
            let entry = entry(lines, words, word)?;
            match word {
                "QUERY" => Event::Query(count, entry),
                _ => Event::CheckAnswer(count, entry),
            }
        }
        "CHECK_OUT_QUERY" | "REPLY" => {
            let count = lines.at(count(&mut words))?;
            let address = lines.at(words.option("ADDRESS", address))?;
            let entry = entry(lines, words, word)?;
            match word {
                "REPLY" if count == 1 => Event::Reply(address, entry),
                "REPLY" => return lines.refuse("many replies are for a RANGE_BEGIN"),
                _ => Event::CheckOutQuery(count, address, entry),
            }
        }
        _ => {
            let event = short(word, &mut words).and_then(|event| words.end().map(|()| event));
            lines.at(event)?
        }
    };
    Ok(Step {
        line,
        number,
        word: word.to_owned(),
        event,
    })
}

/// An event that stands on one line.
fn short(word: &str, words: &mut Words<'_>) -> Result<Event, String> {
    Ok(match word {
        "TIMEOUT" => Event::Timeout(words.option("ELAPSE", Words::seconds)?),
        "TIME_PASSES" => match words.option("ELAPSE", Words::seconds)? {
            Some(span) => Event::TimePasses(span),
            None => return Err("expected ELAPSE and seconds".into()),
        },
        "ERROR" => Event::Error(match words.next() {
            Some("LINK") => Failed::Link,
            Some("LOST") => Failed::Lost,
            Some("UNREACHABLE") => Failed::Unreachable,
            Some("CLOSED") => Failed::Closed,
            _ => return Err("expected LINK, LOST, UNREACHABLE or CLOSED".into()),
        }),
        "NOTHING" => Event::Nothing,
        "NAMESERVERS" => Event::Nameservers(addresses(words)?),
        "LINK_UP" => Event::LinkUp,
        "LINK_SILENT" => match words.option("ELAPSE", Words::seconds)? {
            Some(span) => Event::LinkSilent(span),
            None => return Err("expected ELAPSE and seconds".into()),
        },
        "COST" => Event::Cost(words.value("packets")?),
        "SPEND" => Event::Spend(words.value("packets")?),
        _ => return Err(format!("`{word}` is no step")),
    })
}

fn entry(lines: &mut Lines<'_>, words: Words<'_>, step: &str) -> Outcome<Entry> {
    lines.at(words.end())?;
    match lines.next()?.0 {
        "ENTRY_BEGIN" => Entry::read(lines, step),
        _ => lines.refuse("expected ENTRY_BEGIN"),
    }
}

/// `IP` or `IP:PORT`, of nameservers in the order of preference.
fn addresses(words: &mut Words<'_>) -> Result<Vec<SocketAddr>, String> {
    let mut addresses = Vec::new();
    while !words.0.is_empty() {
        addresses.push(address(words)?);
    }
    Ok(addresses)
}

fn address(words: &mut Words<'_>) -> Result<SocketAddr, String> {
    let mut ip = *words;
    match ip.value::<IpAddr>("an address") {
        Ok(address) => {
            *words = ip;
            Ok((address, DNS_PORT).into())
        }
        Err(_) => words.value("an address"),
    }
}
