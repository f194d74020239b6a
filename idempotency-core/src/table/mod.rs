//! Storage: named rows of several kinds, in partitions that are forgotten as a whole. It knows nothing of what the rows mean.
//!
//! ```text
//! page 0         page 1      page 2 …
//! +------------+ +---------+ +-----------+-----------+-----------+
//! | header     | | root of | | segment:  | segment:  | segment:  |
//! | partitions | | index   | | blocks of | rows of a | blobs of a| …
//! |            | |         | | the index | partition | partition |
//! +------------+ +---------+ +-----------+-----------+-----------+
//! ```
//!
//! - A *row* is some bytes with a name, a time and a kind (`kind.rs`), and perhaps an *alias*, by which it is found, too; what is too long for
//!   it is a *blob* (`blobs.rs`).
//! - A *partition* (`partition.rs`) is a log of rows, in *chains* (`chain.rs`) of segments. When nothing in it is needed any more its segments
//!   are given back: forgetting costs the same for one row and for a million. A *family* of partitions holds rows of one purpose.
//! - The *index* (`index.rs`, `path.rs`, `bucket.rs`, `slot.rs`) is a trie over hash bits that leads from a name to its row.
//! - *Segments* (`segments.rs`) are the pages of the memory that partitions and index take and give back.
//! - *Cells* (`cells.rs`) are places of 32 bytes for what must be found again without a name.
//! - *Trees* beside partitions and a *queue* (`nodes.rs`) are for who repeats rows in another form.
//! - The *header* (`header.rs`) is read when the memory is opened and kept on the heap, with the partitions and the root of the index: some
//!   100 KiB at most, however many rows there are. The ends of the logs are found by reading on from where the header's page says.
//!
//! # Cost
//! A new row reads mostly one node and one bucket, writes one slot of the bucket, and appends to a log. That is two charged pages,
//! and a third one once in fifteen rows. A look-up reads the same, and the row. Nothing depends on the number of rows but the depth of
//! the trie.
//!
//! # Invariants
//! - A slot of the index leads to a row of its partition as long as that lives; after that the slot is free.
//! - Nothing that is read from memory is believed: each address, length and level is checked where it is used, each chain that is followed
//!   has an end, and a memory that contradicts itself gives [`OpenError::Damaged`] or [`Damaged`].
//! - What was found is a value, `Entry`, with the number of changes that the index had seen: who uses a stale one has the place looked up anew.

mod blobs;
mod bucket;
mod cells;
mod chain;
#[cfg(test)]
pub(crate) mod dump;
mod error;
mod header;
mod index;
mod kind;
mod layout;
mod nodes;
mod opening;
mod partition;
mod path;
mod rows;
mod segments;
mod slot;
mod texts;
mod version2;

pub(crate) use blobs::{BlobPlace, MOST_DROPS, read as read_blob};
pub(crate) use cells::{CellBytes, Cells};
pub use error::{Damaged, OpenError};
pub(crate) use header::{Header, Purpose, WORDS};
pub(crate) use index::{
    MOST_BYTES as MOST_INDEX_BYTES, MOST_SEGMENTS as MOST_INDEX_SEGMENTS, Occupied, Vacant,
};
pub(crate) use kind::{Family, Kind, Row, tail};
pub(crate) use layout::{FIRST_SEGMENT, MOST_PAGES, RowBytes, SEGMENT_BYTES, TERMINATOR, field};
pub(crate) use nodes::{Forest, NODE_BYTES, QUEUED_BYTES, Queued, Tree, read_node, write_node};
pub(crate) use opening::Opening;
pub(crate) use partition::{Partition, Partitions};
pub(crate) use rows::{Composed, Entry, Link, RowAt, Table};
pub(crate) use segments::Segments;
pub(crate) use texts::Texts;

#[cfg(test)]
mod tests;
