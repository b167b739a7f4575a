//! Each step alone, hanging sources, and better ones that come later, in paused time.

use std::fs;
use std::path::PathBuf;

use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::fake_parent::{Behaviour, FakeParent, Part};
use crate::{Nameservers, discover};

mod lying;

/// An enclave that discovers, on a parent whose behaviour a test changes.
struct Lab {
    directory: tempfile::TempDir,
    behaviour: watch::Sender<Behaviour>,
    found: watch::Receiver<Option<Arc<Found>>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Lab {
    fn new(wanted: &str, image: &str, behaviour: Behaviour) -> Self {
        let mut lab = Self::without_parent(wanted, image, "", behaviour);
        lab.start_parent();
        lab
    }

    /// With an override file, unless it is empty.
    fn with_override(text: &str, behaviour: Behaviour) -> Self {
        let mut lab = Self::without_parent("auto", "", text, behaviour);
        lab.start_parent();
        lab
    }

    fn without_parent(wanted: &str, image: &str, text: &str, behaviour: Behaviour) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Files {
            override_file: directory.path().join("resolv_override.conf"),
            image: image.as_bytes().to_vec(),
        };
        if !text.is_empty() {
            fs::write(&files.override_file, text).unwrap();
        }
        let prefix = directory.path().join("relay");
        let parent = Parent::new(link::Address::Unix(prefix), link::DEFAULT_PORT);
        let (sender, found) = watch::channel(None);
        let wanted: Nameservers = wanted.parse().unwrap();
        let discovery = tokio::spawn(discover(wanted, parent, files, sender));
        Self {
            behaviour: watch::Sender::new(behaviour),
            directory,
            found,
            tasks: vec![discovery],
        }
    }

    fn start_parent(&mut self) {
        let parent = FakeParent::at(&self.directory.path().join("relay"));
        let behaviour = self.behaviour.subscribe();
        self.tasks
            .push(tokio::spawn(async move { parent.behave(behaviour).await }));
    }

    fn override_file(&self) -> PathBuf {
        self.directory.path().join("resolv_override.conf")
    }

    /// The next values, and how long they took.
    async fn next(&mut self) -> (Source, Vec<String>, Duration) {
        let start = Instant::now();
        let changed = async {
            loop {
                self.found.changed().await.unwrap();
                let found = self.found.borrow_and_update().clone();
                if let Some(found) = found {
                    return found;
                }
            }
        };
        let found = timeout(Duration::from_secs(600), changed).await;
        let found = found.expect("something is found");
        let nameservers = found.nameservers.iter().map(ToString::to_string).collect();
        (found.source, nameservers, start.elapsed())
    }

    async fn assert_next(&mut self, source: Source, nameserver: &str, within: Duration) {
        let (from, nameservers, took) = self.next().await;
        assert_eq!((from, nameservers), (source, vec![nameserver.to_owned()]));
        assert!(took <= within, "{took:?}");
    }

    async fn assert_nothing_new(&mut self, time: Duration) {
        sleep(time).await;
        assert!(!self.found.has_changed().unwrap());
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Everything answers, each source with an address of its own.
fn all() -> Behaviour {
    Behaviour {
        resolv_conf: Part::Says("nameserver 10.1.0.2\n".to_owned()),
        getter: Part::Says("nameserver 10.2.0.2\nsearch old.example\n".to_owned()),
        imds: Part::Says("10.3.0.0/16".to_owned()),
        nameservers: vec![amazon_dns::LINK_LOCAL, amazon_dns::IPV6],
        ..Behaviour::default()
    }
}

const IMAGE: &str = "nameserver 127.0.0.1\nnameserver 10.4.0.2\n";

/// Nobody waits where something answers.
const AT_ONCE: Duration = Duration::from_millis(50);

#[tokio::test(start_paused = true)]
async fn given_nameservers_are_there_at_once_and_nobody_is_asked() {
    // Nothing listens there; a step that asked would only be able to fail.
    let mut lab = Lab::without_parent("cidr:10.7.0.0/16", IMAGE, "", Behaviour::default());
    lab.assert_next(Source::CommandLine, "10.7.0.2:53", AT_ONCE)
        .await;
    lab.assert_nothing_new(Duration::from_secs(600)).await;
    assert!(
        !lab.tasks[0].is_finished(),
        "the sender stays, so that receivers are not told of an end"
    );
}

#[tokio::test(start_paused = true)]
async fn that_no_source_has_any_is_told_once() {
    let nothing = Behaviour {
        resolv_conf: Part::Says("search example\n".to_owned()),
        hangs: true,
        ..Behaviour::default()
    };
    let mut lab = Lab::new("auto", "", nothing);
    let told = timeout(PASS + AT_ONCE, lab.found.changed()).await;
    told.expect("it is told in time").unwrap();
    assert_eq!(*lab.found.borrow_and_update(), None);
    lab.assert_nothing_new(Duration::from_secs(600)).await;
    // While the relay is away nobody can have been asked.
    let mut lab = Lab::without_parent("auto", "", "", Behaviour::default());
    lab.assert_nothing_new(Duration::from_secs(600)).await;
}

#[tokio::test(start_paused = true)]
async fn each_source_is_taken_when_all_before_it_fail() {
    let mut parent = all();
    let mut lab = Lab::with_override("nameserver 10.0.0.9\n", parent.clone());
    lab.assert_next(Source::Override, "10.0.0.9:53", AT_ONCE)
        .await;

    let mut lab = Lab::new("auto", IMAGE, parent.clone());
    lab.assert_next(Source::Parent, "10.1.0.2:53", AT_ONCE)
        .await;

    let mut old = parent.clone();
    old.is_old = true;
    let mut lab = Lab::new("auto", IMAGE, old);
    lab.assert_next(Source::Getter, "10.2.0.2:53", AT_ONCE)
        .await;

    parent.resolv_conf = Part::Broken;
    let mut lab = Lab::new("auto", IMAGE, parent.clone());
    lab.assert_next(Source::Imds, "10.3.0.2:53", AT_ONCE).await;

    parent.imds = Part::Broken;
    let mut lab = Lab::new("auto", IMAGE, parent.clone());
    lab.assert_next(Source::Image, "10.4.0.2:53", AT_ONCE).await;

    let mut lab = Lab::new("auto", "nameserver 127.0.0.1\n", parent.clone());
    lab.assert_next(Source::LinkLocal, "169.254.169.253:53", AT_ONCE)
        .await;

    parent.nameservers = vec![amazon_dns::IPV6];
    let mut lab = Lab::new("auto", "", parent.clone());
    lab.assert_next(Source::Ipv6, "[fd00:ec2::253]:53", AT_ONCE)
        .await;

    parent.nameservers.clear();
    let mut lab = Lab::new("auto", "", parent.clone());
    lab.assert_nothing_new(Duration::from_secs(60)).await;
    parent.nameservers = vec![amazon_dns::LINK_LOCAL];
    lab.behaviour.send_replace(parent);
    lab.assert_next(
        Source::LinkLocal,
        "169.254.169.253:53",
        NOTHING_KNOWN + AT_ONCE,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_named_alone_is_asked_alone() {
    let mut lab = Lab::new("imds", IMAGE, all());
    lab.assert_next(Source::Imds, "10.3.0.2:53", AT_ONCE).await;
    lab.assert_nothing_new(Duration::from_secs(600)).await;

    let only_parent = Behaviour {
        resolv_conf: Part::Broken,
        ..all()
    };
    let mut lab = Lab::new("parent", IMAGE, only_parent);
    lab.assert_nothing_new(Duration::from_secs(600)).await;

    let old = Behaviour {
        is_old: true,
        ..all()
    };
    let mut lab = Lab::new("parent", IMAGE, old);
    lab.assert_next(Source::Getter, "10.2.0.2:53", AT_ONCE)
        .await;
    assert_eq!(lab.found.borrow().as_ref().unwrap().search, ["old.example"]);
}

/// Where a relay of ours has no nameserver to tell, or hangs, the getter is not asked.
#[tokio::test(start_paused = true)]
async fn the_getter_is_an_old_parents() {
    for (resolv_conf, hangs) in [
        (Part::Says("nameserver 127.0.0.53\n".to_owned()), false),
        (Part::Broken, false),
        (Part::Broken, true),
    ] {
        let parent = Behaviour {
            resolv_conf,
            hangs,
            ..all()
        };
        let mut lab = Lab::new("auto", IMAGE, parent.clone());
        lab.assert_next(Source::Imds, "10.3.0.2:53", STEP + AT_ONCE)
            .await;
        lab.assert_nothing_new(Duration::from_secs(600)).await;
    }
}

/// Its connection is granted, and nothing comes.
#[tokio::test(start_paused = true)]
async fn a_getter_that_hangs_costs_one_second() {
    let parent = Behaviour {
        is_old: true,
        getter: Part::Hangs,
        ..all()
    };
    let mut lab = Lab::new("auto", IMAGE, parent);
    lab.assert_next(Source::Imds, "10.3.0.2:53", STEP + AT_ONCE)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_step_costs_one_second_and_the_chain_four() {
    let mut parent = Behaviour {
        resolv_conf: Part::Broken,
        hangs: true,
        ..all()
    };
    let mut lab = Lab::new("auto", "", parent.clone());
    lab.assert_next(Source::Imds, "10.3.0.2:53", STEP + AT_ONCE)
        .await;

    parent.imds = Part::Broken;
    let mut lab = Lab::new("auto", "", parent.clone());
    lab.assert_next(Source::LinkLocal, "169.254.169.253:53", 2 * STEP + AT_ONCE)
        .await;

    parent.nameservers = vec![amazon_dns::IPV6];
    let mut lab = Lab::new("auto", "", parent);
    lab.assert_next(Source::Ipv6, "[fd00:ec2::253]:53", PASS)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_relay_without_nameservers_is_passed_over_at_once_and_imds_tried_every_five_seconds() {
    let mut parent = all();
    parent.resolv_conf = Part::Says("nameserver 127.0.0.53\n".to_owned());
    parent.imds = Part::Broken;
    let mut lab = Lab::new("auto", IMAGE, parent.clone());
    lab.assert_next(Source::Image, "10.4.0.2:53", AT_ONCE).await;

    parent.imds = Part::Says("10.3.0.0/16".to_owned());
    lab.behaviour.send_replace(parent.clone());
    lab.assert_next(Source::Imds, "10.3.0.2:53", RETRY + AT_ONCE)
        .await;

    parent.resolv_conf = Part::Says("nameserver 10.1.0.2\n".to_owned());
    lab.behaviour.send_replace(parent.clone());
    lab.assert_next(Source::Parent, "10.1.0.2:53", AT_ONCE)
        .await;

    fs::write(lab.override_file(), "nameserver 10.0.0.9\n").unwrap();
    lab.assert_next(Source::Override, "10.0.0.9:53", RETRY + AT_ONCE)
        .await;
}

#[tokio::test(start_paused = true)]
async fn what_was_known_stays_while_its_source_is_away() {
    let mut lab = Lab::new("auto", IMAGE, all());
    lab.assert_next(Source::Parent, "10.1.0.2:53", AT_ONCE)
        .await;
    let broken = Behaviour {
        resolv_conf: Part::Broken,
        ..all()
    };
    lab.behaviour.send_replace(broken);
    lab.assert_nothing_new(Duration::from_secs(600)).await;
}

#[tokio::test(start_paused = true)]
async fn an_override_wins_over_a_relay_that_changes_and_leaves_the_word_to_it_when_it_goes() {
    let mut lab = Lab::with_override("nameserver 10.0.0.9\nsearch corp.example\n", all());
    let (source, _, _) = lab.next().await;
    assert_eq!(source, Source::Override);
    assert_eq!(
        lab.found.borrow().as_ref().unwrap().search,
        ["corp.example"]
    );

    fs::write(lab.override_file(), "nameserver 10.0.0.10\n").unwrap();
    lab.assert_next(Source::Override, "10.0.0.10:53", RETRY + AT_ONCE)
        .await;
    fs::write(lab.override_file(), "# being edited\n").unwrap();
    lab.assert_nothing_new(Duration::from_secs(60)).await;
    fs::remove_file(lab.override_file()).unwrap();
    lab.assert_next(Source::Parent, "10.1.0.2:53", RETRY + AT_ONCE)
        .await;

    fs::write(lab.override_file(), "nameserver 10.0.0.9\n").unwrap();
    lab.assert_next(Source::Override, "10.0.0.9:53", RETRY + AT_ONCE)
        .await;
    let mut parent = all();
    parent.resolv_conf = Part::Says("nameserver 10.1.0.3\n".to_owned());
    lab.behaviour.send_replace(parent);
    lab.assert_nothing_new(Duration::from_secs(60)).await;
}

#[tokio::test(start_paused = true)]
async fn an_override_that_is_no_file_of_text_is_passed_over() {
    let lab = Lab::with_override("", all());
    fs::create_dir(lab.override_file()).unwrap();
    let mut lab = lab;
    lab.assert_next(Source::Parent, "10.1.0.2:53", AT_ONCE)
        .await;
}

#[tokio::test(start_paused = true)]
async fn an_old_parent_is_asked_by_connect_and_for_better_sources_each_minute() {
    let mut parent = Behaviour {
        is_old: true,
        getter: Part::Broken,
        imds: Part::Broken,
        ..all()
    };
    let mut lab = Lab::new("auto", "", parent.clone());
    lab.assert_next(Source::LinkLocal, "169.254.169.253:53", AT_ONCE)
        .await;
    // Past the first attempts at RESOLV_CONF, which come sooner.
    lab.assert_nothing_new(Duration::from_secs(310)).await;
    parent.imds = Part::Says("10.3.0.0/16".to_owned());
    lab.behaviour.send_replace(parent.clone());
    let (source, _, took) = lab.next().await;
    assert_eq!(source, Source::Imds);
    assert!(
        took > RETRY && took <= RETRY_WITHOUT_RELAY + AT_ONCE,
        "{took:?}"
    );
    parent.getter = Part::Says("nameserver 10.2.0.2\n".to_owned());
    lab.behaviour.send_replace(parent.clone());
    let later = RETRY_WITHOUT_RELAY + AT_ONCE;
    lab.assert_next(Source::Getter, "10.2.0.2:53", later).await;
    // It reads the parent's file each time that it is asked.
    parent.getter = Part::Says("nameserver 10.2.0.3\n".to_owned());
    lab.behaviour.send_replace(parent.clone());
    lab.assert_next(Source::Getter, "10.2.0.3:53", later).await;
    parent.getter = Part::Broken;
    lab.behaviour.send_replace(parent);
    lab.assert_nothing_new(Duration::from_secs(600)).await;
    // Our relay takes the old one's place.
    lab.behaviour.send_replace(all());
    lab.assert_next(Source::Parent, "10.1.0.2:53", RETRY_WITHOUT_RELAY + AT_ONCE)
        .await;
}

/// What forwards the link may close without a word until a relay is behind it.
#[tokio::test(start_paused = true)]
async fn while_nothing_is_known_a_relay_is_seen_within_a_second_whatever_answered_before() {
    let nothing = Behaviour {
        is_old: true,
        ..Behaviour::default()
    };
    let mut lab = Lab::new("auto", "", nothing);
    lab.assert_nothing_new(Duration::from_secs(600)).await;
    let only_relay = Behaviour {
        imds: Part::Broken,
        nameservers: Vec::new(),
        ..all()
    };
    lab.behaviour.send_replace(only_relay);
    lab.assert_next(Source::Parent, "10.1.0.2:53", NOTHING_KNOWN + AT_ONCE)
        .await;
}

/// A relay that starts while IMDS hangs is not kept waiting, nor is the image's word taken then.
#[tokio::test(start_paused = true)]
async fn the_relays_word_ends_the_wait_for_a_lesser_source() {
    let mut parent = Behaviour {
        imds: Part::Broken,
        resolv_conf: Part::Says(String::new()),
        hangs: true,
        ..all()
    };
    let mut lab = Lab::new("auto", IMAGE, parent.clone());
    lab.assert_nothing_new(STEP / 2).await;
    parent.resolv_conf = Part::Says("nameserver 10.1.0.2\n".to_owned());
    lab.behaviour.send_replace(parent);
    lab.assert_next(Source::Parent, "10.1.0.2:53", AT_ONCE)
        .await;
}

#[tokio::test(start_paused = true)]
async fn the_image_serves_until_the_parent_comes() {
    let mut lab = Lab::without_parent("auto", IMAGE, "", all());
    lab.assert_next(Source::Image, "10.4.0.2:53", AT_ONCE).await;
    lab.assert_nothing_new(Duration::from_secs(600)).await;
    lab.start_parent();
    // The relay answers within a second; IMDS may be a moment earlier.
    let (mut source, _, took) = lab.next().await;
    assert!(took <= Duration::from_secs(1) + AT_ONCE, "{took:?}");
    if source == Source::Imds {
        (source, ..) = lab.next().await;
    }
    assert_eq!(source, Source::Parent);
}
