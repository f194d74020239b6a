//! See `interface_with.rs`.

use candid::{CandidType, Deserialize, Nat, Principal};
use idempotency_core::IdempotencyError;

/// A record.
#[derive(CandidType, Deserialize)]
struct PayArg {
    to: Principal,
    amount: Nat,
    memo: Option<Vec<u8>>,
}

#[derive(CandidType, Deserialize)]
enum PayError {
    Poor { balance: Nat },
    Refused(IdempotencyError),
}

impl From<IdempotencyError> for PayError {
    fn from(error: IdempotencyError) -> Self {
        PayError::Refused(error)
    }
}

fn only_members() -> Result<(), String> {
    Ok(())
}

fn decode(bytes: Vec<u8>) -> u64 {
    bytes.len() as u64
}

fn encode(reply: u64) -> Vec<u8> {
    reply.to_le_bytes().to_vec()
}

/// Pays.
///
/// Twice documented.
#[ic_cdk::update]
fn pay(arg: PayArg) -> Result<Nat, PayError> {
    if arg.amount > 5u8 {
        Err(PayError::Poor {
            balance: Nat::from(5u8),
        })
    } else {
        Ok(Nat::from(arg.to.as_slice().len()))
    }
}

#[ic_cdk::update(name = "other-name", guard = "only_members")]
async fn renamed(first: u64, second: String) -> (u64, String) {
    (first, second)
}

/// Orders.
#[ic_cdk::update(name = "order", guard = "only_members")]
async fn order_durably(key: Vec<u8>, arg: PayArg) -> Result<Nat, PayError> {
    assert!(!key.is_empty());
    pay(arg)
}

#[ic_cdk::update]
fn patterns((x, y): (u32, u32), _: String, z: u64) {
    assert!(z + u64::from(x + y) > 0);
}

#[ic_cdk::update(decode_with = "decode", encode_with = "encode")]
fn coded(bytes: u64) -> u64 {
    bytes
}

#[ic_cdk::update(hidden = true)]
fn hidden(_key: u64) {}

/// A query beside them.
#[ic_cdk::query]
fn balance() -> Nat {
    Nat::from(0u8)
}

candid::export_service!();

#[test]
fn interface() {
    assert_eq!(
        __export_service(),
        include_str!("interface/expected.did").trim_end()
    );
}
