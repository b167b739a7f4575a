//! What is broken, and how.

/// A fault, as a script that breaks something while programs ask.
pub(crate) struct Fault {
    /// Its row's.
    pub(crate) title: &'static str,
    /// Its part of all lookups in the long form: few where upstream is slow.
    pub(crate) share: u64,
    /// How long it lasts at least, seconds: in the short form and in the long one.
    lasts: (u64, u64),
    /// Set for the sandbox, proxify and the script; `$CLOCK` is a file of the fault's own.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    pub(crate) script: &'static str,
    /// Whether the script's output shows that something was broken.
    pub(crate) is_broken: fn(&str) -> bool,
}

impl Fault {
    pub(crate) fn seconds(&self, is_long: bool) -> u64 {
        if is_long { self.lasts.1 } else { self.lasts.0 }
    }
}

/// Every packet between the relay and its nameserver passes `probe impair`.
const IMPAIRED: &str = "
$SANDBOX ctl vpc ip address add 10.0.0.3/16 dev vpc0
$SANDBOX ctl vpc $PROBE impair 10.0.0.3:53 10.0.0.2:53 $IMPAIRMENT 20261121 $D/begun $D/asking $D/end >$D/impaired & impair=$!
$SANDBOX ctl parent sh -c 'echo nameserver 10.0.0.3 >/etc/resolv.conf'
until [ -e $D/begun ]; do dig +tries=1 +time=1 $(seconds).new.known.example >$D/dig; sleep 0.2; done
start
while goes_on $LASTS; do sleep 0.2; done
$SANDBOX ctl parent sh -c 'echo nameserver 10.0.0.2 >/etc/resolv.conf'
finish
touch $D/end
wait $impair
cat $D/impaired";

const fn impaired(title: &'static str, variables: &'static [(&str, &str)]) -> Fault {
    Fault {
        title,
        share: 1,
        lasts: (10, 30),
        variables,
        script: IMPAIRED,
        is_broken: |told| told.contains(" packets, ") && !told.contains("\n0 packets"),
    }
}

pub(crate) const FAULTS: &[Fault] = &[
    // First, since it lasts longest.
    Fault {
        title: "AmazonDNS silent for 60 s",
        share: 20,
        lasts: (15, 75),
        variables: &[],
        script: "
start
while goes_on $LASTS; do
    touch /run/sandbox/without/10.0.0.2
    sleep $((LASTS * 4 / 5))
    echo stale: $(dig n0.known.example | grep -c 'EDE: 3 ')
    rm /run/sandbox/without/10.0.0.2
    sleep $((LASTS / 5))
done
finish",
        is_broken: |told| told.contains("stale: 1"),
    },
    impaired("5 % of packets lost", &[("IMPAIRMENT", "5,0,0")]),
    impaired("30 % of packets lost", &[("IMPAIRMENT", "30,0,0")]),
    impaired(
        "packets up to 0.4 s late, and so out of order",
        &[("IMPAIRMENT", "0,0,400")],
    ),
    impaired("30 % of packets twice", &[("IMPAIRMENT", "0,30,20")]),
    impaired(
        "10 % lost, 10 % twice, up to 1 s late",
        &[("IMPAIRMENT", "10,10,1000")],
    ),
    Fault {
        title: "relay killed every 2 s",
        share: 20,
        lasts: (10, 60),
        variables: &[],
        script: "
start
while goes_on $LASTS; do
    $SANDBOX ctl relay kill && echo killed
    $SANDBOX ctl relay start
    sleep 2
done
finish",
        is_broken: |told| told.matches("killed").count() >= 3,
    },
    Fault {
        title: "relay stopped for 6 s and continued",
        share: 20,
        lasts: (10, 60),
        variables: &[],
        script: "
start
relay=$(cat /run/sandbox/relay.pid)
while goes_on $LASTS; do
    kill -STOP $relay && echo stopped
    sleep 6
    kill -CONT $relay
    sleep 3
done
finish",
        is_broken: |told| told.contains("stopped"),
    },
    Fault {
        title: "nameserver replaced, the old one silent at once",
        share: 20,
        lasts: (12, 60),
        variables: &[],
        script: "
start
while goes_on $LASTS; do
    for server in 169.254.169.253 10.0.0.2; do
        touch /run/sandbox/without/169.254.169.253 /run/sandbox/without/10.0.0.2
        rm /run/sandbox/without/$server
        $SANDBOX ctl parent sh -c \"echo nameserver $server >/etc/resolv.conf\"
        $PROBE until 5 $(seconds).new.known.example 10.0.4.200 && echo replaced
        sleep 1
    done
done
finish",
        is_broken: |told| told.matches("replaced").count() >= 2,
    },
    Fault {
        title: "no descriptors left, and the relay restarted",
        share: 20,
        lasts: (8, 40),
        // Over TCP nobody can be answered then.
        variables: &[("TRANSPORT", "udp")],
        script: "
limit=$(awk '/^Max open files/ {print $4}' /proc/$PPID/limits)
start
while goes_on $LASTS; do
    prlimit --pid $PPID --nofile=3: && echo none left
    $SANDBOX ctl relay kill
    $SANDBOX ctl relay start
    sleep 3
    prlimit --pid $PPID --nofile=$limit:
    sleep 2
done
finish",
        is_broken: |told| told.contains("none left"),
    },
    Fault {
        title: "disks full, and resolv.conf removed",
        share: 20,
        lasts: (8, 30),
        variables: &[],
        script: "
# At most that much is written, whatever the disk takes.
hog() { head -c 100000 /dev/zero >>$1/hog; }
fill() {
    echo >$1/hog
    mount -o remount,size=$(df -k --output=used $1 | tail -1 | tr -d ' ')k $1
    hog $1
    echo more >$1/more || echo full
}
start
for disk in /etc /run; do fill $disk 2>/dev/null; done
while goes_on $LASTS; do
    rm -f /etc/resolv.conf
    hog /etc 2>/dev/null
    sleep 0.5
done
for disk in /etc /run; do mount -o remount,size=1m $disk; done
for attempt in $(seq 100); do grep -q 127.0.0.1 /etc/resolv.conf && break; sleep 0.1; done
grep ^nameserver /etc/resolv.conf
finish",
        is_broken: |told| {
            told.matches("full").count() == 2 && told.contains("nameserver 127.0.0.1")
        },
    },
    Fault {
        title: "clock stepped by a year, both ways",
        share: 20,
        lasts: (8, 30),
        variables: &[
            (
                "LD_PRELOAD",
                "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1",
            ),
            // A step of the clock leaves CLOCK_MONOTONIC alone (clock_gettime(2)).
            ("DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_TIMESTAMP_FILE", "$CLOCK"),
            ("FAKETIME_NO_CACHE", "1"),
        ],
        script: "
grep -q libfaketime /proc/$PPID/maps && echo proxify has the clock
# dig's own timers follow the clock that is stepped.
clock=$LD_PRELOAD
unset LD_PRELOAD
start
export LD_PRELOAD=$clock
year=$(date +%Y)
while goes_on $LASTS; do
    for step in +1y -1y +0; do
        echo $step >$CLOCK
        [ $(date +%Y) = $((year + ${step%y})) ] && echo stepped
        sleep 1
    done
done
finish",
        is_broken: |told| {
            told.contains("proxify has the clock") && told.matches("stepped").count() >= 3
        },
    },
];
