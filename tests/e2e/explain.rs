//! `proxify explain`: why a name is answered as it is.

use tests::sandbox;

/// `explain NAME` shows what does not change from run to run, and the exit status.
const TOOLS: &str = "
    PROXIFY=$(dirname $SANDBOX)/proxify
    explain() {
        $PROXIFY explain $* > /run/explained
        status=$?
        sed -E 's/answered in [^:]*(:|$)/answered in T\\1/; s/fresh for [0-9]+ s, .* old/fresh for T/
            s/^(  failed +).* ago/\\1T ago/; s/after [0-9].*/after T/; s/, [0-9].* old;/, T old;/
            s/given for .* more/given for T more/' /run/explained
        echo \"= $status\"
    }
";

/// The endpoint is withdrawn: the cache has its addresses, upstream others.
#[test]
fn what_is_cached_beside_what_upstream_says_now() {
    let ran = sandbox!().run(&format!(
        "{TOOLS}
         dig +short dual.kv.internal >/dev/null
         before=$(wc -l < /run/sandbox/queries)
         explain --type a v4only.kv.internal
         dig +short ec2.us-east-1.amazonaws.com >/dev/null
         touch /run/sandbox/without/ec2
         explain --type A ec2.us-east-1.amazonaws.com |
             sed -nE 's/^ +[0-9]+  A  /A /p; /^  cache|now|=/p' | sort
         # Only dig asked for what is in the cache, and that is there still.
         dig +short ec2.us-east-1.amazonaws.com | sort
         echo $(($(wc -l < /run/sandbox/queries) - before)) asked"
    ));
    ran.assert_prints(&[
        "v4only.kv.internal resolves: 10.0.1.52",
        "",
        "  search    v4only.kv.internal, then v4only.kv.internal.ec2.internal (ndots is 1)",
        "  hosts     not in /etc/hosts",
        "  route     no --route takes it",
        "  asked     10.0.0.2:53  answers  the parent's resolv.conf",
        "",
        "  A",
        "  cache     nothing",
        "  now       10.0.0.2:53 answered in T",
        "              60  A  10.0.1.52",
        "= 0",
        "  cache     fresh for T",
        "  now       10.0.0.2:53 answered in T",
        "= 0",
        "A 10.0.1.17",
        "A 10.0.2.17",
        "A 3.218.180.17",
        "A 3.218.181.17",
        "That is the cache's word: upstream says otherwise now. `proxify cache flush ec2.us-east-1.amazonaws.com`",
        "10.0.1.17",
        "10.0.2.17",
        "3 asked",
    ]);
}

#[test]
fn what_does_not_resolve_says_why() {
    let ran = sandbox!().run(&format!(
        "{TOOLS}
         echo '10.9.9.9 pinned.example' > /etc/hosts
         for name in nothing.kv.internal v6only.kv.internal. localhost a.invalid; do
             explain --type A $name | grep -v -e search -e asked -e cache -e '^$' -e '^  A'
         done
         explain pinned.example | grep -e hosts -e ="
    ));
    ran.assert_prints(&[
        "nothing.kv.internal does not exist",
        "  hosts     not in /etc/hosts",
        "  route     no --route takes it",
        "  now       10.0.0.2:53 answered in T: no such name",
        "nothing.kv.internal.ec2.internal",
        "  route     no --route takes it",
        "  now       10.0.0.2:53 answered in T: no such name",
        "= 1",
        "v6only.kv.internal. exists, without A",
        "  hosts     not in /etc/hosts",
        "  route     no --route takes it",
        "  now       10.0.0.2:53 answered in T: no such type",
        "= 1",
        "localhost resolves: 127.0.0.1",
        "  hosts     not in /etc/hosts",
        "localhost.ec2.internal",
        "  route     no --route takes it",
        "  now       10.0.0.2:53 answered in T: no such name",
        "localhost",
        "  route     none: proxify answers it by itself, for localhost is this machine (RFC 6761)",
        "  now       proxify answers",
        "              3600  A  127.0.0.1",
        "= 0",
        "a.invalid does not exist",
        "  hosts     not in /etc/hosts",
        "  route     none: proxify answers it by itself, for names under invalid never exist (RFC 6761)",
        "  now       proxify answers: no such name",
        "a.invalid.ec2.internal",
        "  route     no --route takes it",
        "  now       10.0.0.2:53 answered in T: no such name",
        "= 1",
        "pinned.example is in /etc/hosts: 10.9.9.9",
        "  hosts     /etc/hosts has 10.9.9.9: programs ask nobody",
        "= 0",
    ]);
}

#[test]
fn a_short_name_is_followed_through_the_search_list() {
    let ran = sandbox!().run(&format!(
        "{TOOLS}
         $SANDBOX ctl parent sh -c 'printf \"search nowhere.internal kv.internal\\nnameserver 10.0.0.2\\n\" > /etc/resolv.conf'
         for attempt in $(seq 100); do grep -q nowhere /etc/resolv.conf && break; sleep 0.1; done
         dig +short dual.kv.internal >/dev/null
         explain v4only
         explain v4only. | head -1"
    ));
    ran.assert_prints(&[
        "v4only resolves: 10.0.1.52",
        "",
        "  search    v4only.nowhere.internal, then v4only.kv.internal, v4only (ndots is 1)",
        "  hosts     not in /etc/hosts",
        "",
        "v4only.nowhere.internal",
        "  route     no --route takes it",
        "  asked     10.0.0.2:53  answers  the parent's resolv.conf",
        "",
        "  A",
        "  cache     nothing",
        "  now       10.0.0.2:53 answered in T: no such name",
        "",
        "  AAAA",
        "  cache     nothing",
        "  now       10.0.0.2:53 answered in T: no such name",
        "",
        "v4only.kv.internal",
        "  route     no --route takes it",
        "  asked     10.0.0.2:53  answers  the parent's resolv.conf",
        "",
        "  A",
        "  cache     nothing",
        "  now       10.0.0.2:53 answered in T",
        "              60  A  10.0.1.52",
        "",
        "  AAAA",
        "  cache     nothing",
        "  now       10.0.0.2:53 answered in T: no such type",
        "= 0",
        "v4only. does not exist",
    ]);
}

/// AmazonDNS is silent, then refuses to be reached: the failure, its reason, and the stale answer.
#[test]
fn failures_have_their_reason_and_stale_answers_their_name() {
    let ran = sandbox!().run(&format!(
        "{TOOLS}
         dig +short short.kv.internal >/dev/null
         touch /run/sandbox/without/10.0.0.2
         explain --type A sqs.us-east-1.amazonaws.com. | grep -v -e search -e hosts -e route
         dig +time=5 +tries=1 sqs.us-east-1.amazonaws.com >/dev/null
         explain --type A short.kv.internal. | grep -e resolves -e cache -e now
         $SANDBOX ctl relay kill
         explain --type A sqs.us-east-1.amazonaws.com. | grep -e resolve -e cache -e failed -e now"
    ));
    ran.assert_prints(&[
        "sqs.us-east-1.amazonaws.com. does not resolve: SERVFAIL, 10.0.0.2:53 did not answer (EDE 22: \
         No Reachable Authority)",
        "",
        "  asked     10.0.0.2:53  answers  the parent's resolv.conf",
        "",
        "  A",
        "  cache     nothing",
        "  now       SERVFAIL, 10.0.0.2:53 did not answer (EDE 22: No Reachable Authority) after T",
        "= 1",
        "short.kv.internal. resolves from the cache alone, upstream does not answer: 10.0.1.54",
        "  cache     stale, T old; given for T more while upstream is silent",
        "  now       SERVFAIL, 10.0.0.2:53 did not answer (EDE 22: No Reachable Authority) after T",
        "sqs.us-east-1.amazonaws.com. does not resolve: SERVFAIL, no connection to the parent (EDE 23: \
         Network Error)",
        "  cache     nothing",
        "  failed    T ago: 10.0.0.2:53 did not answer (EDE 22)",
        "  now       SERVFAIL, no connection to the parent (EDE 23: Network Error) after T",
    ]);
}

#[test]
fn machines_get_json_and_types_a_number() {
    let ran = sandbox!()
        .env("PROXIFY_ROUTE", "kv.internal=10.0.0.2")
        .run(&format!(
            "{TOOLS}
             $PROXIFY explain --json chain.kv.internal > /run/json; echo $?
             python3 -c '
import json
report = json.load(open(\"/run/json\"))
print(report[\"verdict\"], len(report[\"tried\"]))
first = report[\"tried\"][0]
print(first[\"route\"], first[\"nameservers\"][0][\"source\"])
for record in first[\"now\"][\"answer\"][\"records\"]:
    print(record[\"type\"], record[\"data\"])'
             $PROXIFY explain 10.0.1.17 | grep -e resolves
             $PROXIFY explain --type TYPE65280 unknown.kv.internal | tail -1
             $PROXIFY explain --type NONSENSE a 2>/dev/null; echo $?
             $PROXIFY explain 'a b' 2>/dev/null; echo $?
             $PROXIFY explain 2>/dev/null; echo $?"
        ));
    ran.assert_prints(&[
        "0",
        "resolves 2",
        "kv.internal --route",
        "CNAME link1.kv.internal",
        "CNAME link2.kv.internal",
        "CNAME end.kv.internal",
        "A 10.0.1.51",
        "10.0.1.17 resolves: ip-10-0-1-17.ec2.internal",
        r"              60  TYPE65280  \# 6 DEADBEEF0102",
        "64",
        "64",
        "64",
    ]);
}

#[test]
fn without_a_proxify_there_is_nothing_to_explain() {
    let ran = sandbox!()
        .options(&["--no-proxify"])
        .run("$(dirname $SANDBOX)/proxify explain ec2.us-east-1.amazonaws.com; echo $?");
    ran.assert_prints(&["1"]);
    assert!(
        ran.stderr().contains("no proxify serves names here"),
        "{ran}"
    );
}
