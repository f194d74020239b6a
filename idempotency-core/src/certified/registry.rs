//! The certified stores of a canister: their labels, the root over them all, and who sets the certified data to it.

use super::{cbor, tree::Hash};
use crate::{
    access::StoreAccess,
    runtime::{Canister, Runtime},
    store::{Batch, Damaged, Store},
    time::Timestamp,
};
use candid::CandidType;
use ic_certification::{HashTree, empty, fork, fork_hash, labeled, labeled_hash, pruned};
use ic_stable_structures::Memory;
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    thread::LocalKey,
};

/// The label under which all stores of a canister stand.
pub const LABEL: &str = "idempotency";

/// What a client needs to know from the canister to [`verify`](super::verify()) what became of a request.
#[derive(CandidType, Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Proof {
    /// The certificate of the canister's certified data, in CBOR. A client verifies it with an agent's library.
    pub certificate: ByteBuf,
    /// The tree that the certified data is the root hash of, in CBOR, without what does not matter.
    pub witness: ByteBuf,
    /// The label of the store: the tree says what it does at the path `["idempotency", label]`.
    pub label: String,
    /// The reply as the canister keeps it, if it still does: what a retry gets; or the first reply, of which `on_replay` makes that, where
    /// [that one is kept](macro@crate::idempotent#what-on_replay-may-do).
    pub reply: Option<ByteBuf>,
}

impl Proof {
    /// The same with another witness: for a canister that certifies more than its stores, `combine` gets the tree of these and gives the
    /// one whose root hash the canister certifies.
    #[must_use]
    pub fn within(mut self, combine: impl FnOnce(HashTree) -> HashTree) -> Self {
        if let Some(tree) = cbor::decode(&self.witness) {
            self.witness = cbor::encode(&combine(tree)).into();
        }
        self
    }
}

struct Entry {
    label: String,
    root: Box<dyn Fn(Timestamp) -> Result<Option<Hash>, Damaged>>,
}

impl Entry {
    /// The hash of the store's tree. That of a damaged store says nothing.
    fn hash(&self, now: Timestamp) -> Hash {
        match (self.root)(now) {
            Ok(Some(root)) => root,
            Ok(None) | Err(Damaged) => empty().digest(),
        }
    }
}

thread_local! {
    /// In the order of their labels.
    static ENTRIES: RefCell<Vec<Rc<Entry>>> = const { RefCell::new(vec![]) };
    static PUBLISHER: Cell<Option<fn()>> = const { Cell::new(None) };
}

/// Has the canister certify what a store says of its requests: call it in `init` and in `post_upgrade`, after
/// [`idempotency_core::install`](crate::install). `label` is the store's name in the tree; a client must know it.
///
/// Several stores may be installed, each with a label of its own. The certified data of the canister is set to the root over them all
/// now, whenever a tree is complete again, and with the first change after that; so nothing else may set it. A canister that certifies
/// something else, too, calls [`publish_with`] before.
///
/// Without the feature `timers` nothing is hashed until the canister calls [`batch`].
///
/// # Panics
/// If the policy of the store does not say [`certify`](crate::Policy::certify), or a store with the label was installed before.
pub fn install<M: Memory>(store: &'static LocalKey<Store<M>>, label: &str) {
    install_in(&Canister, store, label);
}

/// Calls `publish` whenever the certified data has to be set, instead of setting it: in `init` and `post_upgrade`, before
/// [`install`]. The function sets the certified data to the root hash of a tree in which the label [`LABEL`] leads to the stores: what
/// [`root`] returns is the hash of that labeled subtree. What it does not set in the same message makes proofs wrong: it must not await.
pub fn publish_with(publish: fn()) {
    PUBLISHER.set(Some(publish));
}

/// The root hash of the tree of all installed stores: that of a subtree with the label [`LABEL`].
pub fn root() -> Hash {
    root_at(Canister.time())
}

/// Hashes what has changed, some 2,000 changes at the most, and publishes; whether there is more. Timers do the same: only a canister
/// without the feature `timers` needs it.
///
/// # Errors
/// [`Damaged`].
pub fn batch<M: Memory>(store: &'static LocalKey<Store<M>>) -> Result<bool, Damaged> {
    let batch = batch_in(&Canister, &store)?;
    Ok(batch == Batch::HasMore)
}

fn entries() -> Vec<Rc<Entry>> {
    ENTRIES.with_borrow(Clone::clone)
}

pub(crate) fn install_in(runtime: &impl Runtime, store: impl StoreAccess, label: &str) {
    let certifies = store.with(|store| store.policy().certify.is_some());
    let is_taken = entries().iter().any(|entry| entry.label == label);
    if !certifies || is_taken {
        runtime.trap(match certifies {
            true => "certified::install: another store has this label",
            false => {
                "certified::install: the policy of the store says nothing of it; add `.certify(…)` to it"
            }
        });
    }
    let of_root = store.clone();
    let entry = Entry {
        label: label.to_owned(),
        root: Box::new(move |now| of_root.with(|store| store.tree_root(now))),
    };
    ENTRIES.with_borrow_mut(|entries| {
        let place = entries.partition_point(|other| other.label < entry.label);
        entries.insert(place, Rc::new(entry));
    });
    let (its, of_change) = (runtime.clone(), store.clone());
    store.with(|store| store.on_change(label, Box::new(move || changed(&its, &of_change))));
    // What is published now is as old as what is there.
    let renewed = store.with(|store| store.renew_tree(runtime.time()));
    publish(runtime);
    if renewed.is_ok() {
        schedule(runtime, &store);
    }
}

/// The tree of a store lacks something from now on.
fn changed(runtime: &impl Runtime, store: &impl StoreAccess) {
    // Notes the time, also where nothing can be certified: in a cleanup callback, where what has begun can only be cut off, which no tree says.
    let noted = store.with(|store| store.tree_root(runtime.time()));
    if noted.is_ok() && runtime.may_certify() {
        publish(runtime);
    }
    schedule(runtime, store);
}

fn publish(runtime: &impl Runtime) {
    match PUBLISHER.get() {
        Some(publish) => publish(),
        None => runtime.certify(&root_at(runtime.time())),
    }
}

fn root_at(now: Timestamp) -> Hash {
    let entries = entries();
    let hashes: Vec<_> = entries
        .iter()
        .map(|entry| labeled_hash(entry.label.as_bytes(), &entry.hash(now)))
        .collect();
    labeled_hash(LABEL.as_bytes(), &root_of(&hashes))
}

fn root_of(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => empty().digest(),
        [one] => *one,
        more => {
            let (left, right) = more.split_at(more.len() / 2);
            fork_hash(&root_of(left), &root_of(right))
        }
    }
}

/// The tree of all stores, with what one of them shows.
pub(crate) fn witness(label: &str, shown: HashTree, now: Timestamp) -> Vec<u8> {
    let mut shown = Some(shown);
    let entries = entries();
    let mut trees = vec![];
    for entry in &entries {
        let of_entry = match entry.label == label {
            true => shown.take(),
            false => None,
        };
        trees.push(match of_entry {
            Some(tree) => labeled(entry.label.as_str(), tree),
            None => pruned(labeled_hash(entry.label.as_bytes(), &entry.hash(now))),
        });
    }
    cbor::encode(&labeled(LABEL, tree_of(trees)))
}

fn tree_of(mut trees: Vec<HashTree>) -> HashTree {
    match trees.len() {
        0 => empty(),
        1 => trees.swap_remove(0),
        more => {
            let right = trees.split_off(more / 2);
            fork(tree_of(trees), tree_of(right))
        }
    }
}

/// Puts what has changed into the tree of a store, as far as a batch goes, or renews it if nothing has.
pub(crate) fn batch_in(runtime: &impl Runtime, store: &impl StoreAccess) -> Result<Batch, Damaged> {
    let now = runtime.time();
    let batch = store.with(|store| store.certify(now))?;
    publish(runtime);
    Ok(batch.unwrap_or(Batch::Done))
}

fn schedule(runtime: &impl Runtime, store: &impl StoreAccess) {
    #[cfg(feature = "timers")]
    timer::set(runtime, store, None);
    #[cfg(not(feature = "timers"))]
    let _ = (runtime, store);
}

#[cfg(feature = "timers")]
mod timer {
    use super::{Batch, batch_in};
    use crate::{
        access::StoreAccess,
        alarm::Due,
        runtime::Runtime,
        store::{LEASE, Store},
        time::Timestamp,
    };
    use ic_stable_structures::Memory;
    use std::time::Duration;

    /// When there was no room for the tree it is tried again after so long.
    const NO_ROOM_FOR: Duration = Duration::from_secs(60);

    /// Sets the timer for the next batch, in `delay` if there is one, unless it is set for that time or an earlier one.
    pub(super) fn set(runtime: &impl Runtime, store: &impl StoreAccess, delay: Option<Duration>) {
        let now = runtime.time();
        if let Some(Due { at, delay }) = store.with(|store| to_be_set(store, delay, now)) {
            let (later, its) = (runtime.clone(), store.clone());
            runtime.surely_after(delay, move || run(&later, &its, at));
        }
    }

    fn to_be_set<M: Memory>(
        store: &Store<M>,
        delay: Option<Duration>,
        now: Timestamp,
    ) -> Option<Due> {
        let (has_changed, has_requests) = store.tree_needs()?;
        let delay = match (delay, has_changed, has_requests) {
            (Some(delay), ..) => delay,
            (None, true, _) => store.policy().certify?,
            (None, false, true) => LEASE / 2,
            (None, false, false) => return None,
        };
        store.tree_timer.set(now.plus(delay), now)
    }

    /// The timer that was set for `at` runs.
    fn run(runtime: &impl Runtime, store: &impl StoreAccess, at: Timestamp) {
        store.with(|store| store.tree_timer.rings(at));
        // What is certified of a damaged store stays open, and says less and less.
        if let Ok(batch) = batch_in(runtime, store) {
            set(
                runtime,
                store,
                match batch {
                    Batch::Done => None,
                    Batch::HasMore => Some(Duration::ZERO),
                    Batch::NoRoom => Some(NO_ROOM_FOR),
                },
            );
        }
    }
}
