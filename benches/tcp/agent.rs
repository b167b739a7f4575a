//! The load: a process in the network that a way starts from. It is told what to do line by line,
//! and answers each with a figure.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{ChildStdin, ChildStdout, Command};
use std::thread;
use std::time::{Duration, Instant};

use crate::Error;
use crate::server::{ECHO, HOLD, PIECE, RELEASE, SINK, SOURCE};
use crate::world::Process;

/// A peer that is silent for this long is a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a way may take until it is open.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// What an agent does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Load {
    /// Bytes per second.
    Stream { streams: usize, out: bool },
    /// Connections per second.
    Rate { threads: usize },
    /// Nanoseconds from connect to the first byte back, the median.
    Latency,
    /// Keeps so many connections open until the next; 0 closes them.
    Hold { count: usize },
}

/// An agent, from outside.
#[derive(Debug)]
pub(crate) struct Agent {
    /// How it reaches the server: `tcp:ADDRESS`, or `socks:PATH=ADDRESS`.
    via: String,
    pid: u32,
    process: Process,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Agent {
    /// `command` becomes `agent`, or runs it.
    pub(crate) fn start(command: &mut Command, via: String) -> Result<Self, Error> {
        let (process, stdin, stdout) = Process::talk(command)?;
        let mut stdout = BufReader::new(stdout);
        let mut pid = String::new();
        stdout.read_line(&mut pid)?;
        let pid = pid
            .trim_end()
            .parse()
            .map_err(|_| "the load does not start")?;
        Ok(Self {
            via,
            pid,
            process,
            stdin,
            stdout,
        })
    }

    /// Waits until the way to the server is open.
    pub(crate) fn wait(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + OPEN_WITHIN;
        loop {
            match self.run(Load::Latency, 1) {
                Err(_) if Instant::now() < deadline => thread::sleep(Duration::from_millis(50)),
                other => return other.map(drop),
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The process that was started: another one, where that runs the agent as its child.
    pub(crate) fn runner(&self) -> u32 {
        self.process.pid()
    }

    /// Runs a load for so many milliseconds and gives its figure.
    pub(crate) fn run(&mut self, load: Load, milliseconds: u64) -> Result<f64, Error> {
        let load = match load {
            Load::Stream { streams, out: true } => format!("out {streams}"),
            Load::Stream {
                streams,
                out: false,
            } => format!("in {streams}"),
            Load::Rate { threads } => format!("rate {threads}"),
            Load::Latency => "latency 1".into(),
            Load::Hold { count } => format!("hold {count}"),
        };
        writeln!(self.stdin, "{load} {milliseconds} {}", self.via)?;
        let mut answer = String::new();
        self.stdout.read_line(&mut answer)?;
        let answer = answer.trim_end();
        answer
            .parse()
            .map_err(|_| format!("{load} over {}: {answer}", self.via).into())
    }
}

/// The agent itself.
pub(crate) fn serve() -> Result<(), Error> {
    println!("{}", std::process::id());
    let mut held = Vec::new();
    for line in io::stdin().lines() {
        match obey(&line?, &mut held) {
            Ok(figure) => println!("{figure}"),
            Err(error) => println!("failed: {error}"),
        }
    }
    Ok(())
}

fn obey(line: &str, held: &mut Vec<Connection>) -> Result<f64, Error> {
    let words: Vec<&str> = line.split(' ').collect();
    let [load, count, milliseconds, via] = words.as_slice() else {
        return Err(format!("`{line}` is no load").into());
    };
    let count: usize = count.parse()?;
    let time = Duration::from_millis(milliseconds.parse()?);
    match *load {
        "out" => together(count, || send(via, time)).map(|rates| rates.iter().sum()),
        "in" => together(count, || receive(via, time)).map(|rates| rates.iter().sum()),
        "rate" => together(count, || connections(via, time)).map(|all| {
            let connections: usize = all.iter().map(Vec::len).sum();
            connections as f64 / time.as_secs_f64()
        }),
        "latency" => {
            let mut times = connections(via, time)?;
            times.sort();
            let median = times.get(times.len() / 2).ok_or("no connection")?;
            Ok(median.as_nanos() as f64)
        }
        _ => {
            if count == 0 {
                exchange(&mut Connection::open(via)?, RELEASE)?;
            }
            held.clear();
            for _ in 0..count {
                let mut connection = Connection::open(via)?;
                exchange(&mut connection, HOLD)?;
                held.push(connection);
            }
            Ok(count as f64)
        }
    }
}

/// The results of `work` on so many threads.
fn together<T: Send>(
    count: usize,
    work: impl Fn() -> Result<T, Error> + Sync,
) -> Result<Vec<T>, Error> {
    let run = || work().map_err(|error| error.to_string());
    let results: Result<Vec<T>, String> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(run)).collect();
        let joined = threads.into_iter().map(thread::ScopedJoinHandle::join);
        joined
            .map(|result| result.unwrap_or_else(|_| Err("a thread panicked".into())))
            .collect()
    });
    Ok(results?)
}

fn send(via: &str, time: Duration) -> Result<f64, Error> {
    let mut connection = Connection::open(via)?;
    connection.write_all(&[SINK])?;
    let piece = vec![0; PIECE];
    let start = Instant::now();
    let mut bytes = 0;
    while start.elapsed() < time {
        bytes += connection.write(&piece)?;
    }
    connection.end()?;
    connection.read_exact(&mut [0])?;
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

fn receive(via: &str, time: Duration) -> Result<f64, Error> {
    let mut connection = Connection::open(via)?;
    connection.write_all(&[SOURCE])?;
    let mut piece = vec![0; PIECE];
    let start = Instant::now();
    let mut bytes = 0;
    while start.elapsed() < time {
        let read = connection.read(&mut piece)?;
        if read == 0 {
            return Err("the stream ended".into());
        }
        bytes += read;
    }
    Ok(bytes as f64 / start.elapsed().as_secs_f64())
}

/// What each connection took, one after the other.
fn connections(via: &str, time: Duration) -> Result<Vec<Duration>, Error> {
    let start = Instant::now();
    let mut times = Vec::new();
    while start.elapsed() < time {
        let before = Instant::now();
        exchange(&mut Connection::open(via)?, ECHO)?;
        times.push(before.elapsed());
    }
    Ok(times)
}

fn exchange(connection: &mut Connection, byte: u8) -> io::Result<()> {
    connection.write_all(&[byte])?;
    connection.read_exact(&mut [0])
}

/// A connection to the server.
enum Connection {
    Tcp(TcpStream),
    /// The link itself, after SOCKS5.
    Link(UnixStream),
}

impl Connection {
    fn open(via: &str) -> Result<Self, Error> {
        if let Some(address) = via.strip_prefix("tcp:") {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            return Ok(Self::Tcp(stream));
        }
        let link = via
            .strip_prefix("socks:")
            .and_then(|rest| rest.split_once('='));
        let (path, address) = link.ok_or_else(|| format!("`{via}` is no way"))?;
        let mut stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        // Greeting and request in one write, as the old library sends them.
        let SocketAddr::V4(to) = address.parse()? else {
            return Err("IPv4 only".into());
        };
        let mut request = vec![5, 1, 0, 5, 1, 0, 1];
        request.extend_from_slice(&to.ip().octets());
        request.extend_from_slice(&to.port().to_be_bytes());
        stream.write_all(&request)?;
        let mut reply = [0; 12];
        stream.read_exact(&mut reply)?;
        if reply[3] != 0 {
            return Err(format!("refused with reply {}", reply[3]).into());
        }
        Ok(Self::Link(stream))
    }

    fn end(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Link(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Link(stream) => stream.read(buffer),
        }
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Link(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
