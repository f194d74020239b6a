//! Two stores that were given one memory, by mistake.

use crate::state::{Memory, memory};
use idempotency_core::{Policy, Store, install};

thread_local! {
    static FIRST: Store<Memory> = Store::new(memory(200), Policy::new());
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
