//! Putting archives behind a store.

use super::{
    drive,
    handle::{Access, Archives},
    look_up::Keeping,
    top_up,
};
use crate::{
    access::StoreAccess,
    runtime::{Canister, Runtime},
    store::{Damaged, Store},
};
use ic_stable_structures::Memory;
use std::{rc::Rc, thread::LocalKey};

/// Has archives keep what a store forgets, sets the timer that ships it, and the one that sees once a day that archives have cycles: call it in `init` and in `post_upgrade`, besides
/// [`install`](crate::install). The store's policy must have [`archive`](crate::Policy::archive).
///
/// Without it, a store with such a policy forgets nothing and refuses new requests. So it may be called later in the same heap, too, once for
/// each store.
///
/// # Panics
/// Traps if the policy of the store has no archive; if the store had archives before and these are others, in another memory; or as
/// [`Archives::new`] does.
pub fn install<S: Memory, M: Memory>(
    store: &'static LocalKey<Store<S>>,
    archives: &'static LocalKey<Archives<M>>,
) {
    open(&Canister, &store, &archives);
}

/// As [`install`], on any runtime.
pub(super) fn open(runtime: &impl Runtime, store: &impl StoreAccess, archives: &impl Access) {
    if store.with(|store| store.policy().archive.is_none()) {
        runtime.trap("archives are installed for a store whose policy has no `archive`");
    }
    let met = || -> Result<bool, Damaged> {
        let history = store.with(Store::begin_archiving)?;
        archives.with(|archives| Ok(archives.contents()?.meet(&history)))
    };
    match met() {
        Ok(true) => {}
        Ok(false) => runtime.trap(
            "the store has archives, and these know nothing of it: give `Archives::new` the memory that it had before, or what was \
             archived would run again",
        ),
        Err(damaged) => runtime.trap(&format!("the store or its archives: {damaged}")),
    }
    let keeping = Keeping {
        runtime: runtime.clone(),
        store: store.clone(),
        archives: archives.clone(),
    };
    store.with(|store| store.keep_with(Rc::new(keeping)));
    let (clock, of) = (runtime.clone(), store.clone());
    let waiting = move || of.with(|store| store.requests_to_ship(clock.time()));
    archives.with(|archives| archives.watch(Box::new(waiting)));
    drive::schedule(runtime, store, archives, runtime.time());
    top_up::schedule(runtime, archives);
}
