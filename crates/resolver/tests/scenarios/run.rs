//! A [`Scenario`] played to a [`Shard`], whose time passes only where the scenario says so.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::Name;
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use resolver::{Action, Ask, Failed, MAX_REPLY, MAX_UDP_REPLY, Shard, Step as Taken, Transport};

use crate::entry::Entry;
use crate::read::{Event, Outcome, Scenario, Step, Trouble};
use crate::show;

/// Longer than any client is to wait.
const DEADLINE: Duration = Duration::from_secs(4);

/// Largest reply to a client without OPT (RFC 1035 section 2.3.4).
const PLAIN_UDP_REPLY: u16 = 512;

/// What went wrong in a step, in words.
type Said<T = ()> = Result<T, String>;

/// Plays a scenario to its end.
pub(crate) fn run(scenario: &Scenario) -> Outcome<()> {
    let mut play = Play::new(scenario);
    let told = |play: &Play<'_>, line, step: &str, what| {
        let time = (play.now - play.start).as_secs_f64();
        let what = format!("{step}, {time:.3} s from the start: {what}");
        Trouble { line, what }
    };
    let begin = play.begin();
    begin.map_err(|what| told(&play, 1, "the settings", what))?;
    let nexts = scenario.steps.iter().skip(1).map(Some).chain([None]);
    for (step, next) in scenario.steps.iter().zip(nexts) {
        let is_check = |next: &Step| matches!(next.event, Event::CheckOutQuery(..));
        play.is_check_next = next.is_some_and(is_check);
        play.number = step.number;
        let done = play.step(&step.event).and_then(|()| play.answer_by_range());
        done.map_err(|what| {
            let name = format!("STEP {} {}", step.number, step.word);
            told(&play, step.line, &name, what)
        })?;
    }
    let ended = play.nothing_unchecked().and_then(|()| play.all_answered());
    ended.map_err(|what| told(&play, scenario.end, "SCENARIO_END", what))
}

struct Play<'a> {
    scenario: &'a Scenario,
    shard: Shard<usize>,
    start: Instant,
    now: Instant,
    /// Of the step.
    number: u32,
    /// The next step is to check a question: no range answers it before.
    is_check_next: bool,
    clients: Vec<Client>,
    /// Sent upstream and without a result, the oldest first.
    questions: Vec<Question>,
    /// Gone to clients and not checked.
    replies: VecDeque<Message>,
    out: Vec<u8>,
}

struct Client {
    packet: Vec<u8>,
    transport: Transport,
    since: Instant,
    is_told: bool,
}

struct Question {
    ask: Ask,
    message: Message,
    is_checked: bool,
}

impl<'a> Play<'a> {
    fn new(scenario: &'a Scenario) -> Self {
        let start = Instant::now();
        Self {
            scenario,
            shard: Shard::new(scenario.config.clone(), start),
            start,
            now: start,
            number: 0,
            is_check_next: false,
            clients: Vec::new(),
            questions: Vec::new(),
            replies: VecDeque::new(),
            out: vec![0; MAX_REPLY],
        }
    }

    fn begin(&mut self) -> Said {
        let nameservers = &self.scenario.nameservers;
        self.act(|shard, now, actions| shard.set_nameservers(now, nameservers, actions))
    }

    fn step(&mut self, event: &Event) -> Said {
        match event {
            Event::Query(1, entry) => self.query(&entry.message, transport(entry)),
            Event::Query(count, entry) => (0..*count).try_for_each(|_| {
                let message = self.under_its_name(&entry.message)?;
                self.query(&message, transport(entry))
            }),
            Event::CheckOutQuery(count, address, entry) => {
                (0..*count).try_for_each(|_| self.check_question(*address, entry))
            }
            Event::CheckAnswer(count, entry) => {
                (0..*count).try_for_each(|_| match self.replies.pop_front() {
                    Some(reply) => fits(entry, &reply),
                    None => Err("expected a reply to a client, got none".into()),
                })
            }
            Event::Reply(address, entry) => {
                let question = self.take_question(*address, Some(entry))?;
                self.answer(&question, entry)
            }
            Event::Error(failed) => {
                let question = self.take_question(None, None)?;
                self.result(&question, Err(*failed))
            }
            Event::Timeout(elapse) => self.time_out(*elapse),
            Event::TimePasses(span) => self.pass(*span),
            Event::Nothing => self.nothing_unchecked(),
            Event::Nameservers(nameservers) => {
                self.act(|shard, now, actions| shard.set_nameservers(now, nameservers, actions))
            }
            Event::LinkUp => self.act(Shard::link_is_up),
            Event::LinkSilent(span) => {
                let since = self.now.checked_sub(*span).ok_or("too long a silence")?;
                self.shard.link_is_silent(self.now, since);
                Ok(())
            }
            Event::Cost(packets) => {
                self.shard.set_cost(*packets);
                Ok(())
            }
            Event::Spend(packets) => {
                self.shard.spend(self.now, *packets);
                Ok(())
            }
        }
    }

    /// A query for a name under that of `message` which nobody asked for before.
    fn under_its_name(&self, message: &Message) -> Said<Message> {
        let mut message = message.clone();
        let query = message.queries.first_mut().ok_or("a question is missing")?;
        let label = Name::from_ascii(format!("n{}", self.clients.len()));
        let name = label.and_then(|label| label.append_domain(query.name()));
        query.set_name(name.map_err(|why| why.to_string())?);
        Ok(message)
    }

    fn query(&mut self, message: &Message, transport: Transport) -> Said {
        let number = self.clients.len();
        let mut message = message.clone();
        // Ids differ, so that a reply to somebody else is noticed.
        message.metadata.id = u16::try_from(number + 1).map_err(|why| why.to_string())?;
        let packet = message.to_vec().map_err(|why| why.to_string())?;
        let taken = self
            .shard
            .query(self.now, number, transport, &packet, &mut self.out);
        self.clients.push(Client {
            packet,
            transport,
            since: self.now,
            is_told: taken == Taken::Drop,
        });
        let reply = |length: usize| self.out[..length].to_vec();
        match taken {
            Taken::Reply(length) => self.tell(number, &reply(length)),
            Taken::ReplyAndAsk(length, ask) => {
                let reply = reply(length);
                self.tell(number, &reply)?;
                self.send(ask)
            }
            Taken::Ask(ask) => self.send(ask),
            Taken::Wait | Taken::Drop => Ok(()),
        }
    }

    /// Notes a reply, and checks what is so of every reply: the only one, in time, with the
    /// client's own id and question, no larger than the client takes.
    fn tell(&mut self, number: usize, bytes: &[u8]) -> Said {
        let now = self.now;
        let client = &mut self.clients[number];
        let say = |what| Err(format!("the reply to query {}: {what}", number + 1));
        let mut decoder = BinDecoder::new(bytes);
        let reply = Message::read(&mut decoder).map_err(|why| format!("a reply: {why}"))?;
        if !decoder.is_empty() {
            return say("bytes behind its end");
        }
        if std::mem::replace(&mut client.is_told, true) {
            return say("the second, or unwanted");
        }
        if now - client.since > DEADLINE {
            return say("later than after 4 s");
        }
        let question = match wire::Query::parse(&client.packet) {
            Ok(query) => query.question.name.len() + 4,
            Err(_) => 0,
        };
        let size = match (client.transport, wire::Query::parse(&client.packet)) {
            (Transport::Udp, Ok(query)) => query
                .edns
                .map_or(PLAIN_UDP_REPLY, |edns| edns.udp_size.max(PLAIN_UDP_REPLY)),
            _ => u16::MAX,
        };
        if bytes.get(..2) != client.packet.get(..2) {
            return say("another id");
        }
        if bytes.get(12..12 + question) != client.packet.get(12..12 + question) {
            return say("another question");
        }
        let is_large = client.transport == Transport::Udp && bytes.len() > MAX_UDP_REPLY;
        if bytes.len() > size.into() || is_large {
            return say("larger than the client takes");
        }
        self.replies.push_back(reply);
        Ok(())
    }

    fn send(&mut self, ask: Ask) -> Said {
        let message = Message::from_vec(&ask.message).map_err(|why| why.to_string())?;
        self.questions.push(Question {
            ask,
            message,
            is_checked: false,
        });
        Ok(())
    }

    fn check_question(&mut self, address: Option<SocketAddr>, entry: &Entry) -> Said {
        let unchecked = self.questions.iter_mut().find(|sent| !sent.is_checked);
        let question = unchecked.ok_or("expected a question for a nameserver, got none")?;
        question.is_checked = true;
        let nameserver = question.ask.nameserver;
        match address {
            Some(address) if address != nameserver => {
                Err(format!("nameserver: expected {address}, got {nameserver}"))
            }
            _ => fits(entry, &question.message),
        }
    }

    /// The question sent last, of those to that nameserver and as the entry says.
    fn take_question(
        &mut self,
        address: Option<SocketAddr>,
        entry: Option<&Entry>,
    ) -> Said<Question> {
        let is_its = |sent: &Question| address.is_none_or(|address| address == sent.ask.nameserver);
        let fits = |sent: &Question| entry.is_none_or(|entry| fits(entry, &sent.message).is_ok());
        let open = &self.questions;
        match open.iter().rposition(|sent| is_its(sent) && fits(sent)) {
            Some(at) => Ok(self.questions.remove(at)),
            None => match (open.iter().rfind(|sent| is_its(sent)), entry) {
                (Some(sent), Some(entry)) => Err(entry.differences(&sent.message).join("; ")),
                _ => Err("there is no question without a result".into()),
            },
        }
    }

    /// What the scenario's ranges answer is answered, unless the next step looks at it first.
    fn answer_by_range(&mut self) -> Said {
        let number = self.number;
        while !self.is_check_next {
            let find = |sent: &Question| {
                let ranges = self.scenario.ranges.iter().filter(|range| {
                    let addresses = &range.addresses;
                    let is_its = addresses.is_empty() || addresses.contains(&sent.ask.nameserver);
                    is_its && range.steps.contains(&number)
                });
                let mut entries = ranges.flat_map(|range| &range.entries);
                entries.find(|entry| entry.differences(&sent.message).is_empty())
            };
            let mut open = self.questions.iter().enumerate();
            let Some((at, entry)) = open.find_map(|(at, sent)| Some((at, find(sent)?))) else {
                break;
            };
            let question = self.questions.remove(at);
            self.answer(&question, entry)?;
        }
        Ok(())
    }

    fn answer(&mut self, question: &Question, entry: &Entry) -> Said {
        let answer = entry.answer_to(&question.message);
        self.result(question, Ok(&answer))
    }

    fn result(&mut self, question: &Question, result: Result<&[u8], Failed>) -> Said {
        let ticket = question.ask.ticket;
        self.act(|shard, now, actions| {
            // What the log tells of it has tests of its own.
            let _fault = shard.answer(now, ticket, result, actions);
        })
    }

    fn act(
        &mut self,
        act: impl FnOnce(&mut Shard<usize>, Instant, &mut Vec<Action<usize>>),
    ) -> Said {
        let mut actions = Vec::new();
        act(&mut self.shard, self.now, &mut actions);
        actions.into_iter().try_for_each(|action| match action {
            Action::Ask(ask) => self.send(ask),
            Action::Reply { client, message } => self.tell(client, &message),
        })
    }

    /// Time passes, and what falls due in it is done when it is due.
    fn pass(&mut self, span: Duration) -> Said {
        let until = self.now + span;
        while let Some(due) = self.shard.next_tick().filter(|due| *due <= until) {
            self.tick(due)?;
            self.answer_by_range()?;
        }
        self.now = until;
        Ok(())
    }

    fn tick(&mut self, due: Instant) -> Said {
        self.now = self.now.max(due);
        self.act(Shard::tick)?;
        match self.shard.next_tick() {
            Some(next) if next <= self.now => Err("what is due stays due".into()),
            _ => Ok(()),
        }
    }

    /// The nameserver asked last keeps silent until something comes of that.
    fn time_out(&mut self, elapse: Option<Duration>) -> Said {
        self.take_question(None, None)?;
        let since = self.now;
        let before = (self.questions.len(), self.replies.len());
        while before == (self.questions.len(), self.replies.len()) {
            let due = self.shard.next_tick();
            self.tick(due.ok_or("nothing would ever come of it")?)?;
        }
        match elapse {
            Some(elapse) if elapse != self.now - since => {
                let (elapse, got) = (elapse.as_secs_f64(), (self.now - since).as_secs_f64());
                Err(format!("expected to wait {elapse} s, waited {got} s"))
            }
            _ => Ok(()),
        }
    }

    fn nothing_unchecked(&self) -> Said {
        if let Some(sent) = self.questions.iter().find(|sent| !sent.is_checked) {
            let (question, nameserver) = (show::in_short(&sent.message), sent.ask.nameserver);
            let said = format!("`{question}` went to {nameserver}, which no step checks");
            return Err(said);
        }
        match self.replies.front() {
            Some(reply) => {
                let reply = show::in_short(reply);
                Err(format!("a client got `{reply}`, which no step checks"))
            }
            None => Ok(()),
        }
    }

    fn all_answered(&self) -> Said {
        match self.clients.iter().position(|client| !client.is_told) {
            Some(number) => Err(format!("query {} has no reply", number + 1)),
            None => Ok(()),
        }
    }
}

fn transport(entry: &Entry) -> Transport {
    entry.transport.unwrap_or(Transport::Udp)
}

fn fits(entry: &Entry, got: &Message) -> Said {
    match &entry.differences(got)[..] {
        [] => Ok(()),
        differences => Err(differences.join("; ")),
    }
}
