//! Trees beside the partitions of the first family, and a queue of what is yet to be put into them. They repeat what rows say, so a memory
//! is as good without them.
//!
//! ```text
//! offset  bytes  in the header's page, if its feature says so
//!   1280      8  incarnation of the last heap that kept them
//!   1288      8  first word of the layer above
//!   1296      8  second word of the layer above
//!   1304     14  chain of the queue
//!   2048  512×4  first segment of the tree of each partition, 0 if it has none: that of partition n is entry n mod 512
//!
//! offset  bytes  in the first segment of a tree
//!     16     14  its chain
//!     32      4  root: address / 16, 0 if there is none
//!     36     32  the root's hash
//!     80      …  nodes, each at a multiple of 16
//! ```
//!
//! An entry of the queue takes 32 bytes, of which the first is not 0; a zero ends it. Its segments are emptied one at a time, the first one
//! first.

use super::{
    chain::Chain,
    error::Damaged,
    layout::{FIRST_SEGMENT, SEGMENT_BYTES, field},
    segments::{CHAIN_BYTES, Segments, address},
};
use ic_stable_structures::Memory;

const HEADER_AT: u64 = 1_280;
const HEADER_BYTES: usize = 38;
const TABLE_AT: u64 = 2_048;
const TABLE_ENTRIES: u16 = 512;

const TREE_AT: u64 = 16;
const TREE_BYTES: usize = 52;
const NODES_AT: u32 = 80;

/// Nodes lie at multiples of this.
const UNIT_BYTES: u64 = 16;

/// Room for any node.
pub(crate) const NODE_BYTES: usize = 112;

/// The size of an entry of the queue.
pub(crate) const QUEUED_BYTES: usize = 32;

/// An entry of the queue. Its first byte is not 0.
pub(crate) type Queued = [u8; QUEUED_BYTES];

/// What the header's page says of trees and queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forest {
    /// Of the last heap that kept them.
    pub(crate) incarnation: u64,
    /// What the layer above keeps here.
    pub(crate) words: [u64; 2],
    queue: Chain,
}

impl Forest {
    /// As another heap has left it.
    pub(super) fn read<M: Memory>(segments: &Segments<M>) -> Self {
        let mut bytes = [0; HEADER_BYTES];
        segments.memory.read(HEADER_AT, &mut bytes);
        let rest = &mut bytes.as_slice();
        Self {
            incarnation: u64::from_le_bytes(field(rest)),
            words: [(); 2].map(|()| u64::from_le_bytes(field(rest))),
            queue: Chain::from_bytes(rest),
        }
    }

    /// Writes it to the header's page.
    pub(crate) fn write<M: Memory>(&self, segments: &Segments<M>) {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.words[0].to_le_bytes());
        bytes[16..24].copy_from_slice(&self.words[1].to_le_bytes());
        bytes[24..].copy_from_slice(&self.queue.to_bytes());
        segments.memory.write(HEADER_AT, &bytes);
    }

    /// Begins with no tree and an empty queue, in a memory that has none.
    pub(crate) fn begin<M: Memory>(segments: &Segments<M>) -> Self {
        let zeros = [0; TABLE_ENTRIES as usize * 4];
        segments.memory.write(TABLE_AT, &zeros);
        Self::default()
    }

    /// All trees, if they and the queue can be what they say.
    pub(super) fn check<M: Memory>(&self, segments: &Segments<M>) -> Result<Vec<Tree>, Damaged> {
        let mut table = [0; TABLE_ENTRIES as usize * 4];
        segments.memory.read(TABLE_AT, &mut table);
        let (heads, _) = table.as_chunks();
        let heads = heads.iter().map(|head| u32::from_le_bytes(*head));
        let trees = heads
            .filter(|head| *head != 0)
            .map(|head| Tree::at(segments, head));
        match self.queue.is_plausible(segments) {
            true => trees.collect(),
            false => Err(Damaged),
        }
    }

    /// Gives back all segments of all trees and of the queue; the caller writes the header.
    pub(crate) fn give_back<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
    ) -> Result<(), Damaged> {
        // Before anything changes: all of them can be read.
        for tree in self.check(segments)? {
            tree.chain.give_back(segments);
        }
        std::mem::take(&mut self.queue).give_back(segments);
        *self = Self::begin(segments);
        Ok(())
    }

    /// Finds the end of the queue of an earlier heap.
    pub(crate) fn find_end<M: Memory>(&mut self, segments: &Segments<M>) -> Result<(), Damaged> {
        (self.queue).find_end(segments, QUEUED_BYTES, |rest| {
            let is_entry = rest.len() >= QUEUED_BYTES && rest[0] != 0;
            Ok(is_entry.then_some(QUEUED_BYTES))
        })
    }

    /// Segments of the queue, of which the last may be partly filled.
    pub(crate) fn queued_segments(&self) -> u32 {
        self.queue.segments
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.tail == 0 || self.queue.head == self.queue.tail && self.queue.used == START
    }

    /// Whether the next entry takes a segment.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.room() < QUEUED_BYTES as u64
    }

    /// Appends an entry to the queue.
    pub(crate) fn push<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        entry: &Queued,
    ) -> Result<(), Damaged> {
        if self.is_full() {
            self.queue.extend(segments)?;
            self.write(segments);
        }
        // And the zero that ends it.
        let length = QUEUED_BYTES + usize::from(self.queue.room() > QUEUED_BYTES as u64);
        let mut bytes = [0; QUEUED_BYTES + 1];
        bytes[..QUEUED_BYTES].copy_from_slice(entry);
        (segments.memory).write(self.queue.end(), &bytes[..length]);
        self.queue.used += QUEUED_BYTES as u32;
        Ok(())
    }

    /// The entries in the first segment of the queue: about 2,000 at the most.
    pub(crate) fn first<M: Memory>(&self, segments: &Segments<M>) -> Result<Vec<Queued>, Damaged> {
        if self.queue.head == 0 {
            return Ok(vec![]);
        }
        let end = match self.queue.head == self.queue.tail {
            true => u64::from(self.queue.used),
            false => SEGMENT_BYTES,
        };
        let count = end.saturating_sub(CHAIN_BYTES) as usize / QUEUED_BYTES;
        let mut bytes = vec![0; count * QUEUED_BYTES];
        segments.read_into(address(self.queue.head) + CHAIN_BYTES, &mut bytes)?;
        let (entries, _) = bytes.as_chunks();
        Ok(entries.to_vec())
    }

    /// Forgets the entries in the first segment of the queue.
    pub(crate) fn forget_first<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
    ) -> Result<(), Damaged> {
        let head = self.queue.head;
        if head == 0 {
            return Ok(());
        }
        if head == self.queue.tail {
            self.queue.used = START;
            (segments.memory).write(self.queue.end(), &[0]);
        } else {
            let next = segments.next_in_chain(head)?;
            if !(FIRST_SEGMENT..segments.header.pages).contains(&next) {
                return Err(Damaged);
            }
            self.queue.head = next;
            self.queue.segments = self.queue.segments.saturating_sub(1);
            segments.give_back(head, head, 1);
            segments.write_header();
        }
        self.write(segments);
        Ok(())
    }
}

/// Where a segment of the queue begins to be filled.
const START: u32 = CHAIN_BYTES as u32;

/// The tree of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tree {
    chain: Chain,
    /// Its root, 0 if there is none.
    pub(crate) root: u32,
    /// The root's hash.
    pub(crate) hash: [u8; 32],
}

impl Tree {
    /// The tree of a partition, if it has one.
    pub(crate) fn read<M: Memory>(
        segments: &Segments<M>,
        number: u16,
    ) -> Result<Option<Self>, Damaged> {
        let mut head = [0; 4];
        segments.memory.read(entry_at(number), &mut head);
        let head = u32::from_le_bytes(head);
        match head {
            0 => Ok(None),
            head => Self::at(segments, head).map(Some),
        }
    }

    /// The tree whose first segment this is.
    fn at<M: Memory>(segments: &Segments<M>, head: u32) -> Result<Self, Damaged> {
        let bytes: [u8; TREE_BYTES] = segments.read(address(head) + TREE_AT)?;
        let rest = &mut bytes.as_slice();
        let chain = Chain::from_bytes(rest);
        let [_, _] = field(rest);
        let tree = Self {
            chain,
            root: u32::from_le_bytes(field(rest)),
            hash: field(rest),
        };
        let is_sound = chain.head == head && chain.is_plausible(segments);
        is_sound.then_some(tree).ok_or(Damaged)
    }

    /// An empty tree for a partition that has none. [`Segments::reserve`] has made sure of a segment.
    pub(crate) fn begin<M: Memory>(
        segments: &mut Segments<M>,
        number: u16,
    ) -> Result<Self, Damaged> {
        let mut chain = Chain::default();
        chain.extend(segments)?;
        chain.used = NODES_AT;
        (segments.memory).write(entry_at(number), &chain.head.to_le_bytes());
        let tree = Self {
            chain,
            root: 0,
            hash: [0; 32],
        };
        tree.write(segments);
        Ok(tree)
    }

    /// Writes what has changed of it but for its nodes.
    pub(crate) fn write<M: Memory>(&self, segments: &Segments<M>) {
        let mut bytes = [0; TREE_BYTES];
        bytes[..14].copy_from_slice(&self.chain.to_bytes());
        bytes[16..20].copy_from_slice(&self.root.to_le_bytes());
        bytes[20..].copy_from_slice(&self.hash);
        (segments.memory).write(address(self.chain.head) + TREE_AT, &bytes);
    }

    /// Gives back the tree of a partition, if it has one; the caller writes the header.
    pub(crate) fn give_back<M: Memory>(
        segments: &mut Segments<M>,
        number: u16,
    ) -> Result<(), Damaged> {
        if let Some(tree) = Self::read(segments, number)? {
            segments.memory.write(entry_at(number), &[0; 4]);
            tree.chain.give_back(segments);
        }
        Ok(())
    }

    /// Adds a node. [`Segments::reserve`] has made sure of a segment.
    pub(crate) fn add<M: Memory>(
        &mut self,
        segments: &mut Segments<M>,
        node: &[u8],
    ) -> Result<u32, Damaged> {
        let length = (node.len() as u64).next_multiple_of(UNIT_BYTES) as u32;
        if self.chain.room() < u64::from(length) {
            self.chain.extend(segments)?;
            self.chain.used = UNIT_BYTES as u32;
        }
        let at = self.chain.end();
        segments.memory.write(at, node);
        self.chain.used += length;
        u32::try_from(at / UNIT_BYTES).map_err(|_| Damaged)
    }
}

/// Reads a node, and what lies after it.
pub(crate) fn read_node<M: Memory>(
    segments: &Segments<M>,
    node: u32,
) -> Result<[u8; NODE_BYTES], Damaged> {
    let (at, mut bytes) = (u64::from(node) * UNIT_BYTES, [0; NODE_BYTES]);
    let room = (SEGMENT_BYTES - at % SEGMENT_BYTES).min(NODE_BYTES as u64) as usize;
    segments.read_into(at, &mut bytes[..room])?;
    Ok(bytes)
}

/// Writes a node over another one of the same length.
pub(crate) fn write_node<M: Memory>(
    segments: &Segments<M>,
    node: u32,
    bytes: &[u8],
) -> Result<(), Damaged> {
    let at = u64::from(node) * UNIT_BYTES;
    segments.check(at, bytes.len())?;
    segments.memory.write(at, bytes);
    Ok(())
}

fn entry_at(number: u16) -> u64 {
    TABLE_AT + u64::from(number % TABLE_ENTRIES) * 4
}
