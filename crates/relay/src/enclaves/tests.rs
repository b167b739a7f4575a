use report::Level;
use tokio::time::advance;

use super::*;

const ENCLAVE: Peer = Peer::Cid(16);

fn line(text: impl Into<String>) -> Line {
    Line {
        level: Level::Warn,
        text: text.into(),
        left_out: 0,
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_enclave_says_is_kept_until_some_minutes_after_its_end() {
    let enclaves = Arc::new(Enclaves::default());
    let place = enclaves.enter(ENCLAVE).unwrap();
    let other = enclaves.enter(Peer::Cid(4)).unwrap();
    assert_eq!(enclaves.snapshot()[1].status, None);
    advance(Duration::from_secs(3)).await;
    let status = Status {
        pid: 7,
        ..Status::default()
    };
    place.status(status.clone());
    place.line(line("one"));
    advance(Duration::from_secs(2)).await;
    let shown = enclaves.snapshot();
    assert_eq!(
        shown.iter().map(|shown| shown.peer).collect::<Vec<_>>(),
        [Peer::Cid(4), ENCLAVE]
    );
    assert_eq!(shown[1].status.as_ref(), Some(&status));
    assert_eq!(shown[1].received.elapsed().as_secs(), 2);
    assert_eq!(shown[1].connected.elapsed().as_secs(), 5);
    assert_eq!(shown[1].lines[0].1.text, "one");

    drop(place);
    advance(FORGOTTEN - Duration::from_secs(1)).await;
    let shown = enclaves.snapshot();
    assert_eq!(
        shown[1].ended.unwrap().elapsed().as_secs(),
        FORGOTTEN.as_secs() - 1
    );
    assert!(shown[1].status.is_some());
    advance(Duration::from_secs(1)).await;
    assert_eq!(enclaves.snapshot().len(), 1);
    drop(other);
}

#[tokio::test]
async fn one_that_comes_again_has_one_entry() {
    let enclaves = Arc::new(Enclaves::default());
    drop(enclaves.enter(ENCLAVE).unwrap());
    let _place = enclaves.enter(ENCLAVE).unwrap();
    let shown = enclaves.snapshot();
    assert_eq!((shown.len(), shown[0].ended), (1, None));
}

#[tokio::test(start_paused = true)]
async fn all_that_is_kept_is_bounded() {
    let enclaves = Arc::new(Enclaves::default());
    let places: Vec<_> = (0..10).map(|_| enclaves.enter(ENCLAVE)).collect();
    assert_eq!(
        places.iter().filter(|place| place.is_ok()).count(),
        MOST_OF_ONE
    );
    let place = places[0].as_ref().unwrap();
    for number in 0..1000 {
        place.line(line(number.to_string()));
    }
    let lines = enclaves.snapshot()[0].lines.clone();
    let texts: Vec<&str> = lines.iter().map(|(_, line)| line.text.as_str()).collect();
    assert_eq!((texts.len(), texts[0], texts[99]), (LINES, "900", "999"));
    for _ in 0..1000 {
        place.line(line("é".repeat(8000)));
    }
    let lines = enclaves.snapshot()[0].lines.clone();
    assert_eq!(lines.len(), LINES_BYTES / MAX_LINE);
    assert!(lines.iter().all(|(_, line)| line.text.len() == MAX_LINE));

    let mut others = Vec::new();
    for cid in 100..10_000 {
        others.extend(enclaves.enter(Peer::Cid(cid)));
    }
    assert_eq!(enclaves.snapshot().len(), MOST);
    assert!(matches!(enclaves.enter(Peer::Cid(17)), Err(Full::All)));
    // Those that have ended make room, the first first.
    let (first, second) = (others.remove(0).peer(), others.remove(0).peer());
    let _new = enclaves.enter(Peer::Cid(17)).unwrap();
    let shown = enclaves.snapshot();
    let is_shown = |peer| shown.iter().any(|shown| shown.peer == peer);
    assert_eq!(
        [first, second, Peer::Cid(17)].map(is_shown),
        [false, true, true]
    );
}

#[tokio::test(start_paused = true)]
async fn ten_lines_a_minute_go_into_the_log_however_often_it_connects() {
    let enclaves = Arc::new(Enclaves::default());
    let mut logged = 0;
    for _ in 0..10 {
        let place = enclaves.enter(ENCLAVE).unwrap();
        logged += (0..10).filter_map(|_| place.line(line("x"))).count();
    }
    assert_eq!(logged, 10);
    let place = enclaves.enter(ENCLAVE).unwrap();
    advance(LINE_EVERY).await;
    assert_eq!(place.line(line("y")).unwrap().1, 90);
    assert_eq!(place.line(line("z")), None);
    assert_eq!(enclaves.tidy(), []);
    advance(LINE_EVERY * LINES_AT_ONCE).await;
    assert_eq!(enclaves.tidy(), [(ENCLAVE, 1)]);
    assert_eq!(enclaves.tidy(), []);
    assert!(enclaves.state().allowances.is_empty());
}
