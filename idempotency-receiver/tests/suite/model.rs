//! Random interleavings, against a model.

use crate::world::{Any, directory, open};
use axum::{Extension, Router, routing::post};
use bytes::Bytes;
use http::Response;
use idempotency_receiver::{
    Answer, Digest, IdempotencyLayer, Limits, MemoryBackend, OnUnknown, RequestId, RequestKey,
    Verdict,
    backend::{Attempt, Backend, Begun, Mode, Settlement},
};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const LIMITS: Limits = Limits {
    window: Duration::from_secs(10),
    records: 3,
    bytes: 1000,
};

#[derive(Clone, Debug)]
enum Step {
    Begin(u8, u8, Mode),
    Settle(usize, u8),
    Wait(u64),
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![
        Just(Mode::Look),
        Just(Mode::New),
        Just(Mode::New),
        Just(Mode::Repeat)
    ];
    let step = prop_oneof![
        6 => (0..5_u8, 0..2_u8, mode).prop_map(|(key, body, mode)| Step::Begin(key, body, mode)),
        4 => (0..8_usize, 0..4_u8).prop_map(|(which, how)| Step::Settle(which, how)),
        2 => (0..15_u64).prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..60)
}

#[derive(Clone, Debug, PartialEq)]
enum State {
    InFlight,
    Unknown,
    Done(Answer),
}

/// What the docs say, on a map.
#[derive(Default)]
struct Model {
    records: BTreeMap<u8, (u8, State, u64, SystemTime)>,
}

impl Model {
    fn begin(&mut self, key: u8, body: u8, mode: Mode, now: SystemTime) -> Begun {
        let live = |(_, state, _, until): &&(u8, State, u64, SystemTime)| {
            *state == State::InFlight || now < *until
        };
        let number = match self.records.get(&key).filter(live) {
            Some((other, ..)) if *other != body => return Begun::KeyReused,
            Some((_, State::InFlight, ..)) => return Begun::InFlight,
            Some((_, State::Done(answer), ..)) => return Begun::Done(answer.clone()),
            Some((_, State::Unknown, number, _)) if mode == Mode::Repeat => number + 1,
            Some((_, State::Unknown, ..)) => return Begun::Unknown,
            None if mode == Mode::Look => return Begun::Absent,
            None => {
                self.records.retain(|_, record| live(&&*record));
                if self.records.len() as u64 >= LIMITS.records {
                    let retry_after = Duration::ZERO;
                    return Begun::Full { retry_after };
                }
                1
            }
        };
        self.records
            .insert(key, (body, State::InFlight, number, now));
        Begun::Acquired(Attempt::new(id(key, body), 0, number))
    }

    fn settle(&mut self, key: u8, how: &Settlement, now: SystemTime) {
        let until = now + LIMITS.window;
        let Some(record) = self.records.get_mut(&key) else {
            return;
        };
        (record.1, record.3) = match how {
            Settlement::Done(answer) => (State::Done(answer.clone()), until),
            Settlement::Unknown => (State::Unknown, until),
            Settlement::NotExecuted => {
                self.records.remove(&key);
                return;
            }
        };
    }
}

fn id(key: u8, body: u8) -> RequestId {
    RequestId {
        identity: Digest([key; 32]),
        fingerprint: Digest([body; 32]),
    }
}

/// What both say, without what only one can know.
fn comparable(begun: Begun) -> Begun {
    match begun {
        Begun::Acquired(attempt) => Begun::Acquired(Attempt::new(attempt.id, 0, attempt.number)),
        Begun::Full { .. } => Begun::Full {
            retry_after: Duration::ZERO,
        },
        other => other,
    }
}

async fn agrees(mut backend: Any, reopen: impl Fn() -> Any, steps: &[Step]) {
    let mut model = Model::default();
    let mut now = UNIX_EPOCH + Duration::from_secs(1000);
    let mut attempts: Vec<(u8, Attempt)> = vec![];
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Begin(key, body, mode) => {
                let begun = backend
                    .begin(id(*key, *body), *mode, now)
                    .await
                    .expect("it can be reached");
                if let Begun::Acquired(attempt) = &begun {
                    attempts.push((*key, attempt.clone()));
                }
                assert_eq!(
                    comparable(begun),
                    model.begin(*key, *body, *mode, now),
                    "step {number}: {step:?}"
                );
            }
            Step::Settle(which, how) if *which < attempts.len() => {
                let (key, attempt) = attempts.remove(*which);
                let body = Bytes::from(vec![*how; usize::from(*how)]);
                let settlement = match how {
                    0 => Settlement::NotExecuted,
                    1 => Settlement::Unknown,
                    _ => Settlement::Done(Answer::new(Response::new(body))),
                };
                let settled = backend.settle(&attempt, settlement.clone(), now).await;
                assert_eq!(settled.expect("it can be reached"), None);
                model.settle(key, &settlement, now);
                // Once more changes nothing.
                let again = backend
                    .settle(&attempt, Settlement::NotExecuted, now)
                    .await
                    .expect("it can be reached");
                match settlement {
                    Settlement::Done(answer) if again.is_some() => assert_eq!(again, Some(answer)),
                    _ => assert_eq!(again, None),
                }
            }
            Step::Settle(..) => {}
            Step::Wait(seconds) => now += Duration::from_secs(*seconds),
            Step::Restart => {
                drop(backend);
                attempts.clear();
                backend = reopen();
                if let Any::Memory(_) = backend {
                    model = Model::default();
                }
                for (_, state, _, until) in model.records.values_mut() {
                    if *state == State::InFlight {
                        *state = State::Unknown;
                        // As when it began, or when it was noticed, which is by the real clock, long after this test's.
                        *until = SystemTime::now() + LIMITS.window;
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_backend_does_what_the_docs_say(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("there is room");
        let directory = directory();
        let memory = || Any::Memory(MemoryBackend::new(LIMITS));
        let sqlite = || Any::Sqlite(open(directory.path(), LIMITS));
        runtime.block_on(async {
            agrees(memory(), memory, &steps).await;
            agrees(sqlite(), sqlite, &steps).await;
        });
    }

    /// Requests at any times, whose handlers take any time: what becomes of them is told by their bodies.
    #[test]
    fn each_key_has_one_effect(requests in proptest::collection::vec((0..3_u8, 0..3_u8, 0..50_u64), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("there is room");
        runtime.block_on(check(requests));
    }
}

type Effects = Arc<Mutex<Vec<(String, String)>>>;

async fn check(requests: Vec<(u8, u8, u64)>) {
    let effects = Effects::default();
    let seen = Arc::clone(&effects);
    let handler = async move |Extension(key): Extension<RequestKey>, body: String| {
        tokio::time::sleep(Duration::from_millis(10)).await;
        seen.lock()
            .expect("nobody panics with it")
            .push((key.key, body.clone()));
        let verdict = if body == "2" {
            Verdict::NotExecuted
        } else {
            Verdict::Executed
        };
        (Extension(verdict), body)
    };
    let layer = IdempotencyLayer::new(MemoryBackend::new(Limits::default()))
        .on_unknown(OnUnknown::Refuse)
        .replay_marker(None);
    let router = Router::new().route("/orders", post(handler).layer(layer));
    let sent = requests.into_iter().map(|(key, body, at)| {
        let router = router.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(at)).await;
            let (key, body) = (key.to_string(), body.to_string());
            let reply = crate::world::post(&router, &key, &body).await;
            (key, body, reply)
        }
    });
    let replies = futures_util::future::join_all(sent).await;
    let effects = effects.lock().expect("nobody panics with it");
    for key in ["0", "1", "2"] {
        let executed: Vec<_> = effects
            .iter()
            .filter(|effect| effect.0 == key && effect.1 != "2")
            .collect();
        assert!(executed.len() <= 1, "{executed:?}");
        for (_, body, reply) in replies.iter().filter(|reply| reply.0 == key) {
            match reply.status {
                200 => assert_eq!(reply.body, *body),
                422 => assert!(
                    effects
                        .iter()
                        .any(|effect| effect.0 == key && effect.1 != *body)
                ),
                other => panic!("{other}"),
            }
        }
        let (mut right, mut wrong) = (0, 0);
        for (_, body, reply) in replies
            .iter()
            .filter(|reply| reply.0 == key && reply.1 != "2")
        {
            match executed.first() {
                Some((_, winner)) if winner == body => right += usize::from(reply.status == 200),
                _ => wrong += usize::from(reply.status == 200),
            }
        }
        assert_eq!(
            wrong, 0,
            "whoever is told that it was executed had it executed"
        );
        assert_eq!(right > 0, !executed.is_empty());
    }
}
