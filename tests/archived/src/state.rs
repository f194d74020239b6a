//! What survives upgrades.

use candid::{CandidType, Deserialize, Principal};
use ic_stable_structures::{
    DefaultMemoryImpl, StableBTreeMap, StableCell,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_core::{
    Policy, Store, Timestamp,
    admission::{Decision, Request, admit},
    archive::{ArchivePolicy, Archives, Keep},
    identity::{
        Argument, Compared, Fingerprinted as _, Identity, LazyFingerprint, RequestKey, Scope,
    },
};
use std::{cell::RefCell, time::Duration};

/// Bytes of a large block on the heap.
const MOST_BLOCK_BYTES: usize = 400;

type Memory = VirtualMemory<DefaultMemoryImpl>;

/// What a test wants.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub(crate) struct Settings {
    /// What archives keep: 0 ids, 1 digests, 2 replies; 3: there are none.
    keep: u8,
    /// The window, in seconds.
    window: u64,
    capacity: u64,
    /// One in so many new requests is taken for an old one.
    one_in: u32,
    /// Archives that the test has made; without any, the canister makes its own.
    archives: Vec<Principal>,
    /// The hash of the module of those, which lies in the canister's chunk store in one piece.
    module: serde_bytes::ByteBuf,
    /// How many ids an archive may hold that the canister makes.
    archive_capacity: u64,
    /// The canister forgets to install its archives.
    is_forgotten: bool,
}

thread_local! {
    static MEMORIES: RefCell<MemoryManager<DefaultMemoryImpl>> =
        RefCell::new(MemoryManager::init(DefaultMemoryImpl::default()));

    static SETTINGS: RefCell<StableCell<Vec<u8>, Memory>> =
        RefCell::new(StableCell::init(memory(0), vec![]));

    /// How often was paid for a key.
    static PAID: RefCell<StableBTreeMap<u64, u64, Memory>> =
        RefCell::new(StableBTreeMap::init(memory(1)));

    /// What else lies on the heap.
    static BLOCKS: RefCell<Vec<Vec<u8>>> = const { RefCell::new(vec![]) };

    /// The number of payments, and the key whose payment traps.
    static COUNT: RefCell<StableCell<(u64, u64), Memory>> =
        RefCell::new(StableCell::init(memory(4), (0, 0)));

    pub(crate) static STORE: Store<Memory> = Store::new(memory(2), policy());

    pub(crate) static ARCHIVES: Archives<Memory> = Archives::new(memory(3), archive_policy());
}

fn memory(id: u8) -> Memory {
    MEMORIES.with_borrow(|memories| memories.get(MemoryId::new(id)))
}

pub(crate) fn set(settings: &Settings) {
    let bytes = candid::encode_one(settings).expect("settings encode");
    SETTINGS.with_borrow_mut(|cell| drop(cell.set(bytes)));
}

fn settings() -> Settings {
    SETTINGS.with_borrow(|cell| candid::decode_one(cell.get()).expect("settings decode"))
}

pub(crate) fn is_installed() -> bool {
    !settings().is_forgotten
}

fn policy() -> Policy {
    let settings = settings();
    let policy = Policy::new()
        .window(Duration::from_secs(settings.window))
        .capacity(settings.capacity)
        .max_reply_bytes(1_000);
    match settings.keep {
        0 => policy.archive(Keep::Ids),
        1 => policy.archive(Keep::Digests),
        2 => policy.archive(Keep::Replies),
        _ => policy,
    }
}

fn archive_policy() -> ArchivePolicy {
    let settings = settings();
    let policy = match settings.archives.as_slice() {
        [] => {
            let hash = settings.module.as_slice().try_into();
            let hash = hash.expect("the hash of a module");
            ArchivePolicy::stored(hash, [hash])
        }
        given => ArchivePolicy::given(given),
    };
    policy
        .one_in(settings.one_in)
        .capacity(settings.archive_capacity)
}

/// Pays for a key: the number of the payment. Traps if that was asked for.
pub(crate) fn pay(key: u64) -> u64 {
    let number = COUNT.with_borrow_mut(|cell| {
        let (count, trapping) = *cell.get();
        cell.set((count + 1, trapping));
        count + 1
    });
    PAID.with_borrow_mut(|paid| {
        let before = paid.get(&key).unwrap_or(0);
        paid.insert(key, before + 1);
    });
    if COUNT.with_borrow(|cell| cell.get().1) == key && key != 0 {
        ic_cdk::trap("the payment traps");
    }
    number
}

/// Leaves blocks of many sizes on the heap, with holes in between.
pub(crate) fn wear(seed: u64, blocks: u64) {
    /// Knuth's generator of 64 bits, whose upper bits are the better ones.
    fn next(state: &mut u64) -> u64 {
        *state = state.wrapping_mul(6_364_136_223_846_793_005);
        *state = state.wrapping_add(1_442_695_040_888_963_407);
        *state >> 33
    }
    let mut state = seed;
    let made: Vec<_> = (0..blocks)
        .map(|_| vec![1; 8 + next(&mut state) as usize % MOST_BLOCK_BYTES])
        .collect();
    let kept = made
        .into_iter()
        .filter(|_| next(&mut state).is_multiple_of(2));
    BLOCKS.with_borrow_mut(|blocks| blocks.extend(kept));
}

/// Payments for this key trap; none with 0.
pub(crate) fn trap_at(key: u64) {
    COUNT.with_borrow_mut(|cell| {
        let (count, _) = *cell.get();
        cell.set((count, key));
    });
}

/// How often was paid for keys, from one on.
pub(crate) fn paid(from: u64, most: u64) -> Vec<(u64, u64)> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    PAID.with_borrow(|paid| {
        paid.range(from..)
            .take(most)
            .map(|it| it.into_pair())
            .collect()
    })
}

/// Records requests as if they had been made now.
pub(crate) fn fill(from: u64, count: u64, reply_bytes: u32) {
    let argument = Argument::new(b"arguments");
    let compared = LazyFingerprint::new(&argument, Compared::Argument, None, &Scope::Caller);
    let fingerprint = compared.fingerprint();
    let begun = ic_cdk::api::time();
    let reply = vec![1; reply_bytes as usize];
    for number in from..from + count {
        // Those of a block have one time: a hundred, where there are a million in an hour and a half.
        let now = Timestamp::from_nanos(begun + (number - from) / 100 * 1_000_000);
        let key = RequestKey::of(&number).expect("a number is a key");
        let identity = Identity::new("fill", &Scope::Caller, &Principal::anonymous(), &key)
            .expect("a number is a valid key");
        let request = Request {
            identity,
            fingerprint,
            created_at: None,
            sequence: None,
            scope: None,
        };
        STORE.with(|store| match &admit(store, &request, now) {
            Decision::Execute(ticket) => store.record(ticket, &reply).expect("the store is sound"),
            other => ic_cdk::trap(format!("a new request is executed, not {other:?}")),
        });
    }
}
