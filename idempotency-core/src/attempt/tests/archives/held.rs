//! An archive that holds what the test says.

use super::super::native::{Message, Native, Stage};
use crate::{
    alarm::Due,
    archive::{Entry, Kept},
    attempt::{attribute::Attribute, request::identify, serve::serve},
    error::IdempotencyError,
    identity::{Argument, Fingerprinted as _},
    store::{Archived, Keeper, LookingUp, Record, Reply, State, Store},
    table::{Damaged, tail},
    time::Timestamp,
};
use candid::{
    Principal,
    utils::{ArgumentEncoder, encode_args_ref},
};
use ic_stable_structures::VectorMemory;
use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::Duration,
};

/// Clones are the same.
#[derive(Clone, Default)]
pub(super) struct Held(Rc<Inner>);

#[derive(Default)]
struct Inner {
    /// Those that the filter takes for known, and what is archived of them.
    requests: RefCell<BTreeMap<[u8; 16], Option<Archived>>>,
    asked: Cell<u32>,
    forgot_until: Cell<Timestamp>,
}

/// Who makes all calls: a canister.
pub(super) const CALLER: Principal = Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 7, 1, 1]);

pub(super) const EXECUTED_AT: Timestamp = Timestamp::from_secs(5);

impl Held {
    /// It keeps what `store` forgets.
    pub(super) fn of(store: &Store<VectorMemory>) -> Self {
        let held = Self::default();
        store.keep_with(Rc::new(held.clone()));
        held
    }

    /// The filter may hold a call. `kept`: with which reply it is archived, if it is.
    pub(super) fn hold<A: ArgumentEncoder, R, S, I>(
        &self,
        attribute: &Attribute<A, R, S, I>,
        arguments: &A,
        kept: Option<State>,
        digest: Option<[u8; 32]>,
    ) {
        let (endpoint, caller) = (&attribute.endpoint, CALLER);
        let bytes = encode_args_ref(arguments).unwrap();
        let argument = Argument::of_call(&bytes, endpoint.name, &caller);
        let description = (endpoint.describe)(arguments);
        let identified = identify(endpoint, &description, &argument, &caller, (None, false));
        let id = tail(identified.unwrap().expect("it has a key").identity.name());
        let fingerprint = endpoint
            .fingerprint(arguments, &argument, &description)
            .fingerprint();
        let archived = kept.map(|state| {
            let entry = Entry {
                id,
                executed_at: EXECUTED_AT,
                fingerprint,
                kept: Kept::Nothing,
            };
            let entry = Entry::from_bytes(&entry.full()).expect("it is one");
            Archived {
                record: Record {
                    fingerprint: entry.fingerprint,
                    since: entry.executed_at,
                    state,
                },
                digest,
            }
        });
        self.0.requests.borrow_mut().insert(id, archived);
    }

    /// How often it was asked.
    pub(super) fn asked(&self) -> u32 {
        self.0.asked.get()
    }

    pub(super) fn set_forgot_until(&self, instant: Timestamp) {
        self.0.forgot_until.set(instant);
    }
}

impl Keeper for Held {
    fn wake(&self, _: Due) {}

    fn may_hold(&self, id: &[u8; 16]) -> Result<bool, Damaged> {
        Ok(self.0.requests.borrow().contains_key(id))
    }

    fn look_up(&self, id: [u8; 16]) -> LookingUp {
        self.0.asked.set(self.0.asked.get() + 1);
        let its = self.clone();
        let mut is_asked = false;
        Box::pin(poll_fn(move |_| match is_asked {
            true => Poll::Ready(Ok(its.0.requests.borrow()[&id].clone())),
            false => {
                is_asked = true;
                Poll::Pending
            }
        }))
    }

    fn forgot_until(&self) -> Timestamp {
        self.0.forgot_until.get()
    }
}

/// A first reply.
pub(super) fn replied(reply: &impl candid::CandidType) -> Option<State> {
    let reply = candid::encode_one(reply).unwrap();
    Some(State::Done(Reply::first(reply)))
}

/// A call that was sent, and what goes on with it if it waits.
pub(super) struct Call {
    pub(super) ic: Native,
    message: Message,
    waits: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

/// A call of a sync method.
pub(super) fn send<A: ArgumentEncoder, R, S, I>(
    store: &'static std::thread::LocalKey<Store<VectorMemory>>,
    attribute: &'static Attribute<A, R, S, I>,
    arguments: A,
    at: Duration,
    run: impl FnOnce(A) -> R + 'static,
) -> Call {
    send_with(store, attribute, (arguments, 0), at, run)
}

/// As [`send`], with cycles.
pub(super) fn send_with<A: ArgumentEncoder, R, S, I>(
    store: &'static std::thread::LocalKey<Store<VectorMemory>>,
    attribute: &'static Attribute<A, R, S, I>,
    (arguments, cycles): (A, u128),
    at: Duration,
    run: impl FnOnce(A) -> R + 'static,
) -> Call {
    let ic = Native::default();
    ic.pass(at);
    let message = Message {
        caller: CALLER,
        deadline: 0,
        instructions: 1_000,
        method: attribute.endpoint.method,
        argument: encode_args_ref(&arguments).unwrap(),
    };
    ic.enter(Stage::First, message.clone());
    ic.bring(cycles);
    serve(&ic, &store, &attribute.endpoint, run);
    let mut call = Call {
        waits: ic.take_spawned(),
        ic,
        message,
    };
    call.poll();
    call
}

impl Call {
    fn poll(&mut self) {
        if let Some(waits) = &mut self.waits
            && waits
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        {
            self.waits = None;
        }
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waits.is_some()
    }

    /// The archive answers after a time. The cycles that are still there come with the message.
    pub(super) fn go_on(&mut self, later: Duration, cycles: u128) {
        assert!(self.is_waiting());
        self.ic.pass(later);
        self.message.instructions += 1_000;
        self.ic.enter(Stage::Callback(0), self.message.clone());
        self.ic.bring(cycles);
        self.poll();
    }

    /// What it was answered with.
    pub(super) fn reply(&self) -> Vec<u8> {
        assert!(!self.is_waiting());
        self.ic.take_reply().expect("it is answered")
    }

    pub(super) fn read<T: for<'a> candid::Deserialize<'a> + candid::CandidType>(&self) -> T {
        candid::decode_one(&self.reply()).expect("a reply")
    }

    pub(super) fn refusal(&self) -> IdempotencyError {
        let reply: Result<u64, IdempotencyError> = self.read();
        reply.expect_err("a refusal")
    }
}
