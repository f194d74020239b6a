//! What a canister has executed before is imported: the attribute as users write it, run natively.

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
    (store, attribute): (&'static Stored, &Attribute<A, R, S, I>),
    arguments: A,
    now: u64,
    run: impl FnOnce(A) -> R,
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

/// Runs it with a store of its own.
fn apart(test: impl FnOnce() + Send + 'static) {
    thread::spawn(test).join().expect("it holds");
}

#[test]
fn a_retry_of_what_was_imported_is_answered_as_if_it_had_run_here() {
    for is_backwards in [false, true] {
        apart(move || {
            let mut calls = payments();
            if is_backwards {
                calls.reverse();
            }
            let live = calls.iter().filter(|call| expiry(call).2 >= NOW).count() as u64;
            let imported = import_payments(&calls, 1_000).expect("it is imported");
            assert_eq!(counted(imported), counts(live, 0, 120 - live));
            assert!(imported.is_complete && 0 < live && live < 120);

            let mut calls: Vec<_> = calls.iter().map(expiry).collect();
            calls.sort_by_key(|(_, _, expires_at)| *expires_at);
            for (id, created_at, expires_at) in calls {
                if expires_at < NOW {
                    let answer = ask_to_settle(id, created_at, id, NOW);
                    let too_old = created_at.map(|_| Err(IdempotencyError::TooOld));
                    assert_eq!(
                        answer,
                        too_old.unwrap_or(Ok(1_000 + id)),
                        "{id} has expired"
                    );
                    continue;
                }
                assert_eq!(
                    ask_to_settle(id, created_at, id, expires_at),
                    Ok(100 + id),
                    "{id}"
                );
                let other = ask_to_settle(id, created_at, id + 1, expires_at);
                assert_eq!(other, Err(IdempotencyError::KeyReused), "{id}");
            }
        });
    }
}

/// The partitions of what comes later in the import are there, whatever runs meanwhile.
#[test]
fn what_is_imported_is_forgotten_in_time() {
    let calls = payments();
    let begun = import_payments(&calls, 1).expect("it is imported");
    assert_eq!((begun.taken(), begun.is_complete), (1, false));
    assert_eq!(ask_to_settle(1_000, None, 0, NOW), Ok(1_000));
    import_payments(&calls, 1_000).expect("it is imported");
    for call in &calls {
        let (id, created_at, expires_at) = expiry(call);
        let handle = endpoint!(settle).of(user(1));
        let until = handle.guaranteed_until(&Some(id)).expect("it is sound");
        let until = until.map(Timestamp::as_nanos);
        match expires_at < NOW {
            true => assert_eq!(until, None),
            false => assert!(
                until.is_some_and(|until| (expires_at..=expires_at + PARTITION).contains(&until)),
                "{id} {created_at:?}"
            ),
        }
    }
    let (id, created_at, expires_at) = expiry(&calls[117]);
    assert!(created_at.is_some());
    let late = ask_to_settle(id, created_at, id, expires_at + 2 * PARTITION);
    assert_eq!(
        late,
        Ok(100 + id),
        "one partition goes with each new request"
    );
    let evicted = STORE.with(|store| store.evict(at(expires_at + 2 * PARTITION), u32::MAX));
    assert!(evicted.is_ok_and(|evicted| evicted > 0));
    let late = ask_to_settle(id, created_at, id, expires_at + 2 * PARTITION);
    assert_eq!(late, Err(IdempotencyError::TooOld));
}

#[test]
fn a_second_import_changes_nothing() {
    let calls = &payments()[90..];
    let first = import_payments(calls, 1_000).expect("it is imported");
    assert_eq!(counted(first), counts(30, 0, 0));
    let stats = STORE.with(Store::stats);
    let second = import_payments(calls, 1_000).expect("it is imported");
    assert_eq!(counted(second), counts(0, 30, 0));
    assert_eq!(STORE.with(Store::stats), stats);
    // What ran here is known, too.
    assert_eq!(ask_to_settle(500, None, 5, NOW), Ok(1_005));
    let ran = Executed {
        caller: user(1),
        arguments: Arguments::Whole((Some(500), None, 5)),
        executed_at: at(NOW - SECOND),
        reply: Ok(1_005),
    };
    let imported = import_payments(&[ran], 1).expect("it agrees");
    assert_eq!(counted(imported), counts(0, 1, 0));
}

#[test]
fn an_import_goes_on_where_an_upgrade_came_between() {
    // Backwards: each has an earlier time than all before it in its partition.
    let calls: Vec<_> = payments().into_iter().skip(80).rev().collect();
    let before = import_payments(&calls, 17).expect("it is imported");
    assert_eq!(counted(before), counts(17, 0, 0));
    assert!(!before.is_complete);
    // The first use of the other store opens the memory anew.
    let attribute = &__idempotent_attribute_of_settle_later;
    let after = import(attribute, calls.iter().cloned(), 1_000).expect("it is imported");
    assert_eq!(counted(after), counts(23, 17, 0));
    for (id, created_at, _) in calls.iter().map(expiry) {
        let arguments = (Some(id), created_at, id);
        let answer = ask((&LATER, attribute), arguments, NOW, |(id, at, amount)| {
            settle_later(id, at, amount)
        });
        assert_eq!(answer, Ok(100 + id));
    }
}

/// The store of a test that asserts what stopped an import at its third call.
fn stopped(calls: &[Paid]) -> ImportProblem {
    let error = import_payments(calls, 1_000).expect_err("it stops");
    assert_eq!(counted(error.imported), counts(2, 0, 0));
    assert!(!error.imported.is_complete);
    error.problem
}

#[test]
fn what_contradicts_the_store_stops_the_import_and_changes_nothing() {
    let calls = payments();
    let [first, second, third, fourth] = [&calls[100], &calls[101], &calls[102], &calls[103]];
    assert_eq!(ask_to_settle(102, expiry(third).1, 102, NOW), Ok(1_102));
    let error = import_payments(&[first.clone(), second.clone(), third.clone()], 10);
    let error = error.expect_err("it ran here, with another reply");
    assert_eq!(error.problem, ImportProblem::ReplyDiffers);
    assert_eq!(counted(error.imported), counts(2, 0, 0));
    let text = error.to_string();
    assert!(
        text.starts_with("request 2 of this import can't be imported, identity "),
        "{text}"
    );
    let identity = error.identity.expect("it has one");
    let known = STORE.with(|store| store.guaranteed_until(&identity));
    assert!(
        known.is_ok_and(|known| known.is_some()),
        "it is that of the third"
    );

    let mut other = first.clone();
    other.arguments = Arguments::Whole((Some(100), expiry(first).1, 5));
    let error = import_payments(&[second.clone(), other, fourth.clone()], 10);
    let error = error.expect_err("it has other arguments");
    assert_eq!(error.problem, ImportProblem::ArgumentsDiffer);
    assert_eq!(counted(error.imported), counts(0, 1, 0));

    // Everything is as it was.
    assert_eq!(STORE.with(Store::stats).entries, 3);
    assert_eq!(ask_to_settle(100, expiry(first).1, 100, NOW), Ok(200));
    assert_eq!(ask_to_settle(102, expiry(third).1, 102, NOW), Ok(1_102));
    assert_eq!(
        ask_to_settle(103, expiry(fourth).1, 103, NOW),
        Ok(1_103),
        "it runs"
    );
}

#[test]
fn what_has_not_ended_here_stops_the_import() {
    let attribute = &__idempotent_attribute_of_wait;
    let call = || Executed {
        caller: user(2),
        arguments: Arguments::Whole((5,)),
        executed_at: at(NOW - 1),
        reply: 1,
    };
    let not_ended = ImportProblem::NotEnded { since: at(NOW) };
    {
        let ic = message(attribute, (5,), NOW);
        let running = serve_async(ic, &STORE, &attribute.endpoint, |(id,)| wait(id));
        let running = pin!(running);
        let poll = running.poll(&mut Context::from_waker(Waker::noop()));
        assert!(poll.is_pending());
        let error = import(attribute, [call()], 1).expect_err("it is pending");
        assert_eq!(error.problem, not_ended);
    }
    let error = import(attribute, [call()], 1).expect_err("its outcome is unknown");
    assert_eq!(error.problem, not_ended);
}

#[test]
fn what_could_not_have_run_here_stops_the_import() {
    let of = |call: Paid| {
        let calls = payments();
        let problem = stopped(&[calls[100].clone(), calls[101].clone(), call]);
        STORE
            .with(|store| store.evict(at(u64::MAX), u32::MAX))
            .expect("it is sound");
        problem
    };
    let refused = ImportProblem::Refused;
    let in_future = paid(1, None, NOW + 1);
    assert_eq!(
        of(in_future),
        ImportProblem::ExecutedInFuture { now: at(NOW) }
    );
    let created_in_future = paid(1, Some(NOW + DRIFT + 1), NOW);
    let error = IdempotencyError::CreatedInFuture { now: at(NOW) };
    assert_eq!(of(created_in_future), refused(error));
    let mut without_key = paid(1, None, NOW);
    without_key.arguments = Arguments::Whole((None, None, 1));
    assert_eq!(of(without_key), refused(IdempotencyError::MissingKey));
    let mut of_nobody = paid(1, None, NOW);
    of_nobody.caller = Principal::anonymous();
    assert_eq!(of(of_nobody), refused(IdempotencyError::AnonymousRefused));
    // The edges.
    let edges = [
        paid(1, None, NOW),
        paid(2, Some(NOW + DRIFT), NOW),
        paid(3, None, NOW - HOUR),
        paid(4, None, NOW - HOUR - 1),
        paid(5, Some(NOW - HOUR - DRIFT), NOW - 5),
        paid(6, Some(NOW - HOUR - DRIFT - 1), NOW - 5),
    ];
    let imported = import_payments(&edges, 10).expect("it is imported");
    assert_eq!(counted(imported), counts(4, 0, 2));

    let long = Executed {
        caller: user(1),
        arguments: Arguments::Whole(("item".to_owned(), 1)),
        executed_at: at(NOW),
        reply: "x".repeat(64 << 10),
    };
    let error = import(&__idempotent_attribute_of_order, [long], 1).expect_err("it is too long");
    let problem = ImportProblem::ReplyTooLarge {
        bytes: 10 + (64 << 10),
        max: 64 << 10,
    };
    assert_eq!(error.problem, problem);
}

#[test]
fn a_full_store_stops_the_import_which_goes_on_with_more_room() {
    let calls = &payments()[110..];
    let attribute = &__idempotent_attribute_of_settle_in_small;
    let error = import(attribute, calls.iter().cloned(), 100).expect_err("there is no room");
    assert_eq!(counted(error.imported), counts(3, 0, 0));
    let ImportProblem::Refused(IdempotencyError::Full { .. }) = error.problem else {
        panic!("{error}");
    };
    let rest = calls.iter().skip(error.imported.taken() as usize).cloned();
    let imported =
        import(&__idempotent_attribute_of_settle_later, rest, 100).expect("there is room");
    assert_eq!(counted(imported), counts(7, 0, 0));
    assert_eq!(LATER.with(Store::stats).entries, 10);
}

#[test]
fn what_is_imported_counts_against_the_quota_of_its_scope() {
    let attribute = &__idempotent_attribute_of_settle_within_quota;
    let ask = |id, now| {
        let arguments = (Some(id), None, 5);
        ask((&SHARED, attribute), arguments, now, |(id, at, amount)| {
            settle_within_quota(id, at, amount)
        })
    };
    let begun = import(attribute, [], 1).expect("there is nothing to be wrong");
    assert!(begun.is_complete);
    assert_eq!(ask(1, NOW), Ok(1_005));
    // Backwards, after a request of now: the counter is found by the time of its last use.
    let calls = (2..9).map(|id| paid(id, None, NOW - HOUR / 2 - id * 60 * SECOND));
    let error = import(attribute, calls, 100).expect_err("it is too much for one");
    assert_eq!(counted(error.imported), counts(3, 0, 0));
    let ImportProblem::Refused(IdempotencyError::QuotaExceeded { .. }) = error.problem else {
        panic!("{error}");
    };
    let refused = ask(10, NOW);
    assert!(
        matches!(refused, Err(IdempotencyError::QuotaExceeded { .. })),
        "{refused:?}"
    );
    let mut of_another = paid(2, None, NOW);
    of_another.caller = user(2);
    let imported = import(attribute, [of_another], 1).expect("it is another's");
    assert_eq!(counted(imported), counts(1, 0, 0));
    // The three expire half an hour before the first.
    let reach = HOUR + 2 * DRIFT;
    let later = NOW + HOUR / 2 + reach / 6 + PARTITION;
    for id in [11, 12, 13] {
        assert_eq!(ask(id, later), Ok(1_005));
    }
    let refused = ask(14, later);
    assert!(
        matches!(refused, Err(IdempotencyError::QuotaExceeded { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_call_whose_arguments_are_kept_in_part_is_known_by_its_key() {
    let mut in_part = paid(1, Some(NOW - HOUR), NOW - 5);
    in_part.arguments = Arguments::InPart((Some(1), Some(NOW - HOUR), 0));
    for counts_to in [counts(1, 0, 0), counts(0, 1, 0)] {
        let imported = import_payments(std::slice::from_ref(&in_part), 1);
        assert_eq!(imported.map(counted), Ok(counts_to));
    }
    assert_eq!(ask_to_settle(1, Some(NOW - HOUR), 77, NOW), Ok(101));
    let later = ask_to_settle(1, Some(NOW), 77, NOW);
    assert_eq!(
        later,
        Err(IdempotencyError::KeyReused),
        "it would outlive its record"
    );
    // It ran here, with arguments that the import does not know.
    assert_eq!(ask_to_settle(2, None, 5, NOW), Ok(1_005));
    in_part.arguments = Arguments::InPart((Some(2), None, 0));
    in_part.reply = Ok(1_005);
    let imported = import_payments(&[in_part], 1);
    assert_eq!(imported.map(counted), Ok(counts(0, 1, 0)));
}

#[test]
fn arguments_as_the_key_and_arguments_that_are_no_candid() {
    let attribute = &__idempotent_attribute_of_order;
    let call = Executed {
        caller: user(1),
        arguments: Arguments::Whole(("book".to_owned(), 2)),
        executed_at: at(NOW - 1),
        reply: "old book".to_owned(),
    };
    let imported = import(attribute, [call], 1);
    assert_eq!(imported.map(counted), Ok(counts(1, 0, 0)));
    let order = |count| {
        let arguments = ("book".to_owned(), count);
        ask((&STORE, attribute), arguments, NOW, |(item, count)| {
            order(item, count)
        })
    };
    assert_eq!(
        (order(2), order(3)),
        ("old book".into(), "3 new book".into())
    );

    let attribute = &__idempotent_attribute_of_raw;
    let call = |arguments| Executed {
        caller: user(1),
        arguments,
        executed_at: at(NOW - 1),
        reply: 9,
    };
    let error = import(attribute, [call(Arguments::Whole((3,)))], 1);
    let problem = error.map_err(|error| error.problem);
    assert_eq!(problem, Err(ImportProblem::ArgumentsNotCandid));
    let imported = import(attribute, [call(Arguments::InPart((3,)))], 1);
    assert_eq!(imported.map(counted), Ok(counts(1, 0, 0)));
    let ic = Native::default();
    ic.pass(Duration::from_nanos(NOW));
    let message = Message {
        caller: user(1),
        deadline: 0,
        instructions: 0,
        method: "raw",
        argument: b"abc".to_vec(),
    };
    ic.enter(Stage::First, message);
    serve(&ic, &&STORE, &attribute.endpoint, |(length,)| raw(length));
    let reply = ic.take_reply().expect("it is answered");
    assert!(candid::decode_one(&reply).is_ok_and(|reply: u64| reply == 9));
}

/// With the old check in front, a retry gets one answer before, during and after the import.
#[test]
fn a_retry_while_the_import_is_not_complete_is_the_duplicate_that_it_was() {
    let attribute = &__idempotent_attribute_of_transfer;
    let calls = (0..10).map(|id| Executed {
        caller: user(1),
        arguments: Arguments::Whole((id,)),
        executed_at: at(NOW - 1),
        reply: Ok(50 + id),
    });
    SEEN.with_borrow_mut(|seen| seen.extend((0..10).map(|id| ((user(1), id), 50 + id))));
    let ask = |id| ask((&STORE, attribute), (id,), NOW, |(id,)| transfer(id));
    for round in 0..=5 {
        for id in 0..10 {
            assert_eq!(ask(id), Err(TransferError::Duplicate(50 + id)), "{round}");
        }
        let imported = import(attribute, calls.clone().skip(2 * round), 2);
        let imported = imported.expect("no retry got in its way");
        assert_eq!(imported.is_complete, round == 5);
    }
    SEEN.take();
    assert_eq!(ask(3), Err(TransferError::Duplicate(53)));
    assert_eq!(
        (ask(10), ask(10)),
        (Ok(7), Err(TransferError::Duplicate(7)))
    );
}
