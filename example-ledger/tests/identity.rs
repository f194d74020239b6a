//! ICRC-1's rule for one transaction: all fields of the argument are the same, as they were sent. That an account is the
//! same however it is written is in `model.rs`.

use candid::{Nat, Principal};
use example_ledger::{
    dedup::{approve_key, transfer_from_key, transfer_key},
    types::{Account, ApproveArgs, TransferArg, TransferFromArgs},
};
use idempotency_core::{
    Key,
    identity::{Identity, RequestKey, Scope},
};
use proptest::{prelude::*, sample::select};
use serde_bytes::ByteBuf;
use std::fmt::Debug;

/// In bytes: those of a subaccount and of the longest memo, and where one part of a key ends and the next begins.
const LENGTHS: [usize; 10] = [0, 1, 31, 32, 33, 255, 256, 257, 512, 513];

fn blob() -> impl Strategy<Value = Option<ByteBuf>> {
    let blob = (select(&LENGTHS[..]), 0..2_u8)
        .prop_map(|(length, byte)| ByteBuf::from(vec![byte; length]));
    prop::option::weighted(0.8, blob)
}

/// Up to a number of 1,233 digits.
fn nat() -> impl Strategy<Value = Nat> {
    (select(&LENGTHS[..]), 0..2_u8).prop_map(|(length, less)| {
        let power = (0..length).fold(Nat::from(1_u8), |number, _| number * 256_u16);
        power - less
    })
}

fn account() -> impl Strategy<Value = Account> {
    (1..3_u8, blob()).prop_map(|(owner, subaccount)| Account {
        owner: Principal::from_slice(&[owner]),
        subaccount,
    })
}

fn time() -> impl Strategy<Value = Option<u64>> {
    prop::option::weighted(0.8, select(&[0, 1, 1 << 56, u64::MAX][..]))
}

fn transfer() -> impl Strategy<Value = TransferArg> {
    let fee = prop::option::of(nat());
    (blob(), account(), nat(), fee, blob(), time()).prop_map(
        |(from_subaccount, to, amount, fee, memo, created_at_time)| TransferArg {
            from_subaccount,
            to,
            amount,
            fee,
            memo,
            created_at_time,
        },
    )
}

fn approval() -> impl Strategy<Value = ApproveArgs> {
    (transfer(), prop::option::of(nat()), time()).prop_map(
        |(transfer, expected_allowance, expires_at)| ApproveArgs {
            from_subaccount: transfer.from_subaccount,
            spender: transfer.to,
            amount: transfer.amount,
            expected_allowance,
            expires_at,
            fee: transfer.fee,
            memo: transfer.memo,
            created_at_time: transfer.created_at_time,
        },
    )
}

fn transfer_from() -> impl Strategy<Value = TransferFromArgs> {
    (transfer(), account()).prop_map(|(transfer, from)| TransferFromArgs {
        spender_subaccount: transfer.from_subaccount,
        from,
        to: transfer.to,
        amount: transfer.amount,
        fee: transfer.fee,
        memo: transfer.memo,
        created_at_time: transfer.created_at_time,
    })
}

/// The name under which a request is remembered, if it is.
fn identity(key: impl Key) -> Option<Identity> {
    let key = RequestKey::of(&key)?;
    let caller = Principal::from_slice(&[9]);
    Some(
        Identity::new("method", &Scope::Caller, &caller, &key)
            .expect("no field is too long for a key"),
    )
}

/// Takes one field of a transaction from another.
type Take<T> = fn(&mut T, T);

/// Two transactions that differ in any one field, or in all, have one identity if and only if they are equal.
fn assert_rule<T: Clone + PartialEq + Debug>(
    one: &T,
    other: &T,
    fields: &[Take<T>],
    identity: impl Fn(&T) -> Option<Identity>,
) -> Result<(), TestCaseError> {
    let mut transactions = vec![other.clone()];
    for take in fields {
        let mut transaction = one.clone();
        take(&mut transaction, other.clone());
        transactions.push(transaction);
    }
    let of_one = identity(one);
    for transaction in &transactions {
        let is_known = of_one.is_some() && identity(transaction) == of_one;
        prop_assert_eq!(
            is_known,
            of_one.is_some() && transaction == one,
            "{:?}",
            transaction
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn transfers_are_one_if_all_fields_are_equal(one in transfer(), other in transfer()) {
        let fields: [Take<TransferArg>; 6] = [
            |it, other| it.from_subaccount = other.from_subaccount,
            |it, other| it.to = other.to,
            |it, other| it.amount = other.amount,
            |it, other| it.fee = other.fee,
            |it, other| it.memo = other.memo,
            |it, other| it.created_at_time = other.created_at_time,
        ];
        assert_rule(&one, &other, &fields, |it| identity(transfer_key(it)))?;
    }

    #[test]
    fn approvals_are_one_if_all_fields_are_equal(one in approval(), other in approval()) {
        let fields: [Take<ApproveArgs>; 8] = [
            |it, other| it.from_subaccount = other.from_subaccount,
            |it, other| it.spender = other.spender,
            |it, other| it.amount = other.amount,
            |it, other| it.expected_allowance = other.expected_allowance,
            |it, other| it.expires_at = other.expires_at,
            |it, other| it.fee = other.fee,
            |it, other| it.memo = other.memo,
            |it, other| it.created_at_time = other.created_at_time,
        ];
        assert_rule(&one, &other, &fields, |it| identity(approve_key(it)))?;
    }

    #[test]
    fn transfers_from_are_one_if_all_fields_are_equal(one in transfer_from(), other in transfer_from()) {
        let fields: [Take<TransferFromArgs>; 8] = [
            |it, other| it.spender_subaccount = other.spender_subaccount,
            |it, other| it.from = other.from,
            |it, other| it.to = other.to,
            |it, _| (it.from, it.to) = (it.to.clone(), it.from.clone()),
            |it, other| it.amount = other.amount,
            |it, other| it.fee = other.fee,
            |it, other| it.memo = other.memo,
            |it, other| it.created_at_time = other.created_at_time,
        ];
        assert_rule(&one, &other, &fields, |it| identity(transfer_from_key(it)))?;
    }

    #[test]
    fn without_a_time_a_transaction_is_new(transfer in transfer(), approval in approval(), from in transfer_from()) {
        let times = [transfer.created_at_time, approval.created_at_time, from.created_at_time];
        let identities = [
            identity(transfer_key(&transfer)),
            identity(approve_key(&approval)),
            identity(transfer_from_key(&from)),
        ];
        prop_assert_eq!(times.map(|it| it.is_some()), identities.map(|it| it.is_some()));
    }
}
