//! Damage to the memory of a store: what another structure does to it that was given the same memory.

use super::{
    Seed,
    memory::{PAGE_BYTES, TestMemory},
};

/// Header and slice tables, and what lies between them.
const HEADER_BYTES: usize = 8_192 + 16 * 48;

const MAGIC_BYTES: usize = 8;

/// One change of a memory.
#[derive(Clone, Debug)]
pub(crate) enum Patch {
    Overwrite { place: Place, value: Value },
    Truncate { pages: usize },
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
    Anywhere {
        offset: usize,
    },
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
        let place = match kind % 8 {
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
            _ => Place::Anywhere {
                offset: offset * PAGE_BYTES + number as usize % PAGE_BYTES,
            },
        };
        let value = match kind / 8 % 8 {
            0 => Value::Byte(value[0]),
            1 => Value::Bit(value[0]),
            2 => Value::Word(number),
            3..=4 => Value::Page(number as usize),
            5..=6 => Value::Child(number as usize),
            _ => Value::Ones,
        };
        Self::Overwrite { place, value }
    }
}

impl Patch {
    pub(crate) fn apply(&self, memory: &TestMemory) {
        memory.edit(|bytes| match self {
            Self::Truncate { pages } => bytes.truncate(pages * PAGE_BYTES),
            Self::Overwrite { place, value } if !bytes.is_empty() => {
                // Magic and version stay: what else may stand there is soon told.
                let at = place.find(bytes).max(MAGIC_BYTES);
                value.write(bytes, at);
            }
            Self::Overwrite { .. } => (),
        });
    }
}

impl Place {
    fn find(&self, bytes: &[u8]) -> usize {
        let page_at = |page: usize| page * PAGE_BYTES % bytes.len();
        match *self {
            Self::Header { offset } => offset % HEADER_BYTES,
            Self::Chain { page } => page_at(page),
            Self::Word { page, nth } => {
                let words = bytes[page_at(page)..][..PAGE_BYTES].chunks_exact(4);
                let used: Vec<usize> = (words.enumerate())
                    .filter(|(_, word)| **word != [0; 4])
                    .map(|(index, _)| index)
                    .collect();
                let word = if used.is_empty() {
                    nth % (PAGE_BYTES / 4)
                } else {
                    used[nth % used.len()]
                };
                page_at(page) + 4 * word
            }
            Self::Anywhere { offset } => offset % bytes.len(),
        }
    }
}

impl Value {
    fn write(&self, bytes: &mut [u8], at: usize) {
        let pages = bytes.len() / PAGE_BYTES;
        let word = |number: usize| (number as u32).to_le_bytes().to_vec();
        let value = match *self {
            Self::Byte(byte) => vec![byte],
            Self::Bit(bit) => vec![bytes[at] ^ 1 << (bit % 8)],
            Self::Word(number) => number.to_le_bytes().to_vec(),
            Self::Page(number) => word(number % (pages + 2)),
            Self::Child(number) => word(number % (pages * PAGE_BYTES / 64 * 2)),
            Self::Ones => vec![u8::MAX; 8],
        };
        let length = value.len().min(bytes.len() - at);
        bytes[at..at + length].copy_from_slice(&value[..length]);
    }
}

/// A memory of `pages` pages that begins as a store does, and goes on with `rest`.
pub(crate) fn any_image(pages: u64, rest: &[u8]) -> TestMemory {
    let memory = TestMemory::new(pages + 100);
    let start = [b"IDMPTCY\x01", rest].concat();
    memory.edit(|bytes| {
        *bytes = vec![0; pages as usize * PAGE_BYTES];
        let length = start.len().min(bytes.len());
        bytes[..length].copy_from_slice(&start[..length]);
    });
    memory
}
