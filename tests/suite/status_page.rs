//! Counters, metrics and the status page, as a canister's `http_request` gives them.

use crate::{
    common::{Answer, DRIFT, Failure, Fixture, HOUR, PARTITION, Plan, Refusal, ok, with_canister},
    durable::{Act, How, World, call, effect, with_world},
    ledger::with_ledger,
};
use candid::{CandidType, Principal};
use integration_tests::{Canister, Faults, TEST_CANISTER, user};
use local_replica::faults::{Fault, MessageFault, Plan as FaultPlan, Schedule};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::{collections::BTreeMap, time::Duration};

#[derive(CandidType)]
struct HttpRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: ByteBuf,
    certificate_version: Option<u16>,
}

#[derive(CandidType, Debug, Deserialize)]
pub(crate) struct HttpResponse {
    pub(crate) status_code: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: ByteBuf,
    pub(crate) upgrade: Option<bool>,
}

impl HttpResponse {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("it is UTF-8")
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// As an HTTP gateway asks.
pub(crate) fn ask(canister: &Canister<'_>, method: &str, url: &str) -> HttpResponse {
    let request = HttpRequest {
        method: method.into(),
        url: url.into(),
        headers: vec![("host".into(), "localhost".into())],
        body: ByteBuf::new(),
        certificate_version: Some(2),
    };
    canister
        .query(Principal::anonymous(), "http_request", (request,))
        .expect("it answers")
}

pub(crate) fn page(canister: &Canister<'_>) -> String {
    let response = ask(canister, "GET", "/");
    assert_eq!(response.status_code, 200);
    response.text().to_owned()
}

/// Each series, as it stands there, with its value.
struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    fn of(canister: &Canister<'_>) -> Self {
        let response = ask(canister, "GET", "/metrics");
        assert_eq!(response.status_code, 200);
        let lines = response.text().lines();
        let series = lines.filter(|line| !line.starts_with("# ")).map(|line| {
            let (series, rest) = line.rsplit_once("} ").expect("labels end");
            let (value, time) = rest.split_once(' ').expect("a value and a time");
            time.parse::<u64>().expect("a time");
            (format!("{series}}}"), value.parse().expect("a number"))
        });
        Self(series.collect())
    }

    fn get(&self, name: &str, store: &str) -> f64 {
        self.series(&format!("{name}{{store=\"{store}\"}}"))
    }

    fn refused(&self, store: &str, reason: &str) -> f64 {
        self.series(&format!(
            "idempotency_refused_total{{store=\"{store}\",reason=\"{reason}\"}}"
        ))
    }

    fn series(&self, series: &str) -> f64 {
        let value = self.0.get(series);
        *value.unwrap_or_else(|| panic!("{series} is missing"))
    }

    /// How many calls each store refused for each reason, where there were any.
    fn refusals(&self) -> BTreeMap<(&str, &str), u64> {
        let all = self.0.iter().filter(|(_, value)| **value > 0.0);
        let refused = all.filter_map(|(series, value)| {
            let labels = series.strip_prefix("idempotency_refused_total{store=\"")?;
            let (store, rest) = labels.split_once("\",reason=\"")?;
            Some(((store, rest.strip_suffix("\"}")?), *value as u64))
        });
        refused.collect()
    }
}

fn name(answer: &Answer) -> String {
    match answer {
        Err(Failure::Idempotency(refusal)) => {
            let shown = format!("{refusal:?}");
            shown
                .split([' ', '{'])
                .next()
                .unwrap_or_default()
                .to_owned()
        }
        other => panic!("it is not refused: {other:?}"),
    }
}

/// Has a call refused for each reason, once: by which store, and why.
fn refuse_once_for_each_reason(it: &Fixture<'_>) -> Vec<(&'static str, String)> {
    let mut refused = vec![];
    let mut refuse = |store, answer: Answer| refused.push((store, name(&answer)));
    let update = |caller, method: &str, args: (Option<Vec<u8>>, &str)| -> Answer {
        it.canister
            .update(caller, method, args)
            .expect("it answers")
    };
    refuse("main", update(user(1), "say_required", (None, "a")));
    refuse("main", it.say("say", b"", "a"));
    refuse("main", it.say_as(Principal::anonymous(), "say", b"k", "a"));
    it.say("say", b"reused", "a").expect("it runs");
    refuse("main", it.say("say", b"reused", "b"));
    let held = it.hold(user(1), "work", (b"held".to_vec(), Plan::Hold));
    refuse(
        "main",
        it.work("work", b"held", Plan::Hold).expect("it answers"),
    );
    it.finish(held).expect("it ends").expect("it is done");
    it.work("work", b"trap", Plan::TrapLater)
        .expect_err("it traps");
    refuse(
        "main",
        it.work("work", b"trap", Plan::TrapLater)
            .expect("it answers"),
    );
    let now = it.now();
    refuse(
        "main",
        it.say_dated(b"old", now - 2 * HOUR.as_nanos() as u64),
    );
    refuse(
        "main",
        it.say_dated(b"new", now + 2 * DRIFT.as_nanos() as u64),
    );
    refuse("lanes", it.step("step", 3, "early"));
    for (number, first_incomplete) in [(0u64, None), (1, Some(1u64))] {
        let args = (number, first_incomplete, "data");
        let ran: Answer = it
            .canister
            .update(user(1), "stream", args)
            .expect("it answers");
        ran.expect("it runs");
    }
    let args = (0u64, Some(1u64), "data");
    refuse(
        "lanes",
        it.canister
            .update(user(1), "stream", args)
            .expect("it answers"),
    );
    for key in 0..=10u64 {
        let said: Answer = it
            .canister
            .update(user(1), "say_shared", (key, 1u32))
            .expect("it answers");
        match key {
            10 => refuse("shared", said),
            _ => assert!(said.is_ok()),
        }
    }
    // A reply that is longer than the store keeps.
    it.work("work_small", b"much", Plan::AnswerMuch)
        .expect("it answers")
        .expect("it runs");
    let small = "<script>alert(1)</script>";
    refuse(
        small,
        it.work("work_small", b"much", Plan::AnswerMuch)
            .expect("it answers"),
    );
    for key in 0..=2u64 {
        let said: Answer = it
            .canister
            .update(user(1), "say_small", (key, 1u32))
            .expect("it answers");
        match key {
            2 => refuse(small, said),
            _ => assert!(said.is_ok()),
        }
    }
    let payer = Canister::install(it.replica, TEST_CANISTER, ());
    let arg = candid::encode_args((1u64,)).expect("it encodes");
    let (reply, _) = payer.forward(it.canister.id(), "say_charged", arg, 0);
    let reply: Result<u64, Failure> =
        candid::decode_one(&reply.expect("it answers")).expect("it decodes");
    refuse("main", reply.map(|number| number.to_string()));
    it.canister
        .update::<()>(user(1), "open_two_on_one_memory", ())
        .expect("it answers");
    let damaged = it.canister.update(user(1), "say_doubled", (b"k".to_vec(),));
    refuse("doubled", damaged.expect("it answers"));
    it.switch("doubled", true);
    refused
}

/// All but `Other`, which has a test of its own.
#[test]
fn each_reason_raised_once_is_seen_once_until_an_upgrade() {
    with_canister(|it| {
        let refused = refuse_once_for_each_reason(&it);
        let expected: BTreeMap<_, _> = refused
            .iter()
            .map(|(store, reason)| ((*store, &**reason), 1))
            .collect();
        let metrics = Metrics::of(&it.canister);
        assert_eq!(metrics.refusals(), expected);
        assert_eq!(expected.len(), 15, "{expected:?}");
        // Every reason is there, so that the first refusal shows as an increase.
        assert_eq!(metrics.refused("main", "Other"), 0.0);
        assert_eq!(metrics.get("idempotency_damaged", "doubled"), 1.0);
        assert_eq!(metrics.get("idempotency_damaged", "main"), 0.0);
        assert_eq!(metrics.get("idempotency_unknown", "main"), 1.0);
        assert_eq!(metrics.get("idempotency_released_total", "lanes"), 1.0);
        assert_eq!(metrics.get("idempotency_executed_total", "shared"), 10.0);
        let page = page(&it.canister);
        assert!(page.contains("The memory of this store is damaged."));
        assert!(
            page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script")
        );

        let entries = metrics.get("idempotency_entries", "main");
        it.upgrade();
        it.switch("doubled", false);
        let metrics = Metrics::of(&it.canister);
        assert_eq!(metrics.refusals(), BTreeMap::new());
        assert_eq!(metrics.get("idempotency_executed_total", "main"), 0.0);
        assert_eq!(metrics.get("idempotency_entries", "main"), entries);
        assert_eq!(metrics.get("idempotency_unknown", "main"), 1.0);
        assert_eq!(metrics.get("idempotency_incarnation", "main"), 2.0);
        let now = it.now() as f64 / 1e9;
        let since = metrics.get("idempotency_counted_since_timestamp_seconds", "main");
        assert!((now - 10.0..=now).contains(&since), "{since} {now}");
    });
}

#[test]
fn replays_executions_and_evictions_are_counted() {
    with_canister(|it| {
        for key in 0..3u8 {
            for _ in 0..=key {
                it.say("say", &[key], "hello").expect("it answers");
            }
        }
        let held = it.hold(user(1), "work", (b"held".to_vec(), Plan::Hold));
        let metrics = Metrics::of(&it.canister);
        let main =
            |metrics: &Metrics, name: &str| metrics.get(&format!("idempotency_{name}"), "main");
        assert_eq!(main(&metrics, "executed_total"), 4.0);
        assert_eq!(main(&metrics, "replayed_total"), 3.0);
        assert_eq!(
            (main(&metrics, "in_progress"), main(&metrics, "entries")),
            (1.0, 4.0)
        );
        it.finish(held).expect("it ends").expect("it is done");
        it.wait(HOUR / 2);
        it.run_timers();
        let age = main(&Metrics::of(&it.canister), "oldest_age_seconds");
        assert!((1_800.0..1_900.0).contains(&age), "{age}");
        // A run for each partition: the records may lie in two.
        it.wait(HOUR / 2);
        for _ in 0..2 {
            it.wait(PARTITION);
            it.run_timers();
        }
        let metrics = Metrics::of(&it.canister);
        assert_eq!(
            (main(&metrics, "evicted_total"), main(&metrics, "entries")),
            (4.0, 0.0)
        );
        assert_eq!(
            (main(&metrics, "in_progress"), main(&metrics, "bytes")),
            (0.0, 0.0)
        );
        assert!(
            !metrics
                .0
                .contains_key("idempotency_oldest_age_seconds{store=\"main\"}")
        );
    });
}

/// The message is undone, and the count with it.
#[test]
fn a_refusal_that_is_a_trap_counts_nothing() {
    with_canister(|it| {
        let say = |text: &str| {
            it.canister
                .update::<String>(user(1), "say_plain", (b"key".to_vec(), text))
        };
        say("a").expect("it runs");
        say("b").expect_err("the key is reused");
        assert_eq!(Metrics::of(&it.canister).refusals(), BTreeMap::new());
    });
}

#[test]
fn what_can_not_be_kept_is_counted_as_another_reason() {
    with_world(|it| {
        it.work(1, &[effect(&"x".repeat(70_000))])
            .expect_err("it is too long");
        let refusals = Metrics::of(&it.canister);
        assert_eq!(
            refusals.refusals(),
            BTreeMap::from([(("durable", "Other"), 1)])
        );
    });
}

/// A payment of which nobody can tell whether it was made.
fn park(it: &World<'_>, key: u8) -> bool {
    let acts = [
        effect(&format!("note {key}")),
        call(&format!("pay <b>{key}</b>"), How::Once),
    ];
    it.lose("work", key, &acts);
    let fault = Fault::Message {
        canister: it.canister.id(),
        number: 3,
        what: MessageFault::Upgrade,
    };
    let Some(faults) = Faults::install(it.replica, &FaultPlan::Schedule(Schedule(vec![fault])))
    else {
        return false;
    };
    it.rounds(8);
    faults.stop();
    true
}

#[test]
fn parked_requests_are_listed_without_secrets() {
    with_world(|it| {
        if !park(&it, 1) {
            return;
        }
        it.replica.advance_time(Duration::from_secs(7_300));
        it.replica.tick();
        let page = page(&it.canister);
        for part in [
            "<th scope=\"row\">work</th>",
            "2 h 1 min ago",
            "pay &lt;b&gt;1&lt;/b&gt;",
            "parked",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let unknown = it.unknown();
        let reason = unknown[0].reason.as_deref().expect("it is parked");
        assert!(!page.contains(reason));
        assert!(!page.contains(&user(1).to_text()));
        assert_eq!(
            Metrics::of(&it.canister).get("idempotency_unknown", "durable"),
            1.0
        );
    });
}

/// One that goes on by itself is in progress, and no reply of it was refused; its retry is a replay.
#[test]
fn what_goes_on_by_itself_is_in_progress() {
    with_world(|it| {
        let acts = [effect("a"), Act::Sleep(60)];
        it.lose("work", 1, &acts);
        it.rounds(2);
        let durable =
            |name: &str| Metrics::of(&it.canister).get(&format!("idempotency_{name}"), "durable");
        assert_eq!((durable("in_progress"), durable("unknown")), (1.0, 0.0));
        it.upgrade();
        assert_eq!((durable("in_progress"), durable("unknown")), (1.0, 0.0));
        it.rounds(80);
        assert_eq!(
            (durable("in_progress"), durable("replayed_total")),
            (0.0, 0.0)
        );
        it.work(1, &acts).expect("it is done");
        assert_eq!(durable("replayed_total"), 1.0);
    });
}

#[test]
fn paths_and_methods() {
    with_canister(|it| {
        for (method, url, status) in [
            ("GET", "/", 200),
            ("HEAD", "/", 200),
            ("GET", "/?a=<script>", 200),
            ("GET", "/metrics?a", 200),
            ("POST", "/", 405),
            ("GET", "/favicon.ico", 404),
            ("GET", "/<script>alert(1)</script>", 404),
            ("GET", "", 404),
        ] {
            let response = ask(&it.canister, method, url);
            assert_eq!(response.status_code, status, "{method} {url}");
            assert_eq!(response.body.is_empty(), method == "HEAD");
            // Metrics are plain text, and say so.
            assert!(!response.text().contains("<script") || url.starts_with("/metrics"));
            assert_ne!(response.upgrade, Some(true));
        }
    });
}

/// What a gateway needs to let the answers through: the canister's certificate, the tree, and the word that no more is certified.
#[test]
fn the_ledger_shows_its_state_and_certifies_that_it_is_not_certified() {
    with_ledger(|_, ledger| {
        for url in ["/", "/metrics", "/nothing"] {
            let response = ask(&ledger, "GET", url);
            assert!(response.text().contains("transactions") || url == "/nothing");
            let certificate = response
                .header("IC-Certificate")
                .expect("there is a certificate");
            assert!(certificate.starts_with("certificate=:") && certificate.ends_with("version=2"));
            let expression = response
                .header("IC-CertificateExpression")
                .expect("there is an expression");
            assert!(expression.contains("no_certification"), "{expression}");
        }
        assert_eq!(
            Metrics::of(&ledger).get("idempotency_window_seconds", "transactions"),
            86_400.0
        );
    });
}

/// What is asked in candid, and read as metrics, is the same.
#[test]
fn the_statistics_have_every_counter_by_name() {
    #[derive(CandidType, Deserialize)]
    struct Events {
        since: u64,
        executed: u64,
        replayed: u64,
        refused: Vec<(String, u64)>,
        evicted: u64,
        released: u64,
    }
    #[derive(CandidType, Deserialize)]
    struct Stats {
        in_progress: u64,
        oldest: Option<u64>,
        events: Events,
    }
    #[derive(CandidType, Deserialize)]
    struct Main {
        main: Stats,
    }
    with_canister(|it| {
        it.say("say", b"key", "a").expect("it runs");
        assert_eq!(it.say("say", b"key", "a"), ok("1: a"));
        assert_eq!(
            it.say("say", b"key", "b"),
            Err(Failure::Idempotency(Refusal::KeyReused))
        );
        let Main { main } = it.canister.query(user(1), "stats", ()).expect("it answers");
        let Events {
            since,
            executed,
            replayed,
            refused,
            evicted,
            released,
        } = main.events;
        assert_eq!(
            (executed, replayed, evicted, released, main.in_progress),
            (1, 1, 0, 0, 0)
        );
        assert!(
            main.oldest
                .is_some_and(|oldest| since <= oldest && oldest <= it.now())
        );
        assert_eq!(refused.len(), 16);
        let reused: Vec<_> = refused
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(reused, [("KeyReused".to_owned(), 1)]);
    });
}
