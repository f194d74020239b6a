//! The first page of a store's memory.
//!
//! ```text
//! offset  bytes  field
//!      0      7  magic "IDMPTCY"
//!      7      1  layout version, 1
//!      8      8  incarnation: how many heaps have opened this store
//!     16      8  attempts: how many async attempts have begun
//!     24      8  bytes charged to the records held
//!     32      8  window, ns   } of the policy that the store was
//!     40      8  drift, ns    } last opened with
//!     48      8  floor, ns: a request created before it may have been forgotten
//!     56      8  pages in use for records
//!     64      8  pages in use for the expiry index
//! ```
//!
//! Integers are little-endian.

use super::OpenError;
use ic_stable_structures::Memory;

const MAGIC: &[u8; 7] = b"IDMPTCY";
const LAYOUT_VERSION: u8 = 1;
const BYTES: usize = 72;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) incarnation: u64,
    pub(super) attempts: u64,
    pub(super) bytes: u64,
    pub(super) window: u64,
    pub(super) drift: u64,
    pub(super) floor: u64,
    pub(super) used_pages: [u64; 2],
}

impl Header {
    /// `None` in a memory that was never used.
    pub(super) fn read(memory: &impl Memory) -> Result<Option<Self>, OpenError> {
        if memory.size() == 0 {
            return Ok(None);
        }
        let mut bytes = [0; BYTES];
        memory.read(0, &mut bytes);
        if &bytes[..7] != MAGIC {
            let mut found = [0; 8];
            found.copy_from_slice(&bytes[..8]);
            return Err(OpenError::Foreign { found });
        }
        if bytes[7] != LAYOUT_VERSION {
            return Err(OpenError::UnknownVersion {
                found: bytes[7],
                known: LAYOUT_VERSION,
            });
        }
        let field = |index: usize| {
            let mut field = [0; 8];
            field.copy_from_slice(&bytes[8 + 8 * index..16 + 8 * index]);
            u64::from_le_bytes(field)
        };
        Ok(Some(Self {
            incarnation: field(0),
            attempts: field(1),
            bytes: field(2),
            window: field(3),
            drift: field(4),
            floor: field(5),
            used_pages: [field(6), field(7)],
        }))
    }

    pub(super) fn write(&self, memory: &impl Memory) {
        let mut bytes = [0; BYTES];
        bytes[..7].copy_from_slice(MAGIC);
        bytes[7] = LAYOUT_VERSION;
        let fields = [
            self.incarnation,
            self.attempts,
            self.bytes,
            self.window,
            self.drift,
            self.floor,
            self.used_pages[0],
            self.used_pages[1],
        ];
        for (field, place) in fields.iter().zip(bytes[8..].chunks_exact_mut(8)) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        memory.write(0, &bytes);
    }
}
