//! Durable methods: what was accepted ends by itself, in the outcome that it would have had without the fault.

use candid::CandidType;
use integration_tests::{Canister, DURABLE_CANISTER, Faults, replica, user};
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
        let acts = [
            effect("debit"),
            call("credit", How::Repeatable),
            Act::Sleep(5),
            call("notify", How::Verified),
            Act::Tell,
        ];
        for key in 0..8 {
            it.lose(
                "work",
                key,
                &[
                    effect(&format!("debit {key}")),
                    call(&format!("credit {key}"), How::Repeatable),
                    Act::Sleep(5),
                    call(&format!("notify {key}"), How::Verified),
                ],
            );
        }
        for _ in 0..10 {
            it.rounds(2);
            it.upgrade();
        }
        it.rounds(10);
        for key in 0..8 {
            let acts = [
                effect(&format!("debit {key}")),
                call(&format!("credit {key}"), How::Repeatable),
                Act::Sleep(5),
                call(&format!("notify {key}"), How::Verified),
            ];
            assert_eq!(
                it.work(key, &acts),
                Ok(format!("debit {key} 1; credit {key} 1; notify {key} 1"))
            );
        }
        assert!(it.effects().values().all(|count| *count == 1));
        assert_eq!(it.unknown(), []);
        drop(acts);
    });
}
