//! A retry that is recognised before its argument is decoded is answered as if it had been decoded first: the same calls of the same
//! methods with and without that.

use super::{
    WINDOW,
    ic::TestStore,
    native::{Message, Native, Stage, Trap},
    user,
};
use crate::{
    Policy, Store, Timestamp,
    attempt::{
        Nobody,
        endpoint::{Compare, Endpoint, Recognise},
        serve::{serve, serve_async},
    },
    error::IdempotencyError,
    idempotent,
};
use candid::{CandidType, Deserialize, Principal};
use ic_stable_structures::VectorMemory;
use proptest::prelude::*;
use std::{
    cell::Cell,
    future::pending,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    rc::Rc,
    task::{Context, Waker},
    time::Duration,
};

#[derive(CandidType, Clone, Debug, Deserialize)]
enum Failure {
    Poor(u64),
    Repeated(String),
    Refused(IdempotencyError),
}

impl From<IdempotencyError> for Failure {
    fn from(error: IdempotencyError) -> Self {
        Self::Refused(error)
    }
}

type Arguments = (u8, u8, Option<u64>);
type Reply = Result<String, Failure>;

/// Calls a method, which goes on as it is told to. Whether retries are recognised before they are decoded.
type Serve = fn(bool, &Native, &TestStore, Does);

type Does = Rc<dyn Fn(Arguments) -> Option<Reply>>;

thread_local! {
    static STORE: Store<VectorMemory> = unreachable!("the test has a store of its own");
}

fn again(first: Reply) -> Reply {
    first.and_then(|first| Err(Failure::Repeated(first)))
}

fn same<A>(compare: &Compare<A>) -> Compare<A> {
    match compare {
        Compare::Arguments => Compare::Arguments,
        Compare::Expression(chosen) => Compare::Expression(*chosen),
        Compare::Nothing => Compare::Nothing,
    }
}

macro_rules! methods {
    ([$id:ident $amount:ident $extra:ident]; $($kind:ident $name:ident($($option:tt)*);)*) => {
        $(methods!(@method $kind $name [$id $amount $extra] [$($option)*]);)*

        const METHODS: &[Serve] = &[$(|recognises, ic, store, does| {
            let endpoint = &crate::attempt::attribute_of!(crate; $name).endpoint;
            let decoding = Endpoint {
                recognise: Recognise::Never,
                compare: same(&endpoint.compare),
                ..*endpoint
            };
            let endpoint = if recognises { endpoint } else { Box::leak(Box::new(decoding)) };
            methods!(@serve $kind ic, store, does, endpoint);
        },)*];
    };
    (@method sync $name:ident [$id:ident $amount:ident $extra:ident] [$($option:tt)*]) => {
        #[idempotent(crate = crate, store = STORE, $($option)*)]
        #[ic_cdk::update]
        fn $name($id: u8, $amount: u8, $extra: Option<u64>) -> Reply {
            unreachable!("{:?}: the test says what it does", ($id, $amount, $extra))
        }
    };
    (@method later $name:ident [$id:ident $amount:ident $extra:ident] [$($option:tt)*]) => {
        #[idempotent(crate = crate, store = STORE, $($option)*)]
        #[ic_cdk::update]
        async fn $name($id: u8, $amount: u8, $extra: Option<u64>) -> Reply {
            unreachable!("{:?}: the test says what it does", ($id, $amount, $extra))
        }
    };
    (@serve sync $ic:ident, $store:ident, $does:ident, $endpoint:ident) => {
        serve($ic, $store, $endpoint, move |arguments| {
            $does(arguments).unwrap_or_else(|| Ok("in time".to_owned()))
        })
    };
    (@serve later $ic:ident, $store:ident, $does:ident, $endpoint:ident) => {
        let run = |arguments| {
            let does = $does(arguments);
            async move {
                match does {
                    Some(reply) => reply,
                    None => pending().await,
                }
            }
        };
        let call = pin!(serve_async($ic.clone(), $store.clone(), $endpoint, run, Nobody));
        // One that waits is cut off.
        let _ = call.poll(&mut Context::from_waker(Waker::noop()));
    };
}

methods! {
    [id amount extra];
    sync by_key(key = id);
    sync by_optional_key(key = extra);
    sync by_required_key(key = extra, required);
    sync by_arguments(key = args);
    sync by_arguments_in_time(key = args, created_at = extra.map(Timestamp::from_nanos));
    sync comparing_amounts(key = id, fingerprint = amount);
    sync comparing_nothing(key = id, fingerprint = off);
    sync in_time(key = (id, extra), created_at = extra.map(Timestamp::from_nanos), fingerprint = off);
    sync mapped(key = id, on_replay = again);
    sync keeping_errors(key = id, errors = keep);
    sync for_anybody(key = id, anonymous);
    sync for_all_together(key = id, scope = global);
    sync of_accounts(key = id, scope = amount);
    sync in_strict_order(sequence = u64::from(*id));
    sync in_any_order(sequence = u64::from(*id), max_in_flight = 4, first_incomplete = *extra, fingerprint = amount);
    later asynchronous(key = id);
    later forgetting_errors(key = id, errors = forget);
    later in_asynchronous_order(sequence = u64::from(*id));
}

/// How a client encodes its arguments.
#[derive(Clone, Copy, Debug)]
enum Encoding {
    Usual,
    /// Without the last argument, where that is `null`.
    Short,
    /// With an argument that the method does not know.
    Long,
    /// The last one is no `opt`, which is the same to candid.
    Plain,
    /// The first one is an `opt`, which no method here takes: the values are equal all the same.
    Wrong,
    /// It is no candid.
    Garbage,
}

fn encoded((id, amount, extra): Arguments, encoding: Encoding) -> Vec<u8> {
    let bytes = match (encoding, extra) {
        (Encoding::Garbage, _) => return vec![id, amount],
        (Encoding::Short, None) => candid::encode_args((id, amount)),
        (Encoding::Long, _) => candid::encode_args((id, amount, extra, None::<u8>)),
        (Encoding::Plain, Some(extra)) => candid::encode_args((id, amount, extra)),
        (Encoding::Wrong, _) => candid::encode_args((Some(id), amount, extra)),
        _ => candid::encode_args((id, amount, extra)),
    };
    bytes.expect("it encodes")
}

#[derive(Clone, Debug)]
struct Step {
    method: usize,
    caller: u8,
    arguments: (u8, u8, Option<u8>),
    encoding: Encoding,
    is_cut_off: bool,
    /// In eighths of a window.
    pause: u8,
    /// The window of the policy with which the store is opened anew before it, in halves.
    upgrade: Option<u8>,
    evicts: bool,
}

fn step() -> impl Strategy<Value = Step> {
    let encoding = prop_oneof![
        8 => Just(Encoding::Usual),
        1 => Just(Encoding::Short),
        1 => Just(Encoding::Long),
        1 => Just(Encoding::Plain),
        1 => Just(Encoding::Wrong),
        1 => Just(Encoding::Garbage),
    ];
    let pause = prop_oneof![12 => Just(0), 3 => 1..3u8, 1 => 8..20u8];
    (
        0..METHODS.len(),
        0..3u8,
        (0..4u8, 0..4u8, proptest::option::of(0..4u8)),
        encoding,
        proptest::bool::weighted(0.2),
        pause,
        proptest::option::weighted(0.05, 1..4u8),
        proptest::bool::weighted(0.05),
    )
        .prop_map(
            |(method, caller, arguments, encoding, is_cut_off, pause, upgrade, evicts)| Step {
                method,
                caller,
                arguments,
                encoding,
                is_cut_off,
                pause,
                upgrade,
                evicts,
            },
        )
}

fn policy(halves: u32) -> Policy {
    Policy::new()
        .window(WINDOW * halves / 2)
        .drift(Duration::from_secs(1))
        .capacity(40)
        .max_reply_bytes(200)
        .capacity_bytes(40 * 128 + 4_000)
        .drop_replies()
}

/// A canister.
struct World {
    recognises: bool,
    memory: VectorMemory,
    store: TestStore,
    /// How often any method was run: no two runs have the same answer.
    runs: Rc<Cell<u64>>,
}

impl World {
    fn new(recognises: bool) -> Self {
        let memory = VectorMemory::default();
        let store = Store::open(memory.clone(), policy(2), Timestamp::from_nanos(0));
        Self {
            recognises,
            memory,
            store: TestStore::new(store.unwrap()),
            runs: Rc::default(),
        }
    }

    /// What the client is answered with, or the text of a trap.
    fn take(&mut self, step: &Step, now: u64) -> Result<Vec<u8>, String> {
        if let Some(halves) = step.upgrade {
            let now = Timestamp::from_nanos(now);
            let store = Store::open(self.memory.clone(), policy(halves.into()), now);
            self.store = TestStore::new(store.unwrap());
        }
        if step.evicts {
            let now = Timestamp::from_nanos(now);
            self.store.0.evict(now, 1).unwrap();
        }
        let ic = Native::default();
        ic.pass(Duration::from_nanos(now));
        let (id, amount, extra) = step.arguments;
        let half = WINDOW.as_nanos() as u64 / 2;
        let arguments = (id, amount, extra.map(|extra| u64::from(extra) * half));
        let caller = match step.caller {
            0 => Principal::anonymous(),
            caller => user(caller),
        };
        ic.enter(
            Stage::First,
            Message {
                caller,
                deadline: 0,
                instructions: 0,
                method: "",
                argument: encoded(arguments, step.encoding),
            },
        );
        let (runs, is_cut_off) = (Rc::clone(&self.runs), step.is_cut_off);
        let run = move |(_, amount, _): Arguments| {
            let run = runs.get() + 1;
            runs.set(run);
            let reply = match amount {
                3 => Err(Failure::Poor(run)),
                // It does not lie in its record.
                2 => Ok(run.to_string().repeat(100)[..100].to_owned()),
                _ => Ok(run.to_string()),
            };
            (!is_cut_off).then_some(reply)
        };
        let serve = METHODS[step.method];
        let served = catch_unwind(AssertUnwindSafe(|| {
            serve(self.recognises, &ic, &self.store, Rc::new(run));
        }));
        match served {
            Ok(()) => ic.take_reply().ok_or_else(|| "not answered".to_owned()),
            Err(trap) => Err(trap.downcast::<Trap>().expect("it trapped").0),
        }
    }
}

proptest! {
    #[test]
    fn a_retry_is_answered_as_if_it_had_been_decoded(steps in proptest::collection::vec(step(), 1..120)) {
        let (mut at_once, mut decoded) = (World::new(true), World::new(false));
        let mut now = 0;
        for step in &steps {
            now += WINDOW.as_nanos() as u64 / 8 * u64::from(step.pause);
            let (is, should) = (at_once.take(step, now), decoded.take(step, now));
            let is_malformed = |answer: &Result<_, String>| {
                matches!(answer, Err(text) if text.starts_with("MalformedArgument"))
            };
            if is_malformed(&should) && !is_malformed(&is) {
                // Candid would not have it decoded, but its values are those of a call that is known.
                prop_assert!(matches!(step.encoding, Encoding::Wrong), "{step:?}: {is:?}");
                let right = Step { encoding: Encoding::Usual, upgrade: None, evicts: false, ..step.clone() };
                prop_assert_eq!(&is, &decoded.take(&right, now), "{:?}", step);
            } else {
                prop_assert_eq!(is, should, "{:?}", step);
            }
            prop_assert_eq!(at_once.runs.get(), decoded.runs.get(), "{:?}", step);
            let entries = |world: &World| world.store.0.stats().entries;
            prop_assert_eq!(entries(&at_once), entries(&decoded), "{:?}", step);
        }
    }
}

mod decodes {
    use super::*;

    thread_local! {
        static DECODED: Cell<u32> = const { Cell::new(0) };
    }

    fn read(bytes: Vec<u8>) -> (u8, u8) {
        DECODED.set(DECODED.get() + 1);
        candid::decode_args(&bytes).expect("it decodes")
    }

    #[idempotent(crate = crate, store = STORE, key = id)]
    #[ic_cdk::update(decode_with = "read")]
    fn pay_read(id: u8, amount: u8) -> u8 {
        id + amount
    }

    #[idempotent(crate = crate, store = STORE, key = id, alias = off)]
    #[ic_cdk::update(decode_with = "read")]
    fn pay_always_read(id: u8, amount: u8) -> u8 {
        id + amount
    }

    #[test]
    fn a_retry_is_not_decoded() {
        let store = Store::open(VectorMemory::default(), policy(2), Timestamp::from_nanos(0));
        let store = TestStore::new(store.unwrap());
        let send = |is_decoded: bool, caller: u8, arguments: (u8, u8)| {
            let ic = Native::default();
            let message = Message {
                caller: user(caller),
                deadline: 0,
                instructions: 0,
                method: "",
                argument: candid::encode_args(arguments).unwrap(),
            };
            ic.enter(Stage::First, message);
            let run = |(id, amount)| id + amount;
            let before = DECODED.get();
            match is_decoded {
                true => {
                    let attribute = crate::attempt::attribute_of!(crate; pay_always_read);
                    serve(&ic, &store, &attribute.endpoint, run);
                }
                false => {
                    let attribute = crate::attempt::attribute_of!(crate; pay_read);
                    serve(&ic, &store, &attribute.endpoint, run);
                }
            }
            (
                candid::decode_one::<u8>(&ic.take_reply().unwrap()).unwrap(),
                DECODED.get() - before,
            )
        };
        assert_eq!(send(false, 1, (1, 2)), (3, 1));
        assert_eq!(send(false, 1, (1, 2)), (3, 0));
        // Another caller, another endpoint, another argument.
        assert_eq!(send(false, 2, (1, 2)), (3, 1));
        assert_eq!(send(true, 1, (1, 2)), (3, 1));
        assert_eq!(send(true, 1, (1, 2)), (3, 1));
        assert_eq!(send(false, 1, (2, 2)), (4, 1));
        assert_eq!(send(false, 1, (1, 2)), (3, 0));
    }
}
