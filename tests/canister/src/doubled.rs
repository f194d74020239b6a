//! Two stores that were given one memory, by mistake.

use crate::{
    Answer,
    state::{Memory, memory},
};
use idempotency_core::{Policy, Store, idempotent, install};

thread_local! {
    pub(crate) static FIRST: Store<Memory> = Store::new(memory(200), Policy::new());
    static SECOND: Store<Memory> = Store::new(memory(200), Policy::new());
}

#[ic_cdk::update]
fn install_two_on_one_memory() {
    install(&FIRST);
    install(&SECOND);
}

#[ic_cdk::update]
fn install_one_of_them() {
    install(&FIRST);
    install(&FIRST);
}

/// The first of them is damaged then.
#[ic_cdk::update]
fn open_two_on_one_memory() {
    FIRST.with(|_| ());
    SECOND.with(|_| ());
}

#[idempotent(store = FIRST, key = key)]
#[ic_cdk::update]
fn say_doubled(key: Vec<u8>) -> Answer {
    Ok("it is not damaged".into())
}
