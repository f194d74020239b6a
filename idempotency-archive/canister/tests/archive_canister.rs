//! The archive canister on a replica.

use candid::{CandidType, Nat, Principal};
use idempotency_archive::{
    icrc3::{GetBlocksArg, GetBlocksResult, Value},
    wire::{APPEND_BLOCKS, AppendBlocks, AppendedBlocks},
};
use idempotency_core::archive::{
    FULL_BYTES,
    wire::{Append, Appended, Install, LookedUp, Position, Status, method},
};
use integration_tests::{ARCHIVE, Canister, replica, user};
use serde_bytes::{ByteArray, ByteBuf};

const OWNER: u8 = 1;

fn install() -> Install {
    Install {
        owner: user(OWNER),
        keeps_replies: true,
        capacity: 1_000_000,
        capacity_bytes: 1 << 30,
        cycles: Nat::from(1u8),
    }
}

fn id(number: u64) -> [u8; 16] {
    let spread = number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (u128::from(spread) << 64 | u128::from(number)).to_le_bytes()
}

/// A chunk of the ids of numbers, each with a reply.
fn chunk(from: Position, numbers: std::ops::Range<u64>) -> Append {
    let mut replies = vec![];
    let entries = numbers.map(|number| {
        let mut entry = [0; FULL_BYTES];
        entry[..16].copy_from_slice(&id(number));
        entry[22] = 1;
        replies.extend(8u32.to_le_bytes());
        replies.extend(number.to_le_bytes());
        entry
    });
    let entries: Vec<_> = entries.collect();
    Append::of(from, entries, replies)
}

fn append(archive: &Canister<'_>, chunk: &Append) -> Position {
    match archive.update(user(OWNER), method::APPEND, (chunk,)) {
        Ok(Appended::Taken(position)) => position,
        other => panic!("{other:?}"),
    }
}

fn query<T: CandidType + for<'de> serde::Deserialize<'de>>(
    archive: &Canister<'_>,
    method: &str,
    argument: impl CandidType,
) -> T {
    let reply = archive.query_raw(user(OWNER), method, (argument,)).unwrap();
    candid::decode_one(&reply).unwrap()
}

fn status(archive: &Canister<'_>) -> Status {
    let reply = archive.query_raw(user(OWNER), method::STATUS, ()).unwrap();
    candid::decode_one(&reply).unwrap()
}

/// Chunks, upgrades in between, repeats of the last chunk; timers merge, and all is there.
#[test]
fn an_archive_merges_by_itself_and_survives_upgrades() {
    let replica = replica();
    let archive = Canister::install(&replica, ARCHIVE, (install(),));
    let mut position = Position::default();
    for number in 0..40 {
        let chunk = chunk(position, number * 500..number * 500 + 500);
        position = append(&archive, &chunk);
        if number % 3 == 0 {
            let module = ARCHIVE.read();
            // No argument is none, as bytes and in candid.
            if number % 2 == 0 {
                replica
                    .upgrade_canister(archive.id(), module, vec![], None)
                    .unwrap();
            } else {
                archive.upgrade(ARCHIVE, (None::<Install>,)).unwrap();
            }
            assert_eq!(append(&archive, &chunk), position);
        }
    }
    (0..10).for_each(|_| replica.tick());
    let status = status(&archive);
    assert_eq!((status.owner, status.position), (user(OWNER), position));
    // 32 were merged into one.
    assert_eq!(status.runs, 9);
    let asked: Vec<_> = (0..20_100).step_by(99).collect();
    let ids: Vec<_> = asked
        .iter()
        .map(|&number| ByteArray::new(id(number)))
        .collect();
    let looked_up: LookedUp = query(&archive, method::LOOK_UP, ids);
    assert_eq!(looked_up.position, position);
    for (number, found) in asked.iter().zip(looked_up.found) {
        let reply = found.map(|found| found.reply.unwrap().into_vec());
        assert_eq!(
            reply,
            (*number < 20_000).then(|| number.to_le_bytes().to_vec())
        );
    }
}

#[test]
fn only_the_owner_appends_and_looks_up() {
    let replica = replica();
    let archive = Canister::install(&replica, ARCHIVE, (install(),));
    // The anonymous principal is the controller of what these tests install.
    for stranger in [user(2), Principal::anonymous()] {
        let chunk = chunk(Position::default(), 0..1);
        let appended = archive.update::<Appended>(stranger, method::APPEND, (chunk,));
        assert!(appended.is_err(), "{appended:?}");
        let blocks = AppendBlocks {
            from: 0,
            blocks: vec![],
        };
        let appended = archive.update::<AppendedBlocks>(stranger, APPEND_BLOCKS, (blocks,));
        assert!(appended.is_err(), "{appended:?}");
        let ids = vec![ByteArray::new(id(0))];
        let refused = archive
            .query_raw(stranger, method::LOOK_UP, (ids,))
            .unwrap_err();
        assert!(
            refused.reject_message.contains("for the archive's owner"),
            "{refused:?}"
        );
        let status = archive.query_raw(stranger, method::STATUS, ());
        assert_eq!(status.is_ok(), stranger == Principal::anonymous());
    }
    assert_eq!(status(&archive).position, Position::default());
}

#[test]
fn anyone_may_have_blocks() {
    let replica = replica();
    let archive = Canister::install(&replica, ARCHIVE, (install(),));
    let block = |number: u64| Value::map([("number", Value::nat(number))]);
    let append = AppendBlocks {
        from: 7,
        blocks: (7..20)
            .map(|it| ByteBuf::from(block(it).to_bytes().unwrap()))
            .collect(),
    };
    for _ in 0..2 {
        let appended = archive.update::<AppendedBlocks>(user(OWNER), APPEND_BLOCKS, (&append,));
        assert_eq!(appended.unwrap(), AppendedBlocks::Taken(20));
    }
    let huge = Nat::from(u128::MAX);
    let range = |start: Nat, length: Nat| GetBlocksArg { start, length };
    let args = vec![
        range(Nat::from(18u8), huge.clone()),
        range(huge.clone(), huge),
        range(Nat::from(0u8), Nat::from(8u8)),
    ];
    let reply = archive
        .query_raw(Principal::anonymous(), "icrc3_get_blocks", (args,))
        .unwrap();
    let result: GetBlocksResult = candid::decode_one(&reply).unwrap();
    assert_eq!(result.log_length, Nat::from(20u8));
    let blocks: Vec<_> = result
        .blocks
        .into_iter()
        .map(|it| (it.id, it.block))
        .collect();
    assert_eq!(
        blocks,
        [18, 19, 7].map(|it: u64| (Nat::from(it), block(it)))
    );
}
