//! Durable methods: what was accepted ends by itself, in the outcome that it would have had without the fault.

use candid::CandidType;
use integration_tests::{Canister, DURABLE_CANISTER, Faults, TEST_CANISTER, replica, user};
use local_replica::faults::{AnswerFault, Fault, MessageFault, Plan, Schedule};
use pocket_ic::PocketIc;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::{collections::BTreeMap, time::Duration};

use crate::common::Refusal;

#[derive(CandidType, Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) enum How {
    Once,
    Repeatable,
    Verified,
    Unverifiable,
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Act {
    Effect(String),
    Call(String, How),
    Both(String, String),
    Sleep(u64),
    Trap,
    TrapLater,
    Undo(String),
    Fail,
    Tell,
    Twice,
    Within,
    Renamed,
    Versioned,
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) enum Failure {
    Own(String),
    Idempotency(Refusal),
}

pub(crate) type Answer = Result<String, Failure>;

/// What an operator sees of a request.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Unknown {
    pub(crate) number: u64,
    pub(crate) endpoint: String,
    pub(crate) scope: ByteBuf,
    pub(crate) last_step: Option<String>,
    pub(crate) reason: Option<String>,
}

/// A canister with durable methods, and the one that it calls.
pub(crate) struct World<'a> {
    pub(crate) replica: &'a PocketIc,
    pub(crate) canister: Canister<'a>,
    pub(crate) callee: Canister<'a>,
}

pub(crate) fn with_world(test: impl FnOnce(World<'_>)) {
    let replica = replica();
    let canister = Canister::install(&replica, DURABLE_CANISTER, ());
    let callee = Canister::install(&replica, DURABLE_CANISTER, ());
    let world = World {
        replica: &replica,
        canister,
        callee,
    };
    world.traps(false);
    test(world);
}

pub(crate) fn effect(name: &str) -> Act {
    Act::Effect(name.into())
}

pub(crate) fn call(name: &str, how: How) -> Act {
    Act::Call(name.into(), how)
}

pub(crate) fn ok(text: &str) -> Answer {
    Ok(text.into())
}

pub(crate) fn is_in_progress(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(Failure::Idempotency(Refusal::InProgress { .. }))
    )
}

pub(crate) fn is_unknown(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(Failure::Idempotency(Refusal::OutcomeUnknown { .. }))
    )
}

impl World<'_> {
    /// Whether what traps is to trap.
    pub(crate) fn traps(&self, traps: bool) {
        let _: () = self
            .canister
            .update(user(0), "configure", (self.callee.id(), u64::from(traps)))
            .expect("it is configured");
    }

    pub(crate) fn work(&self, key: u8, acts: &[Act]) -> Answer {
        self.call("work", key, acts).expect("it answers")
    }

    pub(crate) fn call(
        &self,
        method: &str,
        key: u8,
        acts: &[Act],
    ) -> Result<Answer, pocket_ic::RejectResponse> {
        self.canister
            .update(user(1), method, (ByteBuf::from([key]), acts))
    }

    /// A call whose client never gets the answer.
    pub(crate) fn lose(&self, method: &str, key: u8, acts: &[Act]) {
        let args = (ByteBuf::from([key]), acts);
        self.canister.send(user(1), method, args).expect("accepted");
    }

    pub(crate) fn effects(&self) -> BTreeMap<String, u64> {
        let mut effects: BTreeMap<_, _> = self
            .canister
            .query(user(0), "effects", ())
            .expect("it answers");
        let callees: BTreeMap<String, u64> = self
            .callee
            .query(user(0), "effects", ())
            .expect("it answers");
        effects.extend(callees);
        effects
    }

    pub(crate) fn unknown(&self) -> Vec<Unknown> {
        self.canister
            .query(user(0), "unknown", (0u64, 100u64))
            .expect("it answers")
    }

    pub(crate) fn upgrade(&self) {
        self.canister
            .upgrade(DURABLE_CANISTER, ())
            .expect("it upgrades");
    }

    /// Lets so many rounds pass, of a second each.
    pub(crate) fn rounds(&self, rounds: usize) {
        for _ in 0..rounds {
            self.replica.advance_time(Duration::from_secs(1));
            self.replica.tick();
        }
    }
}

fn once(names: &[&str]) -> BTreeMap<String, u64> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

#[test]
fn a_request_without_faults_runs_once() {
    with_world(|it| {
        let acts = [
            effect("debit"),
            call("credit", How::Repeatable),
            call("notify", How::Once),
            Act::Both("left".into(), "right".into()),
        ];
        let said = ok("debit 1; credit 1; notify 1; left 1, right 1");
        assert_eq!(it.work(1, &acts), said);
        assert_eq!(it.work(1, &acts), said);
        assert_eq!(
            it.effects(),
            once(&["debit", "credit", "notify", "left", "right"])
        );
        assert_eq!(it.unknown(), []);
        let reused = Err(Failure::Idempotency(Refusal::KeyReused));
        assert_eq!(it.work(1, &[Act::Fail]), reused);
    });
}

/// Shows G12 and G13.
#[test]
fn a_trap_at_any_message_ends_as_without_it_and_by_itself() {
    let acts = [
        effect("debit"),
        call("credit", How::Repeatable),
        call("notify", How::Verified),
        effect("record"),
    ];
    let said = ok("debit 1; credit 1; notify 1; record 1");
    let mut applied = 0;
    for number in 1..=12 {
        for at in [1, 5, 10, 20, 40, 80] {
            with_world(|it| {
                let fault = Fault::Message {
                    canister: it.canister.id(),
                    number,
                    what: MessageFault::TrapAtCall(at),
                };
                let plan = Plan::Schedule(Schedule(vec![fault]));
                let Some(faults) = Faults::install(it.replica, &plan) else {
                    return;
                };
                it.lose("work", 1, &acts);
                it.rounds(12);
                let is_first = number == 1;
                let has_applied = !faults.report().applied.0.is_empty();
                applied += u32::from(has_applied);
                faults.stop();
                if is_first && has_applied {
                    assert_eq!(it.effects(), BTreeMap::new());
                } else {
                    assert_eq!(
                        it.effects(),
                        once(&["debit", "credit", "notify", "record"]),
                        "{number} {at}"
                    );
                }
                assert_eq!(it.work(1, &acts), said, "{number} {at}");
                assert_eq!(it.effects(), once(&["debit", "credit", "notify", "record"]));
                assert_eq!(it.unknown(), []);
            });
        }
    }
    assert!(applied > 20, "{applied}");
}

/// Shows G12.
#[test]
fn upgrades_every_few_rounds_end_every_request() {
    with_world(|it| {
        let acts = |key: u8| {
            [
                effect(&format!("debit {key}")),
                call(&format!("credit {key}"), How::Repeatable),
                Act::Sleep(5),
                call(&format!("notify {key}"), How::Verified),
            ]
        };
        for key in 0..8 {
            it.lose("work", key, &acts(key));
        }
        for _ in 0..10 {
            it.rounds(2);
            it.upgrade();
        }
        it.rounds(10);
        let effects = it.effects();
        assert_eq!(effects.len(), 24, "without a client");
        assert!(effects.values().all(|count| *count == 1), "{effects:?}");
        for key in 0..8 {
            let said = format!("debit {key} 1; credit {key} 1; notify {key} 1");
            assert_eq!(it.work(key, &acts(key)), Ok(said));
        }
        assert_eq!((it.effects(), it.unknown()), (effects, vec![]));
    });
}

/// A call whose answer is not believed: the callee is upgraded, or stopped, or the answer is lost.
#[test]
fn what_the_callee_did_is_asked_and_not_done_again() {
    for what in [
        AnswerFault::Lose,
        AnswerFault::Reject { code: 5 },
        AnswerFault::Reject { code: 4 },
    ] {
        for number in 1..=4 {
            with_world(|it| {
                let canister = it.canister.id();
                let fault = Fault::Answer {
                    canister,
                    number,
                    what,
                };
                let plan = Plan::Schedule(Schedule(vec![fault]));
                if Faults::install(it.replica, &plan).is_none() {
                    return;
                }
                let acts = [
                    call("credit", How::Repeatable),
                    call("notify", How::Verified),
                ];
                it.lose("work", 1, &acts);
                it.rounds(12);
                assert_eq!(
                    it.effects(),
                    once(&["credit", "notify"]),
                    "{what:?} {number}"
                );
                assert_eq!(
                    it.work(1, &acts),
                    ok("credit 1; notify 1"),
                    "{what:?} {number}"
                );
            });
        }
    }
}

/// Shows G13.
#[test]
fn what_nobody_can_tell_is_parked_and_shown() {
    with_world(|it| {
        for (key, how) in [(1, How::Once), (2, How::Unverifiable)] {
            let name = format!("pay {key}");
            let acts = [effect(&format!("note {key}")), call(&name, how)];
            // The answer meets a heap that does not know it.
            it.lose("work", key, &acts);
            let fault = Fault::Message {
                canister: it.canister.id(),
                number: 3,
                what: MessageFault::Upgrade,
            };
            let plan = Plan::Schedule(Schedule(vec![fault]));
            let Some(faults) = Faults::install(it.replica, &plan) else {
                return;
            };
            it.rounds(8);
            faults.stop();
            let unknown = it.unknown();
            let parked = unknown.last().expect("it is parked");
            assert_eq!(
                (parked.endpoint.as_str(), parked.last_step.as_deref()),
                ("work", Some(&*name))
            );
            let reason = parked.reason.as_deref().unwrap_or_default();
            assert!(reason.contains(&name), "{reason}");
            assert_eq!(it.effects()[&name], 1);
            for _ in 0..3 {
                assert!(is_unknown(&it.work(key, &acts)));
                it.upgrade();
                it.rounds(3);
            }
            assert_eq!(
                (it.effects()[&name], it.unknown().len()),
                (1, usize::from(key))
            );
        }
    });
}

#[test]
fn a_parked_request_is_settled_by_its_resolver() {
    with_world(|it| {
        let acts = [effect("before"), Act::Twice, effect("after")];
        let answer = || it.call("work_resolved", 1, &acts).unwrap();
        // It parks, and its resolver does not know.
        assert!(is_unknown(&answer()));
        assert_eq!(it.unknown().len(), 1);
        let settled = |_: u8| {
            let _: u64 = it.callee.update(user(0), "bump", ("settled",)).unwrap();
        };
        // It did nothing: it begins anew, by itself, and parks again.
        settled(1);
        assert!(is_in_progress(&answer()));
        it.rounds(3);
        assert_eq!(it.effects()["before"], 2);
        settled(2);
        for _ in 0..2 {
            assert_eq!(answer(), ok("settled after 2 steps"));
        }
        assert_eq!((it.unknown(), it.effects()["before"]), (vec![], 2));
        assert!(!it.effects().contains_key("after"));
    });
}

/// Traps are not for ever, and what traps for ever is parked.
#[test]
fn what_traps_is_tried_again_and_then_parked() {
    with_world(|it| {
        for (key, trap) in [(1, Act::Trap), (2, Act::TrapLater)] {
            let acts = [
                call(&format!("a {key}"), How::Repeatable),
                trap,
                effect(&format!("b {key}")),
            ];
            it.traps(true);
            assert!(is_in_progress(&it.work(key, &acts)));
            it.rounds(10);
            it.traps(false);
            it.rounds(40);
            assert_eq!(it.effects()[&format!("b {key}")], 1);
            assert_eq!(it.work(key, &acts), Ok(format!("a {key} 1; b {key} 1")));
        }
        it.traps(true);
        let acts = [effect("c"), Act::Trap];
        assert!(is_in_progress(&it.work(3, &acts)));
        for _ in 0..12 {
            it.replica.advance_time(Duration::from_secs(1_100));
            it.rounds(3);
        }
        let unknown = it.unknown();
        let reason = unknown[0].reason.as_deref().unwrap_or_default();
        assert!(reason.contains("trapped"), "{reason}");
        // The first step is in one message with the trap, and so is undone.
        assert!(!it.effects().contains_key("c"));
    });
}

/// Shows G14.
#[test]
fn what_was_asked_for_is_the_same_in_each_attempt() {
    with_world(|it| {
        let acts = [Act::Tell, Act::Sleep(3), Act::TrapLater, Act::Tell];
        it.traps(true);
        assert!(is_in_progress(&it.work(1, &acts)));
        it.rounds(8);
        it.upgrade();
        it.traps(false);
        it.rounds(30);
        let Ok(told) = it.work(1, &acts) else {
            panic!("it has ended");
        };
        let told: Vec<&str> = told.split("; ").collect();
        assert_eq!(told.len(), 2);
        assert_ne!(told[0], told[1]);
        let user = user(1).to_text();
        assert!(told.iter().all(|told| told.ends_with(&user)), "{told:?}");
        let time = |told: &str| told.split(' ').next().unwrap().parse::<u64>().unwrap();
        assert!(time(told[1]) - time(told[0]) >= 3_000_000_000);
    });
}

#[test]
fn what_failed_is_undone_in_reverse_order_once() {
    with_world(|it| {
        let acts = [
            call("a", How::Repeatable),
            Act::Undo("a".into()),
            effect("b"),
            Act::Undo("b".into()),
            Act::TrapLater,
            Act::Fail,
        ];
        it.traps(true);
        assert!(is_in_progress(&it.work(1, &acts)));
        it.traps(false);
        it.rounds(8);
        let failed = Err(Failure::Own("planned".into()));
        for _ in 0..2 {
            assert_eq!(it.work(1, &acts), failed);
            assert_eq!(it.effects(), once(&["a", "b", "undo a", "undo b"]));
        }
    });
}

#[test]
fn bad_uses_are_parked_with_a_remedy_and_lose_nothing() {
    with_world(|it| {
        let uses = [(1, Act::Twice, "twice"), (2, Act::Within, "inner")];
        for (key, act, word) in uses {
            let acts = [effect(&format!("before {key}")), act];
            assert!(is_unknown(&it.work(key, &acts)));
            let unknown = it.unknown();
            let reason = unknown.last().unwrap().reason.clone().unwrap_or_default();
            assert!(reason.contains(word), "{reason}");
            assert_eq!(it.effects()[&format!("before {key}")], 1);
        }
    });
}

/// Shows G14.
#[test]
fn changed_code_is_parked_unless_it_says_that_it_has_changed() {
    for (act, is_fine) in [(Act::Renamed, false), (Act::Versioned, true)] {
        with_world(|it| {
            it.traps(true);
            let acts = [act.clone(), Act::Sleep(5), effect("after")];
            assert!(is_in_progress(&it.work(1, &acts)));
            it.traps(false);
            it.upgrade();
            it.rounds(10);
            assert_eq!(it.effects().contains_key("after"), is_fine);
            let unknown = it.unknown();
            assert_eq!(unknown.is_empty(), is_fine, "{unknown:?}");
            if !is_fine {
                let reason = unknown[0].reason.clone().unwrap_or_default();
                assert!(reason.contains("steps.version"), "{reason}");
            }
        });
    }
}

/// A retry does not wake what sleeps, and a lane waits for it.
#[test]
fn a_number_that_sleeps_holds_up_its_lane_until_it_ends() {
    with_world(|it| {
        let number = |number: u64, acts: &[Act]| -> Answer {
            (it.canister)
                .update(user(1), "work_in_order", (number, acts))
                .expect("it answers")
        };
        let first = [Act::Sleep(20), effect("first")];
        assert!(is_in_progress(&number(0, &first)));
        it.upgrade();
        for _ in 0..3 {
            assert!(is_in_progress(&number(0, &first)));
            let gap = Err(Failure::Idempotency(Refusal::SequenceGap { expected: 0 }));
            assert_eq!(number(1, &[]), gap);
        }
        it.rounds(25);
        assert_eq!(number(1, &[effect("second")]), ok("second 1"));
        assert_eq!(number(0, &first), ok("first 1"));
    });
}

#[test]
fn nobody_else_goes_on_with_a_request() {
    with_world(|it| {
        let method = "<idempotency> work";
        for argument in [vec![], vec![0; 9], [&[1][..], &1u64.to_le_bytes()].concat()] {
            let refused = it.canister.update_raw(user(1), method, argument);
            let text = refused
                .expect_err("it is the canister's own")
                .reject_message;
            assert!(text.contains("NotForClients"), "{text}");
        }
        let anonymous = candid::Principal::anonymous();
        let answer: Answer = it
            .canister
            .update(anonymous, "work", (ByteBuf::from([1]), Vec::<Act>::new()))
            .expect("it answers");
        assert_eq!(answer, Err(Failure::Idempotency(Refusal::AnonymousRefused)));
    });
}

#[test]
fn an_argument_that_can_not_be_kept_is_refused() {
    with_world(|it| {
        let long = [effect(&"x".repeat(70_000))];
        let refused = it.work(1, &long);
        let is_too_long = matches!(
            &refused,
            Err(Failure::Idempotency(Refusal::Other { code: 1, .. }))
        );
        assert!(is_too_long);
        assert_eq!(it.effects().len(), 0);
        // It did nothing, so the key is free.
        assert_eq!(it.work(1, &[effect("short")]), ok("short 1"));
        // Steps that do not fit park.
        let many: Vec<_> = (0..1_200)
            .map(|number| effect(&format!("step {number}")))
            .collect();
        let answer = it.work(2, &many);
        assert!(is_unknown(&answer), "{answer:?}");
        let reason = it.unknown()[0].reason.clone().unwrap_or_default();
        assert!(reason.contains("max_journal_bytes"), "{reason}");
    });
}

/// What is refused for want of room is not paid for.
#[test]
fn what_can_not_be_kept_is_not_charged() {
    with_world(|it| {
        let payer = Canister::install(it.replica, TEST_CANISTER, ());
        let pay = |key: u8, acts: Vec<Act>| {
            let arg = candid::encode_args((ByteBuf::from([key]), acts)).expect("it encodes");
            let (reply, refunded) = payer.forward(it.canister.id(), "work_paid", arg, 1_000_000);
            let reply = reply.expect("it answers");
            (
                candid::decode_one::<Answer>(&reply).expect("it decodes"),
                refunded,
            )
        };
        let (refused, refunded) = pay(1, vec![effect(&"x".repeat(70_000))]);
        let refused = matches!(
            refused,
            Err(Failure::Idempotency(Refusal::Other { code: 1, .. }))
        );
        assert!(refused);
        assert_eq!(refunded, 1_000_000);
        assert_eq!(pay(1, vec![effect("a")]), (ok("a 1"), 0));
        assert_eq!(pay(1, vec![effect("a")]), (ok("a 1"), 1_000_000));
    });
}

/// The cycles that tell an attempt's call from others come back.
#[test]
fn attempts_cost_no_cycles_but_their_messages() {
    with_world(|it| {
        let charged = |key| {
            it.canister
                .cycles_charged(|| it.work(key, &[effect("a")]))
                .1
        };
        let (first, later) = (charged(1), charged(2));
        assert!(first.abs_diff(later) < first / 10, "{first} {later}");
        assert!(later < 60_000_000, "{later}");
    });
}
