//! The driver of HTTPS outcalls, by a server that counts what arrives.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{ConnectInfo, State};
use axum::http::HeaderMap;
use axum::routing::post;
use integration_tests::outside::{Odds, Outside, Plan, Window};
use integration_tests::{Canister, Sent, TEST_CANISTER, replica, user};
use pocket_ic::PocketIc;
use tokio::runtime::Runtime;

/// What an outcall was answered with: the body, or reject code and text.
type Outcome = Result<String, (u32, String)>;

/// A request, as it arrived.
#[derive(Clone, Debug)]
struct Seen {
    from: IpAddr,
    headers: HeaderMap,
}

#[derive(Clone, Default)]
struct Counter {
    seen: Arc<Mutex<BTreeMap<String, Vec<Seen>>>>,
    total: Arc<AtomicU64>,
}

impl Counter {
    fn note(&self, from: SocketAddr, headers: HeaderMap, key: String) -> u64 {
        let from = from.ip();
        let mut seen = self.seen.lock().expect("no panic");
        seen.entry(key).or_default().push(Seen { from, headers });
        self.total.fetch_add(1, Ordering::Relaxed)
    }

    fn seen(&self, key: &str) -> Vec<Seen> {
        let seen = self.seen.lock().expect("no panic");
        seen.get(key).cloned().unwrap_or_default()
    }
}

/// A server on loopback.
struct Shop {
    address: SocketAddr,
    counter: Counter,
    _runtime: Runtime,
}

impl Shop {
    fn open() -> Self {
        Self::open_at(([127, 0, 0, 1], 0).into())
    }

    fn open_at(address: SocketAddr) -> Self {
        let counter = Counter::default();
        let orders = post(
            |State(it): State<Counter>, ConnectInfo(from), headers: HeaderMap, key: String| async move {
                it.note(from, headers, key.clone());
                format!("ordered {key}")
            },
        );
        let numbered = post(
            |State(it): State<Counter>, ConnectInfo(from), headers: HeaderMap, key: String| async move {
                format!("order {}", it.note(from, headers, key))
            },
        );
        let slow = post(
            |State(it): State<Counter>, ConnectInfo(from), headers: HeaderMap, key: String| async move {
                it.note(from, headers, key);
                tokio::time::sleep(Duration::from_secs(60)).await;
            },
        );
        let together = post(
            |State(it): State<Counter>, ConnectInfo(from), headers: HeaderMap, key: String| async move {
                it.note(from, headers, key.clone());
                while it.seen(&key).len() < 13 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            },
        );
        let router = Router::new()
            .route("/together", together)
            .route("/orders", orders)
            .route("/numbered", numbered)
            .route("/slow", slow)
            .route("/large", post(|| async { "x".repeat(2_001) }))
            .with_state(counter.clone());
        let runtime = Runtime::new().expect("a runtime");
        let listener = runtime.block_on(tokio::net::TcpListener::bind(address));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        runtime.spawn(async move { axum::serve(listener, service).await });
        Self {
            address,
            counter,
            _runtime: runtime,
        }
    }

    fn seen(&self, key: &str) -> Vec<Seen> {
        self.counter.seen(key)
    }
}

/// A canister, a server, and what lies between.
struct World<'a> {
    replica: &'a PocketIc,
    canister: Canister<'a>,
    shop: Shop,
    outside: Outside,
}

fn with_world(seed: u64, plan: Plan, test: impl FnOnce(World<'_>)) {
    let replica = replica();
    let canister = Canister::install(&replica, TEST_CANISTER, ());
    let shop = Shop::open();
    let mut outside = Outside::new(seed, [("shop.example", shop.address)]);
    outside.set_plan(plan);
    test(World {
        replica: &replica,
        canister,
        shop,
        outside,
    });
}

impl World<'_> {
    fn send(&self, url: &str, key: &str, replicated: bool, transformed: bool) -> Sent {
        let args = (url, key, replicated, transformed);
        let sent = self.canister.send(user(1), "outcall", args);
        sent.expect("the call is accepted")
    }

    /// Makes outcalls at the same time: what each was answered with.
    fn ask_all(
        &mut self,
        path: &str,
        keys: &[String],
        replicated: bool,
        transformed: bool,
    ) -> Vec<Outcome> {
        let url = format!("https://shop.example/{path}");
        let send = |key: &String| self.send(&url, key, replicated, transformed);
        let sent: Vec<Sent> = keys.iter().map(send).collect();
        self.replica.tick();
        self.replica.tick();
        let (canister, mut left) = (self.canister, sent.iter().collect::<Vec<_>>());
        self.outside.run(self.replica, 500, || {
            left.retain(|sent| canister.answer_so_far::<Outcome>(sent).is_none());
            left.is_empty()
        });
        let answer = |sent| self.canister.answer(sent).expect("outcall answers");
        sent.into_iter().map(answer).collect()
    }

    fn ask(&mut self, path: &str, key: &str, replicated: bool, transformed: bool) -> Outcome {
        let all = self.ask_all(path, &[key.to_owned()], replicated, transformed);
        all.into_iter().next().expect("one")
    }
}

fn always(set: impl FnOnce(&mut Odds)) -> Plan {
    let mut outcall = Odds::default();
    set(&mut outcall);
    Plan {
        outcall,
        ..Plan::default()
    }
}

fn timed_out() -> Outcome {
    Err((2, "Canister http request timed out".to_owned()))
}

fn is_no_consensus(outcome: &Outcome) -> bool {
    let text = "No consensus could be reached. Replicas had different responses.";
    matches!(outcome, Err((2, message)) if message.starts_with(text))
}

fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("key {number}")).collect()
}

#[test]
fn thirteen_nodes_with_addresses_of_their_own_make_a_replicated_outcall() {
    with_world(1, Plan::default(), |mut it| {
        // The server's answers may have different dates.
        assert_eq!(
            it.ask("orders?a=b", "all", true, true),
            Ok("ordered all".to_owned())
        );
        let seen = it.shop.seen("all");
        assert_eq!(seen.len(), 13);
        let from: BTreeSet<IpAddr> = seen.iter().map(|seen| seen.from).collect();
        let expected = (2..=14).map(|last| IpAddr::from([127, 0, 0, last]));
        assert_eq!(from, expected.collect());
        for seen in seen {
            assert_eq!(seen.headers["idempotency-key"], "\"all\"");
            assert_eq!(seen.headers["user-agent"], "ic/1.0");
            assert_eq!(seen.headers["host"], "shop.example");
        }
        assert_eq!(it.outside.report().sent, 13);
        assert_eq!(it.outside.report().delivered, 1);
    });
}

/// A server may wait for all thirteen before it answers the first.
#[test]
fn nodes_make_an_outcall_at_the_same_time() {
    with_world(1, Plan::default(), |mut it| {
        let outcomes = it.ask_all("together", &numbered(40), true, true);
        assert_eq!(outcomes, vec![Ok(String::new()); 40]);
    });
}

#[test]
fn one_node_makes_a_non_replicated_outcall() {
    with_world(1, Plan::default(), |mut it| {
        for transformed in [false, true] {
            let key = format!("one {transformed}");
            let outcome = it.ask("numbered", &key, false, transformed);
            assert!(outcome.is_ok(), "{outcome:?}");
            assert_eq!(it.shop.seen(&key).len(), 1);
        }
        let report = it.outside.report();
        assert_eq!((report.replicated, report.non_replicated), (0, 2));
    });
}

/// Every node is as good as another.
#[test]
fn non_replicated_outcalls_come_from_several_nodes() {
    with_world(1, Plan::default(), |mut it| {
        let keys = numbered(40);
        let outcomes = it.ask_all("orders", &keys, false, false);
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        let seen = keys.iter().flat_map(|key| it.shop.seen(key));
        let from: BTreeSet<IpAddr> = seen.map(|seen| seen.from).collect();
        assert!(from.len() > 5, "{from:?}");
    });
}

#[test]
fn lost_answer_ends_in_a_timeout_after_the_server_has_acted() {
    with_world(1, always(|odds| odds.answer_lost = 1.0), |mut it| {
        for (replicated, requests) in [(true, 13), (false, 1)] {
            let key = format!("lost {replicated}");
            assert_eq!(it.ask("orders", &key, replicated, true), timed_out());
            assert_eq!(it.shop.seen(&key).len(), requests);
        }
        let report = it.outside.report();
        assert_eq!((report.answers_lost, report.unanswered), (14, 2));
        assert_eq!(report.delivered, 0);
    });
}

#[test]
fn lost_request_ends_in_a_timeout_and_the_server_knows_nothing() {
    with_world(1, always(|odds| odds.request_lost = 1.0), |mut it| {
        assert_eq!(it.ask("orders", "lost", true, true), timed_out());
        assert_eq!(it.ask("orders", "lost", false, true), timed_out());
        assert_eq!(it.shop.seen("lost").len(), 0);
        assert_eq!(it.outside.report().requests_lost, 14);
    });
}

#[test]
fn server_that_acts_and_does_not_answer_ends_in_a_timeout() {
    with_world(1, Plan::default(), |mut it| {
        it.outside.set_patience(Duration::from_millis(300));
        assert_eq!(it.ask("slow", "slow", true, true), timed_out());
        assert_eq!(it.shop.seen("slow").len(), 13);
        assert_eq!(it.outside.report().not_answered, 13);
    });
}

/// Four of thirteen may fail; the outcall's nodes don't share their luck.
#[test]
fn a_few_lost_answers_are_tolerated() {
    let plan = Plan {
        node: Odds {
            answer_lost: 0.3,
            ..Odds::default()
        },
        ..Plan::default()
    };
    with_world(1, plan, |mut it| {
        let keys = numbered(60);
        let outcomes = it.ask_all("orders", &keys, true, true);
        let failed = outcomes.iter().filter(|outcome| outcome.is_err()).count();
        // A third, as the binomial distribution has it.
        assert!((5..40).contains(&failed), "{failed}: {outcomes:?}");
        for (key, outcome) in keys.iter().zip(outcomes) {
            let fine = Ok(format!("ordered {key}"));
            assert!(outcome == fine || outcome == timed_out(), "{outcome:?}");
            assert_eq!(it.shop.seen(key).len(), 13);
        }
    });
}

#[test]
fn headers_that_differ_need_a_transform() {
    let plan = Plan {
        told_apart: 1.0,
        ..Plan::default()
    };
    with_world(1, plan, |mut it| {
        let outcome = it.ask("orders", "as it is", true, false);
        assert!(is_no_consensus(&outcome), "{outcome:?}");
        let outcome = it.ask("orders", "transformed", true, true);
        assert_eq!(outcome, Ok("ordered transformed".to_owned()));
        let outcome = it.ask("orders", "one", false, false);
        assert_eq!(outcome, Ok("ordered one".to_owned()));
    });
}

#[test]
fn bodies_that_differ_are_no_consensus() {
    with_world(1, Plan::default(), |mut it| {
        let outcome = it.ask("numbered", "each", true, true);
        assert!(is_no_consensus(&outcome), "{outcome:?}");
        assert_eq!(it.shop.seen("each").len(), 13);
    });
}

#[test]
fn duplicates_arrive_at_the_server_and_nowhere_else() {
    with_world(1, always(|odds| odds.duplicated = 1.0), |mut it| {
        let outcome = it.ask("orders", "twice", true, true);
        assert_eq!(outcome, Ok("ordered twice".to_owned()));
        assert_eq!(it.shop.seen("twice").len(), 26);
        assert_eq!(it.outside.report().duplicates, 13);
    });
}

#[test]
fn delayed_answers_come_some_steps_later() {
    let plan = Plan {
        delayed: 1.0,
        delay: 4..=4,
        ..Plan::default()
    };
    with_world(1, plan, |mut it| {
        let sent = it.send("https://shop.example/orders", "late", false, true);
        it.replica.tick();
        it.replica.tick();
        let steps = (0..10).take_while(|_| {
            it.outside.step(it.replica);
            it.replica.tick();
            it.replica.tick();
            it.canister.answer_so_far::<Outcome>(&sent).is_none()
        });
        assert_eq!(steps.count(), 4);
        assert_eq!(it.shop.seen("late").len(), 1);
    });
}

#[test]
fn delayed_answer_may_come_too_late() {
    let plan = Plan {
        delayed: 1.0,
        ..Plan::default()
    };
    with_world(1, plan, |mut it| {
        let sent = it.send("https://shop.example/orders", "late", true, true);
        it.replica.tick();
        it.replica.tick();
        it.outside.step(it.replica);
        it.outside.let_time_out(it.replica);
        it.outside.step(it.replica);
        it.outside.step(it.replica);
        assert_eq!(it.canister.answer::<Outcome>(sent), Ok(timed_out()));
        assert_eq!(it.shop.seen("late").len(), 13);
        assert_eq!(it.outside.report().too_late, 1);
    });
}

/// Planned or real, it is told alike.
#[test]
fn no_connection_is_told_at_once() {
    with_world(1, always(|odds| odds.refused = 1.0), |mut it| {
        let text =
            "Connecting to shop.example failed: direct connect Connection refused (os error 111)";
        let refused = Err((2, text.to_owned()));
        assert_eq!(it.ask("orders", "planned", true, true), refused);
        assert_eq!(it.shop.seen("planned").len(), 0);
        it.outside.set_plan(Plan::default());
        let closed = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
            listener.local_addr().expect("an address")
        };
        it.outside.set_server("shop.example", closed);
        assert_eq!(it.ask("orders", "real", true, true), refused);
        assert_eq!(it.outside.report().broken, 13);
        it.outside.remove_server("shop.example");
        let text = "Connecting to shop.example failed: direct connect dns error";
        assert_eq!(
            it.ask("orders", "unknown", false, true),
            Err((2, text.to_owned()))
        );
        it.outside.set_server("shop.example", it.shop.address);
        assert!(it.ask("orders", "again", true, true).is_ok());
    });
}

/// The nodes' connections to it are gone.
#[test]
fn server_may_be_started_again() {
    with_world(1, Plan::default(), |mut it| {
        // An address whose ports nobody else takes meanwhile.
        it.shop = Shop::open_at(([127, 0, 0, 77], 0).into());
        let address = it.shop.address;
        it.outside.set_server("shop.example", address);
        assert!(it.ask("orders", "before", true, true).is_ok());
        it.shop = Shop::open();
        let outcome = it.ask("orders", "meanwhile", true, true);
        assert!(matches!(outcome, Err((2, _))), "{outcome:?}");
        it.shop = Shop::open_at(address);
        for key in numbered(5) {
            let fine = Ok(format!("ordered {key}"));
            assert_eq!(it.ask("orders", &key, true, true), fine);
            assert_eq!(it.shop.seen(&key).len(), 13);
        }
    });
}

#[test]
fn nodes_refuse_what_is_out_of_bounds() {
    with_world(1, Plan::default(), |mut it| {
        let outcome = it.ask("large", "large", true, true);
        let text = "Http body exceeds size limit of 2000 bytes.";
        assert_eq!(outcome, Err((1, text.to_owned())));
        let sent = it.send("http://shop.example/orders", "plain", true, true);
        it.replica.tick();
        it.replica.tick();
        it.outside.step(it.replica);
        let text = "Url need to specify https scheme";
        let outcome: Result<Outcome, _> = it.canister.answer(sent);
        assert_eq!(outcome, Ok(Err((1, text.to_owned()))));
        assert_eq!(it.shop.seen("plain").len(), 0);
        assert_eq!(it.outside.report().out_of_bounds, 26);
    });
}

#[test]
fn outage_ends() {
    let plan = Plan {
        windows: vec![Window {
            steps: 0..3,
            authority: Some("shop.example".to_owned()),
            odds: Odds {
                refused: 1.0,
                ..Odds::default()
            },
        }],
        ..Plan::default()
    };
    with_world(1, plan, |mut it| {
        let mut outcomes = Vec::new();
        while it.outside.report().steps < 6 {
            let key = outcomes.len().to_string();
            outcomes.push(it.ask("orders", &key, false, true).is_ok());
        }
        assert!(!outcomes[0], "{outcomes:?}");
        assert!(outcomes[outcomes.len() - 1], "{outcomes:?}");
        assert!(outcomes.is_sorted(), "{outcomes:?}");
    });
}

fn lossy() -> Plan {
    Plan {
        outcall: Odds {
            refused: 0.05,
            request_lost: 0.1,
            answer_lost: 0.2,
            duplicated: 0.1,
        },
        node: Odds {
            refused: 0.02,
            request_lost: 0.02,
            answer_lost: 0.05,
            duplicated: 0.05,
        },
        delayed: 0.2,
        told_apart: 0.5,
        ..Plan::default()
    }
}

#[test]
fn a_seed_can_be_replayed() {
    let run = |seed| {
        let mut result = None;
        with_world(seed, lossy(), |mut it| {
            let keys = numbered(60);
            let replicated = it.ask_all("orders", &keys[..30], true, true);
            let other = it.ask_all("orders", &keys[30..], false, true);
            let seen: Vec<usize> = keys.iter().map(|key| it.shop.seen(key).len()).collect();
            result = Some((replicated, other, seen, it.outside.report().clone()));
        });
        result.expect("the test has run")
    };
    let first = run(5);
    assert_eq!(run(5), first);
    assert_ne!(run(6).2, first.2);
}

/// So many that the tests of an outbox can have ten times as many.
#[test]
fn a_thousand_outcalls_take_seconds() {
    with_world(3, lossy(), |mut it| {
        let keys = numbered(1_000);
        let start = Instant::now();
        let mut outcomes = Vec::new();
        for keys in keys.chunks(250) {
            let (few, many) = keys.split_at(25);
            outcomes.extend(it.ask_all("orders", few, true, true));
            outcomes.extend(it.ask_all("orders", many, false, true));
        }
        let took = start.elapsed();
        let fine = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let report = it.outside.report();
        println!("{took:?}: {report}");
        assert!((550..800).contains(&fine), "{fine} of 1000");
        assert_eq!((report.replicated, report.non_replicated), (100, 900));
        assert!(took < Duration::from_secs(30), "{took:?}");
        // Nothing arrives that was not sent, and nothing is lost by the way.
        let arrived = it.shop.counter.total.load(Ordering::Relaxed);
        assert_eq!(arrived, report.sent);
    });
}
