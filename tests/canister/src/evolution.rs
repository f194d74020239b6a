//! Endpoints before and after an upgrade that candid calls compatible. Each pair shares a name in the identity, as one method
//! does with itself; those whose names end in `first` are called before an upgrade, the others after it.

use crate::{
    Answer,
    state::{MAIN, ran},
};
use candid::{CandidType, Deserialize, Int, Nat};
use idempotency_core::{Timestamp, idempotent};
use std::collections::{BTreeSet, HashMap, HashSet};

fn answer(endpoint: &str, text: &str) -> Answer {
    Ok(format!("{}: {text}", ran(endpoint)))
}

#[derive(CandidType, Deserialize)]
struct First {
    key: Vec<u8>,
    text: String,
    created_at: Option<u64>,
}

#[derive(CandidType, Deserialize)]
struct Second {
    key: Option<Vec<u8>>,
    text: String,
    created_at: Option<u64>,
    mood: Option<String>,
}

/// The argument's type has an optional field more, and the key is optional.
#[idempotent(store = MAIN, key = arg.key, name = "field")]
#[ic_cdk::update]
fn field_first(arg: First) -> Answer {
    answer("field", &arg.text)
}

#[idempotent(store = MAIN, key = arg.key, name = "field")]
#[ic_cdk::update]
fn field_second(arg: Second) -> Answer {
    answer("field", &arg.text)
}

/// A retry must have more in common.
#[idempotent(store = MAIN, key = arg.key, fingerprint = arg.text, name = "chosen")]
#[ic_cdk::update]
fn chosen_first(arg: First) -> Answer {
    answer("chosen", &arg.text)
}

#[idempotent(store = MAIN, key = arg.key, fingerprint = (&arg.text, &arg.mood), name = "chosen")]
#[ic_cdk::update]
fn chosen_second(arg: Second) -> Answer {
    answer("chosen", &arg.text)
}

/// The endpoint reads the client's time.
#[idempotent(store = MAIN, key = arg.key, name = "dated")]
#[ic_cdk::update]
fn dated_first(arg: First) -> Answer {
    answer("dated", &arg.text)
}

#[idempotent(
    store = MAIN,
    key = arg.key,
    created_at = arg.created_at.map(Timestamp::from_nanos),
    name = "dated"
)]
#[ic_cdk::update]
fn dated_second(arg: Second) -> Answer {
    answer("dated", &arg.text)
}

#[derive(CandidType, Deserialize)]
enum FirstOrder {
    Burn(u64),
    Mint(Nat),
}

#[derive(CandidType, Deserialize)]
enum SecondOrder {
    Approve(u64),
    Burn(u64),
    Mint(Int),
}

/// All arguments are the key: a case more, a wider number, an argument more.
#[idempotent(store = MAIN, key = args, name = "order")]
#[ic_cdk::update]
fn order_first(order: FirstOrder, ids: Vec<u64>) -> Answer {
    let amount = match order {
        FirstOrder::Burn(amount) => amount.into(),
        FirstOrder::Mint(amount) => amount,
    };
    answer("order", &format!("{amount} {}", ids.len()))
}

#[idempotent(store = MAIN, key = args, name = "order")]
#[ic_cdk::update]
fn order_second(order: SecondOrder, ids: BTreeSet<u64>, memo: Option<String>) -> Answer {
    let amount = match order {
        SecondOrder::Approve(amount) | SecondOrder::Burn(amount) => amount.into(),
        SecondOrder::Mint(amount) => amount,
    };
    answer("order", &format!("{amount} {} {memo:?}", ids.len()))
}

/// Collections that yield their entries in another order each time that they are decoded.
#[idempotent(store = MAIN, key = args)]
#[ic_cdk::update]
fn label(labels: HashMap<String, u64>, tags: Vec<HashSet<String>>) -> Answer {
    answer("label", &format!("{} {}", labels.len(), tags.len()))
}

#[idempotent(store = MAIN, key = key, fingerprint = labels)]
#[ic_cdk::update]
fn label_with_key(key: u64, labels: HashMap<String, u64>, mood: String) -> Answer {
    answer("label_with_key", &format!("{} {mood}", labels.len()))
}

/// A key that everybody may use.
#[idempotent(store = MAIN, key = key, scope = global)]
#[ic_cdk::update]
fn order_for_all(key: u64, to: String, amount: u64, memo: u64) -> Answer {
    answer("order_for_all", &format!("{amount} to {to}, {memo}"))
}
