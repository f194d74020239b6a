//! The hash tree of a store that certifies: what changes is noted, and put into the tree a batch at a time.
//!
//! Where records change (`transitions.rs`), a note goes into the queue of the table's `nodes.rs`: identity and partition, and no more. A batch
//! takes the notes of one segment of the queue, looks up what has become of each request by now, and puts that into the trees of the
//! partitions. So a request costs 32 bytes of queue while it runs, and all hashing is done later and for many at once. The tree
//! always is one that was whole: with every batch it goes from one such state to the next.
//!
//! What is on the heap here can be had again from the memory: a message that traps, and an upgrade, lose nothing.

use super::{
    Store,
    contents::Contents,
    forest::{
        Batch, Certified, FoundTrees, Gone, LEASE, OPEN_SINCE, Published, ReadOnly, Shown,
        TreeNodes, UNCOVERED_UNTIL, child, entry, leaf, read_entry,
    },
    record::{Record, State},
    records::Lookup,
    room::{segments_needed, segments_of_one},
};
use crate::{
    certified::{
        leaf::Leaf,
        top::{self, Forks, Part},
        tree::{self, BYTES_OF_A_REQUEST, Change, Child, Hash},
        watermark::Watermark,
    },
    error::IdempotencyError,
    identity::Identity,
    policy::Policy,
    table::{Damaged, Forest, Header, QUEUED_BYTES, SEGMENT_BYTES, Tree},
    time::Timestamp,
};
use ic_certification::HashTree;
use ic_stable_structures::Memory;
use std::collections::{BTreeMap, BTreeSet};

impl<M: Memory> Contents<M> {
    /// Goes on with the trees that were found, or begins or gives them up, as the policy says.
    pub(super) fn open_trees(
        &mut self,
        FoundTrees(found): FoundTrees,
        policy: &Policy,
    ) -> Result<(), Damaged> {
        let (mut forest, is_kept) = match (found, policy.certify) {
            (None, None) => return Ok(()),
            (Some(found), _) => found,
            (None, Some(_)) => (Forest::begin(&self.table.segments), false),
        };
        let segments = &mut self.table.segments;
        if policy.certify.is_none() {
            forest.give_back(segments)?;
            Header::write_forest(&segments.memory, false);
            segments.write_header();
            return Ok(());
        }
        forest.incarnation = segments.header.incarnation;
        let mut certified = Certified::new(forest, policy);
        match is_kept {
            true => certified.forest.write(segments),
            false => self.begin_trees(&mut certified)?,
        }
        Header::write_forest(&self.table.segments.memory, true);
        self.certified = Some(Box::new(certified));
        Ok(())
    }

    /// Begins anew, with no tree: what was recorded by now is not covered.
    fn begin_trees(&mut self, certified: &mut Certified) -> Result<(), Damaged> {
        let incarnation = certified.forest.incarnation;
        certified.forest.give_back(&mut self.table.segments)?;
        certified.forest.incarnation = incarnation;
        let newest = self.requests.newest().map_or(0, |newest| newest.until);
        // The records that lie in lanes are in none of these partitions.
        let in_lanes = self.counters.iter().map(|it| it.own.counts_until).max();
        let until = newest.max(self.forgotten_until.as_nanos());
        certified.forest.words[UNCOVERED_UNTIL] = until.max(in_lanes.unwrap_or(0));
        certified.forest.write(&self.table.segments);
        self.table.segments.write_header();
        (certified.is_lost, certified.goal) = (false, None);
        (certified.published, certified.forks) = (None, Forks::default());
        Ok(())
    }

    /// What is said of a request in a partition may have changed.
    #[inline]
    pub(super) fn note_change(&mut self, identity: &Identity, partition: u16, gone: Gone) {
        if self.certified.is_some() {
            self.note_certified(identity, partition, gone);
        }
    }

    #[cold]
    fn note_certified(&mut self, identity: &Identity, partition: u16, gone: Gone) {
        let Some(mut certified) = self.certified.take() else {
            return;
        };
        // What is running may need all that is left to end; this request has taken no more than what one may take.
        let has_room = !certified.forest.is_full() || {
            let policy = &certified.policy;
            let others = self.segments_of_others(policy) - segments_of_one(policy);
            self.table.segments.has(others + 1)
        };
        certified.note(
            &mut self.table.segments,
            &entry(identity, partition, gone),
            has_room,
        );
        self.certified = Some(certified);
    }

    /// A partition is given up; the caller writes the header.
    pub(super) fn forget_tree(&mut self, number: u16) -> Result<(), Damaged> {
        match &mut self.certified {
            Some(certified) => {
                certified.change();
                Tree::give_back(&mut self.table.segments, number)
            }
            None => Ok(()),
        }
    }

    /// Segments that the queue may take while a request begins and so many others end.
    #[inline]
    pub(super) fn segments_for_queue(&self, others: u64) -> u64 {
        match self.certified {
            Some(_) => 2 + others / (SEGMENT_BYTES / QUEUED_BYTES as u64 - 1),
            None => 0,
        }
    }

    /// Segments that what has begun may yet take, and one request more.
    fn segments_of_others(&self, policy: &Policy) -> u64 {
        let others = self.running.len() as u64 + self.open.waiting + self.overdue.len() as u64;
        segments_needed(
            policy,
            (others, self.open.durable),
            self.requests.len() as u64,
        )
    }

    /// Puts what has changed into the trees, as far as a batch goes.
    fn certify(&mut self, certified: &mut Certified, now: Timestamp) -> Result<Batch, Damaged> {
        let policy = certified.policy;
        if certified.is_lost {
            self.begin_trees(certified)?;
        }
        let queued = certified.forest.queued_segments();
        let (goal, goal_time) = *certified.goal.get_or_insert((queued.max(1), now));
        let notes = certified.forest.first(&self.table.segments)?;
        // In the order of partitions and identities; the last note of each counts.
        let notes: BTreeMap<_, _> = notes.iter().map(read_entry).collect();
        let partitions: BTreeSet<u16> = notes.keys().map(|(partition, _)| *partition).collect();
        let bytes = notes.len() as u64 * BYTES_OF_A_REQUEST;
        let needed = bytes.div_ceil(SEGMENT_BYTES - 256) + partitions.len() as u64;
        if needed > 0 && !(self.table.segments).reserve(self.segments_of_others(&policy) + needed) {
            return Ok(Batch::NoRoom);
        }
        let mut changes: BTreeMap<u16, Vec<Change>> = BTreeMap::new();
        for ((partition, key), gone) in notes {
            if self.until(partition).is_none() {
                continue;
            }
            let content = match self.find(&Identity(key))? {
                Some((place, record)) if place.slot.partition == partition => leaf(&record),
                _ if gone == Gone::Acknowledged => Leaf::Acknowledged,
                _ => Leaf::DidNothing,
            };
            let content = content.bytes();
            changes
                .entry(partition)
                .or_default()
                .push(Change { key, content });
        }
        for (partition, changes) in changes {
            self.change_tree(certified, partition, &changes)?;
        }
        certified.forest.forget_first(&mut self.table.segments)?;
        certified.goal = (goal > 1).then_some((goal - 1, goal_time));
        let is_done = certified.forest.is_empty();
        if is_done {
            certified.goal = None;
        }
        if certified.goal.is_none() {
            certified.has_changed = !is_done;
            certified.forest.words[OPEN_SINCE] = if is_done { 0 } else { goal_time.as_nanos() };
            certified.forest.write(&self.table.segments);
        }
        self.publish(certified, now)?;
        Ok(if is_done { Batch::Done } else { Batch::HasMore })
    }

    fn change_tree(
        &mut self,
        certified: &mut Certified,
        partition: u16,
        changes: &[Change],
    ) -> Result<(), Damaged> {
        let until = self.until(partition).ok_or(Damaged)?;
        certified.forks.forget(until.as_nanos());
        let segments = &mut self.table.segments;
        let mut tree = match Tree::read(segments, partition)? {
            Some(tree) => tree,
            None => Tree::begin(segments, partition)?,
        };
        let root = child(tree.root, tree.hash);
        let mut nodes = TreeNodes {
            segments,
            tree: &mut tree,
        };
        if let Some(Child { node, hash }) = tree::merge(&mut nodes, root, changes)? {
            (tree.root, tree.hash) = (node, hash);
        }
        tree.write(&self.table.segments);
        Ok(())
    }

    /// Makes what is certified anew.
    fn publish(&mut self, certified: &mut Certified, now: Timestamp) -> Result<(), Damaged> {
        let policy = certified.policy;
        let empty = ic_certification::empty().digest();
        let mut parts = Vec::with_capacity(self.requests.len());
        let numbers = self.requests.numbers(self.header());
        for (number, partition) in numbers.zip(self.requests.iter()) {
            let tree = Tree::read(&self.table.segments, number)?.filter(|tree| tree.root != 0);
            parts.push(Part {
                until: partition.until,
                number,
                root: tree.map_or(0, |tree| tree.root),
                hash: tree.map_or(empty, |tree| tree.hash),
            });
        }
        let first = parts.first().map_or(u64::MAX, |part| part.until);
        certified.forks.forget_before(first);
        let (short_until, short_reach) = self.short_window();
        let uncovered = Timestamp::from_nanos(certified.forest.words[UNCOVERED_UNTIL]);
        certified.published = Some(Published {
            partitions: certified.forks.hash(&parts),
            parts,
            watermark: Watermark {
                open_since: certified.open_since(),
                valid_until: now.plus(LEASE),
                covered_after: uncovered.max(self.forgotten_until),
                window: policy.window,
                drift: policy.drift,
                short_until,
                short_reach,
            },
        });
        Ok(())
    }

    /// The tree lacks something from now on, if it does.
    fn note_open(&mut self, certified: &mut Certified, now: Timestamp) {
        if !certified.has_changed {
            return;
        }
        if certified.open_since().is_none() {
            // 0 says that it is not open.
            certified.forest.words[OPEN_SINCE] = now.as_nanos().max(1);
            certified.forest.write(&self.table.segments);
        }
        certified.is_to_be_told = false;
        let since = certified.open_since();
        if let Some(published) = &mut certified.published {
            published.watermark.open_since = since;
        }
    }
}

impl<M: Memory> Store<M> {
    /// Works on the tree, if the store has one.
    fn with_tree<T>(
        &self,
        work: impl FnOnce(&mut Contents<M>, &mut Certified) -> Result<T, Damaged>,
    ) -> Result<Option<T>, Damaged> {
        let mut inner = self.inner()?;
        let Some(mut certified) = inner.certified.take() else {
            return Ok(None);
        };
        let result = work(&mut inner, &mut certified);
        inner.certified = Some(certified);
        result.map(Some)
    }

    /// Puts what has changed into the tree, as far as a batch goes: some 2,000 changes at the most. `None` if the store has no tree.
    pub(crate) fn certify(&self, now: Timestamp) -> Result<Option<Batch>, Damaged> {
        self.with_tree(|contents, certified| contents.certify(certified, now))
    }

    /// Says that what is certified holds for some time longer.
    pub(crate) fn renew_tree(&self, now: Timestamp) -> Result<(), Damaged> {
        self.with_tree(|contents, certified| {
            contents.note_open(certified, now);
            match &mut certified.published {
                Some(published) => published.watermark.valid_until = now.plus(LEASE),
                None => contents.publish(certified, now)?,
            }
            Ok(())
        })?;
        Ok(())
    }

    /// The root of the tree as it is to be certified now; `None` if the store has none.
    pub(crate) fn tree_root(&self, now: Timestamp) -> Result<Option<Hash>, Damaged> {
        self.with_tree(|contents, certified| {
            contents.note_open(certified, now);
            if certified.published.is_none() {
                contents.publish(certified, now)?;
            }
            let published = certified.published.as_ref().ok_or(Damaged)?;
            Ok(top::root(&published.partitions, &published.watermark))
        })
    }

    /// Whether the tree lacks something, and whether its validity has to be renewed while it does not.
    #[cfg(feature = "timers")]
    pub(crate) fn tree_needs(&self) -> Option<(bool, bool)> {
        let inner = self.inner.borrow();
        let certified = inner.certified.as_ref()?;
        Some((certified.has_changed, inner.requests.rows > 0))
    }

    /// What shows what the tree says of a request. `None` if the store has no tree that is certified.
    ///
    /// # Errors
    /// `StoreDamaged`; [`IdempotencyError::not_certified_yet`].
    pub(crate) fn proof(
        &self,
        identity: &Identity,
        created_at: Option<Timestamp>,
    ) -> Result<Option<Shown>, IdempotencyError> {
        let (Some(label), Some(_)) = (self.label(), self.policy.certify) else {
            return Ok(None);
        };
        let witness = self.tree_witness(identity, created_at)?;
        let witness = witness.ok_or_else(IdempotencyError::not_certified_yet)?;
        let (reply, fingerprint) = match self.lookup(identity)? {
            Lookup::Known(Record {
                fingerprint,
                state: State::Done(reply),
                ..
            }) => (Some(reply.bytes), Some(fingerprint)),
            Lookup::Known(record) => (None, Some(record.fingerprint)),
            Lookup::Unknown(_) => (None, None),
        };
        Ok(Some(Shown {
            label: label.to_owned(),
            witness,
            reply,
            fingerprint,
        }))
    }

    /// What shows what the tree says of a request: a tree with the root that [`tree_root`](Self::tree_root) gave last. `Ok(None)` if the
    /// store has none, or parts of it have gone since.
    pub(crate) fn tree_witness(
        &self,
        identity: &Identity,
        created_at: Option<Timestamp>,
    ) -> Result<Option<HashTree>, Damaged> {
        let witness = self.with_tree(|contents, certified| {
            let Certified {
                published: Some(published),
                forks,
                ..
            } = certified
            else {
                return Ok(None);
            };
            let place = contents.place(identity)?;
            let partition = place.map(|place| place.slot.partition);
            let sought = (identity, partition);
            contents.witness(published, forks, sought, created_at)
        })?;
        Ok(witness.flatten())
    }
}

impl<M: Memory> Contents<M> {
    fn witness(
        &self,
        published: &Published,
        forks: &mut Forks,
        (identity, partition): (&Identity, Option<u16>),
        created_at: Option<Timestamp>,
    ) -> Result<Option<HashTree>, Damaged> {
        let nodes = ReadOnly(&self.table.segments);
        let is_there = |part: &Part| {
            let until = self.until(part.number).map(Timestamp::as_nanos);
            until == Some(part.until)
        };
        let (parts, watermark) = (&published.parts, &published.watermark);
        let mut show = BTreeMap::new();
        // Where it is, if it is somewhere: first where its record is by now.
        let (likely, others): (Vec<&Part>, Vec<&Part>) = (parts.iter().rev())
            .filter(|part| is_there(part))
            .partition(|part| Some(part.number) == partition);
        for part in likely.into_iter().chain(others) {
            let root = child(part.root, part.hash);
            let found = tree::find(&nodes, root, identity.name())?;
            let leaf = found.and_then(|content| Leaf::read(&content));
            if leaf.is_some_and(|leaf| leaf != Leaf::DidNothing) {
                show.insert(
                    part.until,
                    Some(tree::witness(&nodes, root, identity.name())?),
                );
                let partitions = forks.witness(parts, &mut show);
                return Ok(Some(top::tree(partitions, watermark)));
            }
        }
        let expiry = created_at.map_or(0, |created_at| watermark.expiry(created_at).as_nanos());
        for part in parts {
            if part.until < expiry {
                // The last of these says that those before it don't matter.
                show.clear();
                show.insert(part.until, None);
                continue;
            }
            if !is_there(part) {
                return Ok(None);
            }
            let root = child(part.root, part.hash);
            show.insert(
                part.until,
                Some(tree::witness(&nodes, root, identity.name())?),
            );
        }
        let partitions = forks.witness(parts, &mut show);
        Ok(Some(top::tree(partitions, watermark)))
    }
}

#[cfg(test)]
impl<M: Memory> Store<M> {
    /// All partitions of the tree with their leaves, and its watermark.
    pub(crate) fn whole_tree(&self) -> (Vec<(u64, Vec<Leaves>)>, Watermark) {
        let inner = self.inner.borrow();
        let certified = inner.certified.as_ref().expect("there is a tree");
        let published = certified.published.as_ref().expect("it was asked for");
        let nodes = ReadOnly(&inner.table.segments);
        let leaves = |part: &Part| tree::leaves(&nodes, child(part.root, part.hash));
        let parts = published
            .parts
            .iter()
            .filter(|part| inner.until(part.number).map(Timestamp::as_nanos) == Some(part.until));
        let parts = parts.map(|part| (part.until, leaves(part).expect("it is sound")));
        (parts.collect(), published.watermark)
    }

    /// As if there had been no room for a note.
    pub(crate) fn lose_queue(&self) {
        let mut inner = self.inner.borrow_mut();
        let certified = inner.certified.as_mut().expect("there is a tree");
        certified.change();
        certified.is_lost = true;
    }

    /// How many partitions of the tree have gone.
    pub(crate) fn gone_from_tree(&self) -> usize {
        let inner = self.inner.borrow();
        let published = inner
            .certified
            .as_ref()
            .and_then(|it| it.published.as_ref());
        let parts = published.map_or(&[][..], |published| &published.parts);
        let until = |part: &Part| inner.until(part.number).map(Timestamp::as_nanos);
        parts
            .iter()
            .filter(|part| until(part) != Some(part.until))
            .count()
    }
}

/// A leaf with its label.
#[cfg(test)]
pub(crate) type Leaves = (tree::Key, [u8; crate::certified::leaf::LEAF_BYTES]);
