//! `outcomes!`: what became of a call, asked instead of sending it again.

use crate::{
    common::Refusal,
    durable::{Act, Answer, How, World, call, effect, ok, with_world},
};
use candid::{CandidType, Principal, encode_args};
use integration_tests::{Faults, user};
use local_replica::faults::{Fault, MessageFault, Plan, Schedule};
use serde::Deserialize;
use serde_bytes::ByteBuf;

#[derive(CandidType, Clone, Debug)]
struct Asked {
    method: String,
    arg: ByteBuf,
}

/// The library's types as a client reads them: declared here, so that a change of the interface shows.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
enum Outcome {
    Done {
        reply: ByteBuf,
        executed_at: u64,
        guaranteed_until: u64,
    },
    ReplyDropped {
        executed_at: u64,
        guaranteed_until: u64,
    },
    Pending {
        since: u64,
        step: Option<String>,
    },
    Unknown {
        since: u64,
        step: Option<String>,
    },
    Absent {
        as_of: u64,
        verdict: Verdict,
    },
}

#[derive(CandidType, Clone, Debug, Deserialize, PartialEq)]
enum Verdict {
    CanStillRun { until: Option<u64> },
    NeverRan,
    MayHaveRun,
}

const ASK: &str = "idempotency_outcomes";

fn asked(method: &str, key: u8, acts: &[Act]) -> Asked {
    Asked {
        method: method.to_owned(),
        arg: ByteBuf::from(encode_args((ByteBuf::from([key]), acts)).expect("it encodes")),
    }
}

impl World<'_> {
    fn ask(&self, caller: Principal, calls: &[Asked]) -> Vec<Result<Outcome, Refusal>> {
        let asked: Vec<_> = self
            .canister
            .query(caller, ASK, (calls,))
            .expect("it answers");
        // Certified, as any reply to an update: the same, but for the time of the answer.
        let certified: Vec<Result<Outcome, Refusal>> = self
            .canister
            .update(caller, ASK, (calls,))
            .expect("it answers");
        let timeless = |outcomes: &[Result<Outcome, Refusal>]| -> Vec<_> {
            let outcomes = outcomes.iter().cloned();
            outcomes
                .map(|outcome| match outcome {
                    Ok(Outcome::Absent { verdict, .. }) => {
                        Ok(Outcome::Absent { as_of: 0, verdict })
                    }
                    outcome => outcome,
                })
                .collect()
        };
        assert_eq!(timeless(&certified), timeless(&asked));
        asked
    }

    fn ask_one(&self, asked: Asked) -> Outcome {
        let [outcome] = self.ask(user(1), &[asked]).try_into().expect("one answer");
        outcome.expect("it can be asked")
    }
}

#[test]
fn a_durable_request_is_followed_to_its_end() {
    with_world(|it| {
        let acts = [
            effect("debit"),
            call("credit", How::Repeatable),
            Act::Sleep(30),
            effect("record"),
        ];
        let asked = asked("work", 1, &acts);
        let can_still_run = Verdict::CanStillRun { until: None };
        let is_absent = |outcome: &Outcome| matches!(outcome, Outcome::Absent { verdict, .. } if *verdict == can_still_run);
        assert!(is_absent(&it.ask_one(asked.clone())));
        it.lose("work", 1, &acts);
        it.rounds(3);
        let Outcome::Pending { since, step } = it.ask_one(asked.clone()) else {
            panic!("it sleeps");
        };
        assert_eq!(step.as_deref(), Some("credit"));
        it.upgrade();
        assert_eq!(it.ask_one(asked.clone()), Outcome::Pending { since, step });
        it.rounds(60);
        let Outcome::Done {
            reply,
            executed_at,
            guaranteed_until,
        } = it.ask_one(asked.clone())
        else {
            panic!("it has ended");
        };
        let said = ok("debit 1; credit 1; record 1");
        assert_eq!(
            candid::decode_one::<Answer>(&reply).expect("an answer"),
            said
        );
        assert_eq!(it.work(1, &acts), said);
        assert!(executed_at == since && guaranteed_until > since);
        // Nobody else is told, and none with other arguments.
        let others = it.ask(user(2), &[asked]);
        assert!(others[0].as_ref().is_ok_and(is_absent), "{others:?}");
        let reused = it.ask(user(1), &[self::asked("work", 1, &[Act::Fail])]);
        assert_eq!(reused, [Err(Refusal::KeyReused)]);
    });
}

#[test]
fn what_nobody_knows_is_said_to_be_unknown() {
    with_world(|it| {
        // Cut off without a trace of what the callee did.
        it.traps(true);
        let paid: Result<Answer, _> =
            (it.canister).update(user(1), "pay_plainly", (ByteBuf::from([7]), "tea"));
        paid.expect_err("it traps");
        it.traps(false);
        let pay = Asked {
            method: "pay_plainly".into(),
            arg: ByteBuf::from(encode_args((ByteBuf::from([7]), "tea")).expect("it encodes")),
        };
        // Parked, as its step is not to be repeated.
        let acts = [effect("debit"), call("notify", How::Unverifiable)];
        it.lose("work", 1, &acts);
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
        let calls = [pay, asked("work", 1, &acts), asked("nothing", 1, &[])];
        let outcomes = it.ask(user(1), &calls);
        assert!(
            matches!(&outcomes[0], Ok(Outcome::Unknown { step: None, .. })),
            "{outcomes:?}"
        );
        assert!(
            matches!(&outcomes[1], Ok(Outcome::Unknown { step: Some(step), .. }) if step == "notify"),
            "{outcomes:?}"
        );
        assert!(matches!(outcomes[2], Err(Refusal::Other { code: 4, .. })));
        it.upgrade();
        assert_eq!(it.ask(user(1), &calls), outcomes);
    });
}
