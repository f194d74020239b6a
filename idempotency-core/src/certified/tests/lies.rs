//! A replica that lies: whatever it does to a proof, no false statement is proved.

use super::model::{End, World, identity, policy};
use crate::certified::{
    cbor,
    tests::naive,
    verify::{CertifiedData, Proven, Question, Unproven, verify},
};
use ic_certification::HashTreeNode;
use ic_certification::{HashTree, fork, labeled, leaf, pruned};
use proptest::prelude::*;

/// Some requests that ended, one that runs, one that did nothing, and one that nobody sent: numbers 0 to 13.
fn world() -> World {
    let mut world = World::new(policy());
    for number in 0..10 {
        // Every other one has a `created_at`.
        let created = (number % 2 == 1).then_some(world.now);
        world.created.insert(number, created);
        world.submit(number, &[number as u8; 20], false);
        world.now += 70;
    }
    world.submit(10, b"", true);
    world.submit(11, b"", true);
    world.end(1, End::DidNothing);
    world.created.insert(13, Some(world.now - 5));
    world.batches();
    world.now += 1;
    world
}

const REQUESTS: u64 = 14;

fn proven(
    world: &World,
    witness: &HashTree,
    question: &Question,
    reply: Option<&[u8]>,
) -> Result<Proven, Unproven> {
    verify(world.data(), &cbor::encode(witness), &[], question, reply)
}

fn honest(world: &World, number: u64) -> (HashTree, Option<Vec<u8>>) {
    let (witness, reply) = world.proof(&world.question(number)).unwrap();
    (cbor::decode(&witness).unwrap(), reply)
}

#[test]
fn an_honest_proof_says_what_happened() {
    let world = world();
    for number in 0..REQUESTS {
        let (witness, reply) = honest(&world, number);
        let question = world.question(number);
        let proven = proven(&world, &witness, &question, reply.as_deref()).unwrap();
        match (number, &proven) {
            (0..10, Proven::Done { .. }) | (10, Proven::Begun { .. }) => {}
            (11..14, Proven::Absent { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn another_reply_is_not_the_one_that_was_certified() {
    let world = world();
    let (witness, reply) = honest(&world, 3);
    let question = world.question(3);
    let mut reply = reply.unwrap();
    reply[7] ^= 1;
    let of_another = [4; 20];
    for reply in [&reply[..], &of_another, &[], &reply[..19]] {
        let proven = proven(&world, &witness, &question, Some(reply));
        assert_eq!(proven, Err(Unproven::OtherReply));
    }
    // Without it, it is proved that there was one.
    let proven = proven(&world, &witness, &question, None);
    assert!(matches!(proven, Ok(Proven::ReplyDropped { .. })));
}

/// The witness of one request proves nothing of another: above all not that it is absent.
#[test]
fn a_witness_of_another_request_proves_nothing_false() {
    let world = world();
    for shown in 0..REQUESTS {
        let (witness, reply) = honest(&world, shown);
        for asked in (0..REQUESTS).filter(|asked| *asked != shown) {
            let question = world.question(asked);
            if let Ok(proven) = proven(&world, &witness, &question, reply.as_deref()) {
                assert!(
                    world.is_true(asked, (&proven, world.said()), reply.as_deref()),
                    "{proven:?}"
                );
            }
        }
    }
}

/// A replica that is behind, one that makes a tree of its own, and a certificate of another canister.
#[test]
fn another_root_proves_nothing() {
    let mut world = world();
    let stale = honest(&world, 12).0;
    world.submit(12, b"late", false);
    world.batches();
    let question = world.question(12);
    let of = |world: &World, witness: &HashTree| proven(world, witness, &question, None);
    assert_eq!(of(&world, &stale), Err(Unproven::OtherRoot));
    assert!(matches!(
        of(&world, &honest(&world, 12).0),
        Ok(Proven::ReplyDropped { .. })
    ));
    let made_up = fork(
        labeled("partitions", naive::tree(&naive::Map::new())),
        labeled("watermark", leaf([1; 57])),
    );
    assert_eq!(of(&world, &made_up), Err(Unproven::OtherRoot));
    let elsewhere = CertifiedData {
        data: &[7; 32],
        ..world.data()
    };
    let witness = cbor::encode(&honest(&world, 12).0);
    let proven = verify(elsewhere, &witness, &[], &question, None);
    assert_eq!(proven, Err(Unproven::OtherRoot));
    // Certified data that is no hash, as of a canister that sets none.
    let none = CertifiedData {
        data: &[],
        ..world.data()
    };
    let proven = verify(none, &witness, &[], &question, None);
    assert_eq!(proven, Err(Unproven::OtherRoot));
}

#[test]
fn a_tree_in_another_place_is_no_stores() {
    let world = world();
    let (witness, _) = honest(&world, 12);
    let encoded = cbor::encode(&witness);
    let question = world.question(12);
    let at = |path: &[&[u8]]| verify(world.data(), &encoded, path, &question, None);
    assert_eq!(at(&[b"other"]), Err(Unproven::NoSuchStore));
    assert_eq!(at(&[b"partitions"]), Err(Unproven::NoSuchStore));
    for bytes in [
        &b""[..],
        b"\xd9\xd9\xf7",
        &encoded[..encoded.len() - 1],
        b"\x80",
        b"\x81\x05",
    ] {
        let proven = verify(world.data(), bytes, &[], &question, None);
        assert_eq!(proven, Err(Unproven::NotATree));
    }
    let trailing = [&encoded[..], &[0]].concat();
    assert_eq!(
        verify(world.data(), &trailing, &[], &question, None),
        Err(Unproven::NotATree)
    );
    // A tree that goes on and on is refused, not followed.
    let deep = [&[0x83, 1, 0x81, 0][..]; 5_000].concat();
    assert_eq!(
        verify(world.data(), &deep, &[], &question, None),
        Err(Unproven::NotATree)
    );
}

/// What a liar does to a tree, node after node: leaves parts of it out, changes them, changes places.
fn distorted(node: &HashTreeNode, choices: &mut impl Iterator<Item = u8>) -> HashTree {
    let choice = choices.next().unwrap_or(255);
    let hash = |node: &HashTreeNode| pruned(node.digest());
    match (node, choice) {
        // It hides something and keeps the hash: all that a liar can do and keep the root.
        (_, 0..20) => hash(node),
        (HashTreeNode::Fork(children), 20) => fork(
            distorted(&children.1, choices),
            distorted(&children.0, choices),
        ),
        (HashTreeNode::Fork(children), 21) => distorted(&children.0, choices),
        (HashTreeNode::Fork(children), _) => {
            let left = distorted(&children.0, choices);
            fork(left, distorted(&children.1, choices))
        }
        (HashTreeNode::Labeled(label, below), 20) => {
            let mut label = label.as_bytes().to_vec();
            label.push(0);
            labeled(label.as_slice(), distorted(below, choices))
        }
        (HashTreeNode::Labeled(label, below), _) => {
            labeled(label.as_bytes(), distorted(below, choices))
        }
        (HashTreeNode::Leaf(bytes), 20) => {
            let mut bytes = bytes.clone();
            bytes[0] ^= 1;
            leaf(bytes)
        }
        (HashTreeNode::Leaf(bytes), _) => leaf(bytes.clone()),
        (HashTreeNode::Pruned(hash), 20) => {
            let mut hash = *hash;
            hash[0] ^= 1;
            pruned(hash)
        }
        (HashTreeNode::Pruned(hash), _) => pruned(*hash),
        (HashTreeNode::Empty(), _) => ic_certification::empty(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// And with the reply, and for another request, and with a certificate of any later time.
    #[test]
    fn no_distorted_witness_proves_what_is_false(
        shown in 0..REQUESTS,
        asked in 0..REQUESTS,
        choices in prop::collection::vec(any::<u8>(), 60),
        reply in prop::option::of(prop::collection::vec(any::<u8>(), 0..3)),
        later in 0..2_000u64,
    ) {
        let mut world = world();
        let (witness, honest_reply) = honest(&world, shown);
        // The IC certifies the same root for as long as nothing happens.
        world.now += later;
        let witness = distorted(witness.as_ref(), &mut choices.into_iter());
        let question = Question { created_at: world.question(asked).created_at, identity: identity(asked) };
        for reply in [reply, honest_reply, None] {
            if let Ok(proven) = proven(&world, &witness, &question, reply.as_deref()) {
                prop_assert!(world.is_true(asked, (&proven, world.said()), reply.as_deref()), "{proven:?}");
            }
        }
    }

    /// A tree goes through CBOR as it is, and no bytes make it panic.
    #[test]
    fn trees_are_read_as_they_were_written(
        shown in 0..REQUESTS,
        damage in prop::collection::vec(any::<(u16, u8)>(), 0..4),
    ) {
        let world = world();
        let (witness, _) = honest(&world, shown);
        let mut bytes = cbor::encode(&witness);
        let expected: Option<HashTree> = Some(witness);
        prop_assert_eq!(&cbor::decode(&bytes), &expected);
        for (at, value) in damage {
            let at = usize::from(at) % bytes.len();
            bytes[at] = value;
        }
        let _ = cbor::decode(&bytes);
    }
}
