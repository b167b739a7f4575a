//! Names, TCP out and in, a relay that is killed or stopped and nameservers that change, for as long as
//! one likes; memory, descriptors and threads of proxify and the relay must stay flat.
//!
//! `cargo test --release -p tests --test soak -- --minutes 10`, or 60. Flat means that proxify's most in
//! the last quarter is no more than in the second and some slack: the first one is for all that grows to
//! its size once. The relay is killed in the first half and one lives through the second, so its last
//! quarter is held against the third.

use std::env;
use std::process::ExitCode;

use tests::{Ran, file, known, sandbox};

/// What the load is and what goes wrong meanwhile. Each loop of TCP says how often it came through.
const SCRIPT: &str = "
D=/run/sandbox/soak
mkdir $D
seconds() { cut -d. -f1 /proc/uptime; }
goes_on() { [ ! -e $D/over ]; }
vpc() { $SANDBOX ctl vpc $*; }
vpc python3 $BULK serve 0.0.0.0:9000 &
python3 $TCP serve 0.0.0.0:8000 &
$PROBE ask $D 0 2 tcp >$D/counts & asker=$!
until [ -e $D/asking ]; do kill -0 $asker || exit 1; sleep 0.1; done
$PROBE sample $D/over $PPID /run/sandbox/relay.pid >$D/samples & sampler=$!

out() {
    python3 $BULK row 10.0.4.1:9000 100 &&
        python3 $BULK put 10.0.4.1:9000 3000000 && python3 $BULK get 10.0.4.1:9000 3000000
}
come_in() { vpc python3 $TCP row 10.0.0.10:8000 50 && vpc python3 $TCP echo 10.0.0.10:8000 1000000; }
loop() { while goes_on; do $1 >/dev/null 2>&1 && echo; sleep 0.2; done >$D/$1; }
loop out & loop come_in &
breaks() {
    while goes_on; do
        sleep 11
        if [ $(seconds) -lt $half ]; then
            $SANDBOX ctl relay kill
            $SANDBOX ctl relay start
        else
            relay=$(cat /run/sandbox/relay.pid)
            kill -STOP $relay
            sleep 2
            kill -CONT $relay
        fi
    done
}
changes() {
    while goes_on; do
        for server in 169.254.169.253 10.0.0.2; do
            sleep 7
            $SANDBOX ctl parent sh -c \"echo nameserver $server >/etc/resolv.conf\"
        done
    done
}
half=$(($(seconds) + SECONDS_LONG / 2))
end=$(($(seconds) + SECONDS_LONG))
breaks & changes &
while [ $(seconds) -lt $end ] && kill -0 $asker; do sleep 0.5; done
touch $D/over
wait $asker $sampler || exit 1
echo out=$(wc -l <$D/out) in=$(wc -l <$D/come_in) $(cat $D/counts)
cat $D/samples
";

/// What the last quarter's most may be above an earlier one's: KiB, descriptors and threads. Connections
/// come and go all the time, some of them kept by the kernel for a while.
const SLACK: [u64; 3] = [2048, 64, 2];

fn main() -> ExitCode {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let minutes = match words[..] {
        [] => Some(1),
        ["--minutes", minutes] => minutes.parse().ok().filter(|minutes| *minutes > 0),
        _ => None,
    };
    let Some(minutes) = minutes else {
        eprintln!("usage: soak [--minutes N]");
        return ExitCode::from(64);
    };
    let ran = run(minutes);
    let stdout = ran.stdout();
    let mut lines = stdout.lines();
    let counts = lines.next().unwrap_or_default();
    let samples: Vec<Sample> = lines.filter_map(Sample::read).collect();
    println!("{minutes} min: {counts}\n");
    let is_flat = is_flat(&samples);
    // `out=` and `in=` too: a soak without TCP would be none.
    let count = |name: &str| {
        let words = counts.split_whitespace();
        let mut values = words.filter_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.next().and_then(|value| value.parse::<u64>().ok())
    };
    let is_well = ["unanswered", "wrong", "servfail"]
        .iter()
        .all(|name| count(name) == Some(0))
        && ["out", "in", "getaddrinfo", "dig"]
            .iter()
            .all(|name| count(name) > Some(0));
    if ran.status() == Some(0) && is_flat && is_well {
        println!("\nflat");
        return ExitCode::SUCCESS;
    }
    eprintln!("{ran}");
    ExitCode::FAILURE
}

fn run(minutes: u64) -> Ran {
    let clients = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");
    let zone = file!("soak.zone", known::zone());
    sandbox!()
        .options(&["--zone", &zone.display().to_string()])
        .env("SECONDS_LONG", (minutes * 60).to_string())
        .env("BULK", format!("{clients}/bulk.py"))
        .env("TCP", format!("{clients}/tcp.py"))
        .env("PROXIFY_PUBLISH", "8000")
        // Full soon, so that new names make nothing grow.
        .env("PROXIFY_CACHE_SIZE", "64KiB")
        .run(SCRIPT)
}

/// Of proxify and of the relay: KiB, descriptors, threads.
#[derive(Clone, Copy, Debug, Default)]
struct Sample([[u64; 3]; 2]);

impl Sample {
    /// A line of `probe sample`; a relay that does not run holds nothing.
    fn read(line: &str) -> Option<Self> {
        let mut held = line.split_whitespace().map(|program| {
            let mut numbers = program.split(',').map(|number| number.parse().unwrap_or(0));
            [(); 3].map(|()| numbers.next().unwrap_or(0))
        });
        Some(Self([held.next()?, held.next()?]))
    }

    fn most(samples: &[Self]) -> Self {
        let max = |a: [u64; 3], b: [u64; 3]| [a[0].max(b[0]), a[1].max(b[1]), a[2].max(b[2])];
        samples.iter().fold(Self::default(), |most, sample| {
            Self([max(most.0[0], sample.0[0]), max(most.0[1], sample.0[1])])
        })
    }
}

fn is_flat(samples: &[Sample]) -> bool {
    let quarters: Vec<Sample> = samples
        .chunks(samples.len().div_ceil(4).max(1))
        .map(Sample::most)
        .collect();
    println!(
        "| the most in a quarter | proxify: KiB | descriptors | threads | relay: KiB | descriptors | threads |"
    );
    println!("| --- | --: | --: | --: | --: | --: | --: |");
    for (quarter, Sample(held)) in quarters.iter().enumerate() {
        let numbers = held
            .concat()
            .iter()
            .map(u64::to_string)
            .collect::<Vec<_>>()
            .join(" | ");
        println!("| {} | {numbers} |", quarter + 1);
    }
    let [_, second, third, last] = quarters[..] else {
        return false;
    };
    let is_kept = |last: [u64; 3], before: [u64; 3]| {
        let limits = before
            .iter()
            .zip(SLACK)
            .map(|(before, slack)| before + slack);
        last.iter().zip(limits).all(|(last, limit)| *last <= limit)
    };
    is_kept(last.0[0], second.0[0]) && is_kept(last.0[1], third.0[1])
}
