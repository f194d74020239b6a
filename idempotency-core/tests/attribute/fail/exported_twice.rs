use ic_stable_structures::DefaultMemoryImpl;
use idempotency_core::{Policy, Store, idempotent};

thread_local! {
    static STORE: Store<DefaultMemoryImpl> = Store::new(DefaultMemoryImpl::default(), Policy::new());
}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[ic_cdk::update(name = "pay_v2")]
fn pay_0(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[ic_cdk::query(name = "pay_v2")]
fn pay_1(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[ic_cdk::init]
fn pay_2(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[ic_cdk::post_upgrade]
fn pay_3(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[ic_cdk::pre_upgrade]
fn pay_4(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[ic_cdk::heartbeat]
fn pay_5(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[ic_cdk::inspect_message]
fn pay_6(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[ic_cdk::on_low_wasm_memory]
fn pay_7(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[candid::candid_method(update)]
fn pay_8(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[unsafe(export_name = "canister_update pay_v2")]
fn pay_9(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[unsafe(no_mangle)]
fn pay_10(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[cfg_attr(all(), ic_cdk::update(name = "pay_v2"))]
fn pay_11(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[cfg_attr(all(), inline, cfg_attr(all(), unsafe(export_name = "pay_v2")))]
fn pay_12(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::update]
#[idempotent(store = STORE, key = key)]
fn pay_13(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[cfg_attr(all(), ic_cdk::update)]
fn conditional(key: u64) {}

#[idempotent(store = STORE, key = key)]
#[ic_cdk::query]
#[ic_cdk::update]
fn first(key: u64) {}

fn main() {}
