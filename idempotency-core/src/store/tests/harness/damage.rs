//! Damage to the memory of a store: what another structure does to it that was given the same memory.

use super::{
    Seed,
    memory::{PAGE_BYTES, TestMemory},
};

/// The header, the table of counters and as much of that of partitions as is used at first, and what lies between them.
const HEADER_BYTES: usize = 4_096 + 40 * 64;

const MAGIC_BYTES: usize = 8;

/// Of the index: a child is an address in units, doubled, and odd if it leads to a node.
const UNIT_BYTES: usize = 64;
const CHILDREN: usize = 32;
const LEVELS: usize = 5;
const BUCKET_BYTES: usize = 256;
const DEPTH_AT: usize = 250;
const NEXT_AT: usize = 252;

/// One change of a memory.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    Overwrite {
        place: Place,
        value: Value,
        /// How many times the value is written, one after the other.
        times: usize,
    },
    Truncate {
        pages: usize,
    },
}

/// Where a change begins; everything wraps around, so that it hits whatever the size of the memory.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Header {
        offset: usize,
    },
    /// The number of the next segment in a chain.
    Chain {
        page: usize,
    },
    /// The `nth` word that is not zero: a child, a slot, a record, a reply.
    Word {
        page: usize,
        nth: usize,
    },
    /// A node or bucket, so many levels below the `nth` child of the index's root.
    Block {
        nth: usize,
        levels: usize,
        field: Field,
    },
    Anywhere {
        offset: usize,
    },
}

#[derive(Clone, Debug)]
pub(crate) enum Field {
    Depth,
    Next,
    Offset(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Byte(u8),
    /// One bit is turned.
    Bit(u8),
    Word(u32),
    /// The number of a page of this memory, or of one just after it.
    Page(usize),
    /// A child of the index: a block of this memory that is said to be a bucket or a node.
    Child(usize),
    /// A child of the index that leads back to the block that the place lies in.
    Back {
        is_node: bool,
    },
    /// The largest numbers there are.
    Ones,
}

impl From<Seed> for Patch {
    fn from([kind, page, a, b, value @ ..]: Seed) -> Self {
        let offset = usize::from(u16::from_le_bytes([a, b]));
        let number = u32::from_le_bytes(value);
        if kind == u8::MAX {
            let pages = page.into();
            return Self::Truncate { pages };
        }
        let place = match kind % 9 {
            0 => Place::Header {
                offset: offset % 80,
            },
            1 => Place::Header { offset },
            2 => Place::Chain { page: page.into() },
            3 => Place::Word {
                page: 1,
                nth: offset,
            },
            4 => Place::Word {
                page: 2,
                nth: offset,
            },
            5..=6 => Place::Word {
                page: page.into(),
                nth: offset,
            },
            7 => Place::Block {
                nth: a.into(),
                levels: usize::from(page) % LEVELS,
                field: match b % 4 {
                    0 => Field::Depth,
                    1 => Field::Next,
                    2 => Field::Offset(0),
                    _ => Field::Offset(b.into()),
                },
            },
            _ => Place::Anywhere {
                offset: offset * PAGE_BYTES + number as usize % PAGE_BYTES,
            },
        };
        let is_block = matches!(place, Place::Block { .. });
        let (is_run, is_back) = (value[3] >= 192, is_block && value[3] % 4 == 0);
        let value = match kind / 9 % 8 {
            _ if is_back => Value::Back {
                is_node: value[0] % 2 == 1,
            },
            0 => Value::Byte(value[0]),
            1 => Value::Bit(value[0]),
            2 => Value::Word(number),
            3..=4 => Value::Page(number as usize),
            5..=6 => Value::Child(number as usize),
            _ => Value::Ones,
        };
        let times = if is_run { CHILDREN } else { 1 };
        Self::Overwrite {
            place,
            value,
            times,
        }
    }
}

impl Patch {
    pub(crate) fn apply(&self, memory: &TestMemory) {
        memory.edit(|bytes| match self {
            Self::Truncate { pages } => bytes.truncate(pages * PAGE_BYTES),
            Self::Overwrite {
                place,
                value,
                times,
            } if !bytes.is_empty() => {
                // Magic and version stay: what else may stand there is soon told.
                let at = place.find(bytes).max(MAGIC_BYTES);
                let value = value.bytes(bytes, at, place.block(bytes)).repeat(*times);
                let length = value.len().min(bytes.len() - at);
                bytes[at..at + length].copy_from_slice(&value[..length]);
            }
            Self::Overwrite { .. } => (),
        });
    }
}

impl Place {
    fn find(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Header { offset } => offset % HEADER_BYTES,
            Self::Chain { page } => page * PAGE_BYTES % bytes.len(),
            Self::Word { page, nth } => used_word(bytes, *page, *nth),
            Self::Block { field, .. } => {
                let offset = match field {
                    Field::Depth => DEPTH_AT,
                    Field::Next => NEXT_AT,
                    Field::Offset(offset) => offset % BUCKET_BYTES,
                };
                (self.block(bytes) + offset) % bytes.len()
            }
            Self::Anywhere { offset } => offset % bytes.len(),
        }
    }

    /// Where the block begins that the place lies in.
    fn block(&self, bytes: &[u8]) -> usize {
        let Self::Block { nth, levels, .. } = *self else {
            return self.find(bytes) / UNIT_BYTES * UNIT_BYTES;
        };
        let mut at = used_word(bytes, 1, nth);
        let mut block = at;
        for _ in 0..=levels {
            let child = word_at(bytes, at);
            block = child / 2 * UNIT_BYTES % bytes.len();
            if child.is_multiple_of(2) {
                break;
            }
            at = block + nth % CHILDREN * 4;
        }
        block
    }
}

fn word_at(bytes: &[u8], at: usize) -> usize {
    let word = bytes.get(at..).and_then(|rest| rest.first_chunk());
    word.map_or(0, |word| u32::from_le_bytes(*word) as usize)
}

/// Where the `nth` word of a page lies that is not zero, or any word of a page that is.
fn used_word(bytes: &[u8], page: usize, nth: usize) -> usize {
    let page = page * PAGE_BYTES % bytes.len();
    let words = || (page..page + PAGE_BYTES).step_by(4);
    let used: Vec<usize> = words().filter(|at| bytes[*at..*at + 4] != [0; 4]).collect();
    if used.is_empty() {
        words().nth(nth % (PAGE_BYTES / 4)).unwrap_or(page)
    } else {
        used[nth % used.len()]
    }
}

impl Value {
    /// The bytes to be written at `at`, in the block at `block`.
    fn bytes(&self, bytes: &[u8], at: usize, block: usize) -> Vec<u8> {
        let word = |number: usize| (number as u32).to_le_bytes().to_vec();
        match *self {
            Self::Byte(byte) => vec![byte],
            Self::Bit(bit) => vec![bytes[at] ^ 1 << (bit % 8)],
            Self::Word(number) => number.to_le_bytes().to_vec(),
            Self::Page(number) => word(number % (bytes.len() / PAGE_BYTES + 2)),
            Self::Child(number) => word(number % (bytes.len() / UNIT_BYTES * 2)),
            Self::Back { is_node } => word(block / UNIT_BYTES * 2 + usize::from(is_node)),
            Self::Ones => vec![u8::MAX; 8],
        }
    }
}

/// A memory of `pages` pages that begins as a store of a layout version does, and goes on with `rest`.
pub(crate) fn any_image(version: u8, pages: u64, rest: &[u8]) -> TestMemory {
    let memory = TestMemory::new(pages + 100);
    let start = [b"IDMPTCY", &[version][..], rest].concat();
    memory.edit(|bytes| {
        *bytes = vec![0; pages as usize * PAGE_BYTES];
        let length = start.len().min(bytes.len());
        bytes[..length].copy_from_slice(&start[..length]);
    });
    memory
}
