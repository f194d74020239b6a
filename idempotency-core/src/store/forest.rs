//! What of the hash tree is on the heap, and what is noted for it: see `certify.rs`.

use super::record::{Record, State};
use crate::{
    certified::{
        leaf::{Leaf, digest},
        top::{Forks, Part},
        tree::{Child, Hash, Key, Nodes},
        watermark::Watermark,
    },
    identity::{Fingerprint, Identity},
    policy::Policy,
    table::{
        Damaged, Forest, NODE_BYTES, Opening, QUEUED_BYTES, Queued, Segments, Tree, read_node,
        write_node,
    },
    time::Timestamp,
};
use ic_certification::HashTree;
use ic_stable_structures::Memory;
use std::time::Duration;

/// A tree counts as all that has happened for so long after it was last published, if nothing else is said: after that a canister may have
/// been upgraded to a module that does not keep it.
pub(crate) const LEASE: Duration = Duration::from_secs(60 * 60);

// What is kept in the words of the forest.
/// Records that are kept until after this were made when there was a tree, ns.
pub(super) const UNCOVERED_UNTIL: usize = 0;
/// When the first change happened that is not in the tree, ns; 0 if there is none.
pub(super) const OPEN_SINCE: usize = 1;

/// Why a request has no record, for its leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    /// It did nothing, or its record is elsewhere.
    DidNothing,
    /// Its client has the reply.
    Acknowledged,
}

/// What of the tree is on the heap.
pub(super) struct Certified {
    pub(super) policy: Policy,
    pub(super) forest: Forest,
    /// The queue lacks a note, as there was no room for it: the tree has to begin anew.
    pub(super) is_lost: bool,
    /// Something changed that the tree lacks.
    pub(super) has_changed: bool,
    /// It was the first, and nobody was told of it yet.
    pub(super) is_to_be_told: bool,
    /// When so many segments of the queue are emptied, the tree has all that happened until then.
    pub(super) goal: Option<(u32, Timestamp)>,
    pub(super) published: Option<Published>,
    pub(super) forks: Forks,
}

/// What is certified, or would be if somebody asked for it.
pub(super) struct Published {
    pub(super) parts: Vec<Part>,
    pub(super) watermark: Watermark,
    /// Of all parts.
    pub(super) partitions: Hash,
}

/// What a store shows of a request.
#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct Shown {
    /// Of the store.
    pub label: String,
    /// Of its tree.
    pub witness: HashTree,
    /// If it has one.
    pub reply: Option<Vec<u8>>,
    /// What its record compares, if there is one.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// How far a batch came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Batch {
    /// The tree has all.
    Done,
    /// There is more for another batch.
    HasMore,
    /// The memory has no room for the tree.
    NoRoom,
}

/// The nodes of one tree.
pub(super) struct TreeNodes<'a, M: Memory> {
    pub(super) segments: &'a mut Segments<M>,
    pub(super) tree: &'a mut Tree,
}

impl<M: Memory> Nodes for TreeNodes<'_, M> {
    fn read(&self, node: u32) -> Result<[u8; NODE_BYTES], Damaged> {
        read_node(self.segments, node)
    }

    fn write(&mut self, node: u32, bytes: &[u8]) -> Result<(), Damaged> {
        write_node(self.segments, node, bytes)
    }

    fn add(&mut self, bytes: &[u8]) -> Result<u32, Damaged> {
        self.tree.add(self.segments, bytes)
    }
}

/// Nodes that are only read.
pub(super) struct ReadOnly<'a, M: Memory>(pub(super) &'a Segments<M>);

impl<M: Memory> Nodes for ReadOnly<'_, M> {
    fn read(&self, node: u32) -> Result<[u8; NODE_BYTES], Damaged> {
        read_node(self.0, node)
    }

    fn write(&mut self, _: u32, _: &[u8]) -> Result<(), Damaged> {
        Err(Damaged)
    }

    fn add(&mut self, _: &[u8]) -> Result<u32, Damaged> {
        Err(Damaged)
    }
}

pub(super) fn child(root: u32, hash: Hash) -> Option<Child> {
    (root != 0).then_some(Child { node: root, hash })
}

impl Certified {
    pub(super) fn new(forest: Forest, policy: &Policy) -> Self {
        Self {
            policy: *policy,
            has_changed: forest.words[OPEN_SINCE] != 0 || !forest.is_empty(),
            forest,
            is_lost: false,
            is_to_be_told: false,
            goal: None,
            published: None,
            forks: Forks::default(),
        }
    }

    /// Something changes.
    pub(super) fn change(&mut self) {
        self.is_to_be_told |= !self.has_changed;
        self.has_changed = true;
    }

    pub(super) fn open_since(&self) -> Option<Timestamp> {
        let since = self.forest.words[OPEN_SINCE];
        (since != 0).then_some(Timestamp::from_nanos(since))
    }

    /// Whether somebody is to be told that the tree lacks something from now on.
    pub(super) fn is_to_be_told(&self) -> bool {
        self.is_to_be_told
    }

    pub(super) fn note<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        entry: &Queued,
        has_room: bool,
    ) {
        self.change();
        self.is_lost |= !has_room || self.forest.push(segments, entry).is_err();
    }
}

/// A note of the queue: what the leaf of a request says in a partition may be out of date.
pub(super) fn entry(identity: &Identity, partition: u16, gone: Gone) -> Queued {
    let mut entry = [0; QUEUED_BYTES];
    entry[0] = match gone {
        Gone::DidNothing => 1,
        Gone::Acknowledged => 2,
    };
    entry[2..4].copy_from_slice(&partition.to_le_bytes());
    entry[8..].copy_from_slice(identity.name());
    entry
}

/// Partition and identity of a note, and why there may be no record.
pub(super) fn read_entry(entry: &Queued) -> ((u16, Key), Gone) {
    let mut key = [0; 24];
    key.copy_from_slice(&entry[8..]);
    let gone = match entry[0] {
        2 => Gone::Acknowledged,
        _ => Gone::DidNothing,
    };
    ((u16::from_le_bytes([entry[2], entry[3]]), key), gone)
}

pub(super) fn leaf(record: &Record) -> Leaf {
    let executed_at = record.since;
    match &record.state {
        State::Pending(_) => Leaf::Begun { since: executed_at },
        State::Done(reply) => Leaf::Done {
            executed_at,
            reply: digest(&reply.bytes),
        },
        State::ReplyDropped => Leaf::WithoutReply { executed_at },
    }
}

/// The trees of a memory that is opened with a policy.
pub(super) struct FoundTrees(pub(super) Option<(Forest, bool)>);

impl FoundTrees {
    pub(super) fn read<M: Memory>(opening: &Opening<M>) -> Result<Self, Damaged> {
        opening.forest().map(Self)
    }
}
