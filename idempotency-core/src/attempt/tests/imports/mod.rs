//! What a canister has executed before is imported: the attribute as users write it, run natively.

mod answers;
mod refusals;

use super::{
    WINDOW,
    native::{Message, Native, Stage},
    user,
};
use crate::{
    Policy, Store, Timestamp,
    attempt::{
        attribute::Attribute,
        import::{HasKeys, import_at},
        serve::{serve, serve_async},
    },
    endpoint,
    error::IdempotencyError,
    idempotent,
    import::{Arguments, Executed, ImportError, ImportProblem, Imported},
    store::OpenError,
};
use candid::{Principal, utils::ArgumentEncoder};
use ic_stable_structures::VectorMemory;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    future::{Future, pending},
    pin::pin,
    task::{Context, Waker},
    thread::{self, LocalKey},
    time::Duration,
};

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3_600 * SECOND;
const DRIFT: u64 = 60 * SECOND;
/// Records that expire within so much time are forgotten together.
const PARTITION: u64 = (HOUR + 2 * DRIFT) / 32;
/// The time of the import.
const NOW: u64 = 1_000 * HOUR;

const POLICY: Policy = Policy::new().window(WINDOW).capacity(100);

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn open(memory: VectorMemory, policy: Policy) -> Result<Store<VectorMemory>, OpenError> {
    Store::open(memory, policy, at(NOW))
}

type Stored = LocalKey<Store<VectorMemory>>;

thread_local! {
    static MEMORY: VectorMemory = VectorMemory::default();
    static STORE: Store<VectorMemory> = open(MEMORY.with(VectorMemory::clone), POLICY).expect("it opens");
    /// After an upgrade, with more room.
    static LATER: Store<VectorMemory> =
        open(MEMORY.with(VectorMemory::clone), POLICY.capacity(200)).expect("it opens");
    static SMALL: Store<VectorMemory> = open(MEMORY.with(VectorMemory::clone), POLICY.capacity(3)).expect("it opens");
    static SHARED: Store<VectorMemory> = open(VectorMemory::default(), POLICY.max_reply_bytes(1_000).quota(4, 10_000)).expect("it opens");
    /// The map that a canister has kept: its transfers, and their blocks.
    static SEEN: RefCell<BTreeMap<(Principal, u64), u64>> = RefCell::default();
}

type Answer = Result<u64, IdempotencyError>;

#[idempotent(crate = crate, store = STORE, key = id, created_at = created_at.map(Timestamp::from_nanos))]
#[ic_cdk::update]
fn settle(id: Option<u64>, created_at: Option<u64>, amount: u64) -> Answer {
    Ok(1_000 + amount)
}

#[idempotent(crate = crate, store = LATER, key = id, created_at = created_at.map(Timestamp::from_nanos), name = "settle")]
#[ic_cdk::update]
fn settle_later(id: Option<u64>, created_at: Option<u64>, amount: u64) -> Answer {
    Ok(1_000 + amount)
}

#[idempotent(crate = crate, store = SMALL, key = id, created_at = created_at.map(Timestamp::from_nanos), name = "settle")]
#[ic_cdk::update]
fn settle_in_small(id: Option<u64>, created_at: Option<u64>, amount: u64) -> Answer {
    Ok(1_000 + amount)
}

#[idempotent(crate = crate, store = SHARED, key = id, created_at = created_at.map(Timestamp::from_nanos))]
#[ic_cdk::update]
fn settle_within_quota(id: Option<u64>, created_at: Option<u64>, amount: u64) -> Answer {
    Ok(1_000 + amount)
}

#[idempotent(crate = crate, store = STORE, key = id, scope = global)]
#[ic_cdk::update]
async fn wait(id: u64) -> u64 {
    pending().await
}

#[idempotent(crate = crate, store = STORE, key = args)]
#[ic_cdk::update]
fn order(item: String, count: u64) -> String {
    format!("{count} new {item}")
}

/// Its reply is longer than the store may hold.
#[idempotent(crate = crate, store = SHARED, key = id)]
#[ic_cdk::update]
async fn report(id: u64) -> String {
    "x".repeat(1_001)
}

fn from_bytes(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

#[idempotent(crate = crate, store = STORE, key = length)]
#[ic_cdk::update(decode_with = "from_bytes")]
fn raw(length: u64) -> u64 {
    length
}

#[derive(candid::CandidType, candid::Deserialize, Clone, Debug, PartialEq)]
enum TransferError {
    Duplicate(u64),
    Refused(IdempotencyError),
}

impl From<IdempotencyError> for TransferError {
    fn from(error: IdempotencyError) -> Self {
        Self::Refused(error)
    }
}

/// With the old check in front.
#[idempotent(crate = crate, store = STORE, key = id, on_replay = duplicate)]
#[ic_cdk::update]
fn transfer(id: u64) -> Result<u64, TransferError> {
    let seen = SEEN.with_borrow(|seen| seen.get(&(user(1), id)).copied());
    seen.map_or(Ok(7), |block| Err(TransferError::Duplicate(block)))
}

/// Before `on_replay`, or after it.
#[idempotent(crate = crate, store = LATER, key = id, name = "transfer")]
#[ic_cdk::update]
fn transfer_plainly(id: u64) -> Result<u64, TransferError> {
    Ok(id)
}

fn transferred(id: u64, block: u64) -> Executed<(u64,), Result<u64, TransferError>> {
    Executed {
        caller: user(1),
        arguments: Arguments::Whole((id,)),
        executed_at: at(NOW - SECOND),
        reply: Ok(block),
    }
}

fn duplicate(first: Result<u64, TransferError>) -> Result<u64, TransferError> {
    first.and_then(|block| Err(TransferError::Duplicate(block)))
}

/// The first message of a call, at a time.
fn message<A: ArgumentEncoder, R, S, I>(
    attribute: &Attribute<A, R, S, I>,
    arguments: A,
    now: u64,
) -> Native {
    let ic = Native::default();
    ic.pass(Duration::from_nanos(now));
    let message = Message {
        caller: user(1),
        deadline: 0,
        instructions: 0,
        method: attribute.endpoint.method,
        argument: candid::encode_args(arguments).expect("it encodes"),
    };
    ic.enter(Stage::First, message);
    ic
}

/// User 1 calls a sync method.
fn ask<A, R, S, I>(
    (store, attribute): (&'static Stored, &'static Attribute<A, R, S, I>),
    arguments: A,
    now: u64,
    run: impl FnOnce(A) -> R + 'static,
) -> R
where
    A: ArgumentEncoder,
    R: candid::CandidType + for<'a> candid::Deserialize<'a>,
{
    let ic = message(attribute, arguments, now);
    serve(&ic, &store, &attribute.endpoint, run);
    candid::decode_one(&ic.take_reply().expect("it is answered")).expect("a reply")
}

fn ask_to_settle(id: u64, created_at: Option<u64>, amount: u64, now: u64) -> Answer {
    let described = (&STORE, &__idempotent_attribute_of_settle);
    let arguments = (Some(id), created_at, amount);
    ask(described, arguments, now, |(id, at, amount)| {
        settle(id, at, amount)
    })
}

/// A payment that the canister executed before: the amount is the id, the reply is 100 more.
type Paid = Executed<(Option<u64>, Option<u64>, u64), Answer>;

fn paid(id: u64, created_at: Option<u64>, executed_at: u64) -> Paid {
    Executed {
        caller: user(1),
        arguments: Arguments::Whole((Some(id), created_at, id)),
        executed_at: at(executed_at),
        reply: Ok(100 + id),
    }
}

/// One payment a minute for two hours, the last one just now. Each third has a `created_at`, some seconds before.
fn payments() -> Vec<Paid> {
    let payment = |id| {
        let executed_at = NOW - (119 - id) * 60 * SECOND;
        let created_at = (id % 3 == 0).then(|| executed_at - id * SECOND);
        paid(id, created_at, executed_at)
    };
    (0..120).map(payment).collect()
}

/// Its id, its `created_at`, and until when it must be remembered.
fn expiry(paid: &Paid) -> (u64, Option<u64>, u64) {
    let Arguments::Whole((id, created_at, _)) = paid.arguments else {
        panic!("payments are whole");
    };
    let expires_at = match created_at {
        Some(created_at) => created_at + HOUR + DRIFT,
        None => paid.executed_at.as_nanos() + HOUR,
    };
    (id.expect("it has an id"), created_at, expires_at)
}

fn import<A: ArgumentEncoder, R, S, I: HasKeys>(
    attribute: &Attribute<A, R, S, I>,
    calls: impl IntoIterator<Item = Executed<A, R>>,
    most: u64,
) -> Result<Imported, ImportError> {
    import_at(attribute, calls, most, at(NOW))
}

fn import_payments(calls: &[Paid], most: u64) -> Result<Imported, ImportError> {
    import(
        &__idempotent_attribute_of_settle,
        calls.iter().cloned(),
        most,
    )
}

fn counts(added: u64, known: u64, expired: u64) -> [u64; 3] {
    [added, known, expired]
}

fn counted(imported: Imported) -> [u64; 3] {
    counts(imported.added, imported.known, imported.expired)
}
