//! Whether a canister says what became of requests as the draft standard wants it: `docs/src/standard.md`.
//!
//! The checks make one call, twice, and ask before and after. They know nothing of the canister but what a [`Case`] says, and reach it
//! through a [`Subject`]: any canister on any network.

use candid::{IDLArgs, decode_one, encode_one};
use idempotency_core::{
    IdempotencyError,
    outcome::{Asked, Outcome, Verdict},
};
use serde_bytes::ByteBuf;
use std::fmt;

/// The query of the standard.
pub const METHOD: &str = "idempotency_outcomes";

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Whoever makes the call.
    Owner,
    /// Somebody else.
    Stranger,
    /// The anonymous principal.
    Nobody,
}

/// A canister that is checked.
pub trait Subject {
    /// A query call; the reply, or why there is none.
    fn query(&self, who: Who, method: &str, arg: &[u8]) -> Result<Vec<u8>, String>;
    /// An update call; the reply, or why there is none.
    fn update(&self, who: Who, method: &str, arg: &[u8]) -> Result<Vec<u8>, String>;
}

/// A call that the canister is asked about. It is made.
#[derive(Clone, Debug)]
pub struct Case {
    /// The method.
    pub method: String,
    /// An argument that no call had before: its key is new.
    pub arg: Vec<u8>,
    /// An argument with the same key and another content, if the method has such.
    pub other_arg: Option<Vec<u8>>,
    /// Whether callers share their requests (`scope = global`, say), so that a stranger may be told.
    pub is_shared: bool,
}

/// What a canister does not do as the standard says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The promise, by its number on the page; 0 for the interface.
    pub promise: u8,
    /// What was seen, and what should have been.
    pub seen: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "promise {}: {}", self.promise, self.seen)
    }
}

type Answer = Result<Outcome, IdempotencyError>;

/// Makes the call and checks what the canister says of it. No problems: it conforms, as far as one call can show.
pub fn check(subject: &dyn Subject, case: &Case) -> Vec<Problem> {
    let mut check = Check {
        subject,
        problems: vec![],
    };
    // Where the interface is another one, the rest says nothing.
    if let Err(problem) = check.run(case) {
        check.problems.push(problem);
    }
    check.problems
}

struct Check<'a> {
    subject: &'a dyn Subject,
    problems: Vec<Problem>,
}

impl Check<'_> {
    fn expect(&mut self, promise: u8, holds: bool, seen: impl FnOnce() -> String) {
        if !holds {
            let seen = seen();
            self.problems.push(Problem { promise, seen });
        }
    }

    fn run(&mut self, case: &Case) -> Result<(), Problem> {
        let asked = |method: &str, arg: &[u8]| Asked {
            method: method.to_owned(),
            arg: ByteBuf::from(arg),
        };
        let call = asked(&case.method, &case.arg);
        let nonsense = [
            asked("no such method of any canister", &case.arg),
            call.clone(),
            asked(&case.method, b"no candid"),
        ];
        self.ask(Who::Owner, &[])?;
        let answers = self.ask(Who::Owner, &nonsense)?;
        self.before(&answers);
        self.expect_strangers_to_know_nothing(case, &call, "before the call")?;

        let first = self.call(case)?;
        let told = self.ask_one(&call)?;
        let again = self.call(case)?;
        self.after(&told, &first, &again);
        let later = self.ask_one(&call)?;
        self.expect(5, later == told, || {
            format!("after a retry the answer is {later:?}, and it was {told:?}")
        });
        self.expect_strangers_to_know_nothing(case, &call, "after the call")?;
        if let Some(other) = &case.other_arg {
            let other = self.ask_one(&asked(&case.method, other))?;
            let is_refused = matches!(other, Err(IdempotencyError::KeyReused));
            self.expect(4, is_refused, || {
                format!(
                    "asked with the same key and another content it says {other:?}, and not KeyReused"
                )
            });
        }
        if let Some(arg) = encoded_otherwise(&case.arg) {
            let other = self.ask_one(&asked(&case.method, &arg))?;
            self.expect(2, other == told, || {
                format!("asked with the same values in another encoding it says {other:?}")
            });
        }
        Ok(())
    }

    /// The answers to questions about no method, the call before it is made, and no argument.
    fn before(&mut self, answers: &[Answer]) {
        let [no_method, call, no_candid] = answers else {
            return;
        };
        let is_code = |answer: &Answer, expected: u32| matches!(answer, Err(IdempotencyError::Other { code, .. }) if *code == expected);
        self.expect(4, is_code(no_method, 4), || {
            format!("of a method that does not exist it says {no_method:?}, and not Other with the code 4")
        });
        self.expect(4, is_code(no_candid, 3), || {
            format!("of an argument that is no candid it says {no_candid:?}, and not Other with the code 3")
        });
        let can_run = matches!(
            call,
            Ok(Outcome::Absent {
                verdict: Verdict::CanStillRun { .. },
                ..
            })
        );
        self.expect(7, can_run, || {
            format!(
                "before the call it says {call:?}, and not that it can still run; was its key used before?"
            )
        });
    }

    fn after(&mut self, told: &Answer, first: &[u8], again: &[u8]) {
        let Ok(Outcome::Done {
            reply,
            executed_at,
            guaranteed_until,
        }) = told
        else {
            let seen = format!("after the call it says {told:?}, and not Done");
            return self.expect(5, false, || seen);
        };
        self.expect(5, reply.as_slice() == again, || {
            let is_first = match reply.as_slice() == first {
                true => "the first call's",
                false => "no call's",
            };
            format!("the reply that it tells is not what a retry gets, but {is_first}")
        });
        self.expect(5, executed_at <= guaranteed_until, || {
            format!("it was executed at {executed_at}, and is remembered until {guaranteed_until}")
        });
    }

    fn expect_strangers_to_know_nothing(
        &mut self,
        case: &Case,
        call: &Asked,
        when: &str,
    ) -> Result<(), Problem> {
        for who in [Who::Stranger, Who::Nobody] {
            let answers = self.ask(who, std::slice::from_ref(call))?;
            let knows = !matches!(&answers[..], [Ok(Outcome::Absent { .. }) | Err(_)]);
            self.expect(3, !knows || case.is_shared, || {
                format!("{when} {who:?} is told {answers:?}")
            });
        }
        Ok(())
    }

    fn call(&self, case: &Case) -> Result<Vec<u8>, Problem> {
        let reply = self.subject.update(Who::Owner, &case.method, &case.arg);
        reply.map_err(|error| Problem {
            promise: 0,
            seen: format!("the call of {} fails: {error}", case.method),
        })
    }

    fn ask_one(&mut self, asked: &Asked) -> Result<Answer, Problem> {
        let mut answers = self.ask(Who::Owner, std::slice::from_ref(asked))?;
        Ok(answers.remove(0))
    }

    /// Asks, as a query and as an update, which must say the same.
    fn ask(&mut self, who: Who, calls: &[Asked]) -> Result<Vec<Answer>, Problem> {
        let arg = encode_one(calls).map_err(|error| Problem {
            promise: 0,
            seen: format!("the question does not encode: {error}"),
        })?;
        let queried = answers("query", self.subject.query(who, METHOD, &arg), calls)?;
        let updated = answers("update", self.subject.update(who, METHOD, &arg), calls)?;
        let are_equal = timeless(&queried) == timeless(&updated);
        self.expect(1, are_equal, || {
            format!("as a query it says {queried:?}, and as an update {updated:?}")
        });
        Ok(updated)
    }
}

/// The answers in a reply.
fn answers(
    how: &str,
    reply: Result<Vec<u8>, String>,
    calls: &[Asked],
) -> Result<Vec<Answer>, Problem> {
    let problem = |promise, seen| Problem { promise, seen };
    let reply = reply.map_err(|error| problem(0, format!("{METHOD} as {how} fails: {error}")))?;
    let answers: Vec<Answer> = decode_one(&reply).map_err(|error| {
        problem(
            0,
            format!("the answer to the {how} does not decode: {error}"),
        )
    })?;
    match answers.len() == calls.len() {
        true => Ok(answers),
        false => Err(problem(
            1,
            format!(
                "to {} questions the {how} gives {} answers",
                calls.len(),
                answers.len()
            ),
        )),
    }
}

/// Without the time of the answer.
fn timeless(answers: &[Answer]) -> Vec<Answer> {
    let one = |answer: &Answer| match answer {
        Ok(Outcome::Absent { verdict, .. }) => Ok(Outcome::Absent {
            as_of: Default::default(),
            verdict: *verdict,
        }),
        answer => answer.clone(),
    };
    answers.iter().map(one).collect()
}

/// The same values in other bytes: with the types that candid makes of them, and those that the client declared are gone.
fn encoded_otherwise(arg: &[u8]) -> Option<Vec<u8>> {
    let values = IDLArgs::from_bytes(arg).ok()?;
    let encoded = values.to_bytes().ok()?;
    (encoded != arg).then_some(encoded)
}
