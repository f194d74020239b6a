//! A cuckoo filter in stable memory: fingerprints of 16 bits, four to a bucket, each in one of two buckets.

use crate::{Contestant, Memory};
use ic_stable_structures::Memory as _;
use idempotency_core::archive::Id;

const SLOTS: usize = 4;
const BUCKET_BYTES: usize = 2 * SLOTS;

/// It holds this many of a thousand of what it has room for, as such filters do.
const MOST_FULL: u64 = 950;

/// Fingerprints that are moved for one id before it is given up.
const MOST_MOVES: u32 = 500;

pub(crate) struct Cuckoo {
    memory: Memory,
    buckets: u64,
    /// Which slot of a full bucket is emptied next.
    turn: usize,
}

impl Cuckoo {
    pub(crate) fn new(memory: Memory, ids: u64) -> Self {
        let buckets = (ids * 1_000).div_ceil(MOST_FULL * SLOTS as u64);
        memory.grow((buckets * BUCKET_BYTES as u64).div_ceil(65_536));
        Self {
            memory,
            buckets,
            turn: 0,
        }
    }

    /// A fingerprint and its first bucket; 0 is a free slot.
    fn of(&self, id: &Id) -> (u16, u64) {
        let fingerprint = u16::from_le_bytes([id[0], id[1]]).max(1);
        let mut front = [0; 8];
        front.copy_from_slice(&id[8..]);
        let bucket = (u128::from(u64::from_le_bytes(front)) * u128::from(self.buckets)) >> 64;
        (fingerprint, bucket as u64)
    }

    /// The other bucket of a fingerprint; of that, this one is the other.
    fn other(&self, bucket: u64, fingerprint: u16) -> u64 {
        let sum = u64::from(fingerprint).wrapping_mul(0x9E37_79B9_7F4A_7C15) % self.buckets;
        (sum + self.buckets - bucket) % self.buckets
    }

    fn read(&self, bucket: u64) -> [u16; SLOTS] {
        let mut bytes = [0; BUCKET_BYTES];
        self.memory.read(bucket * BUCKET_BYTES as u64, &mut bytes);
        let bits = u64::from_le_bytes(bytes);
        [0, 16, 32, 48].map(|shift| (bits >> shift) as u16)
    }

    fn write(&self, bucket: u64, slot: usize, fingerprint: u16) {
        let at = bucket * BUCKET_BYTES as u64 + 2 * slot as u64;
        self.memory.write(at, &fingerprint.to_le_bytes());
    }

    fn insert_into(&self, bucket: u64, fingerprint: u16) -> bool {
        let free = self.read(bucket).iter().position(|slot| *slot == 0);
        if let Some(slot) = free {
            self.write(bucket, slot, fingerprint);
        }
        free.is_some()
    }
}

impl Contestant for Cuckoo {
    fn insert(&mut self, ids: &[Id]) -> Result<(), &'static str> {
        for id in ids {
            let (mut fingerprint, mut bucket) = self.of(id);
            let other = self.other(bucket, fingerprint);
            if self.insert_into(bucket, fingerprint) || self.insert_into(other, fingerprint) {
                continue;
            }
            let mut moves = 0;
            loop {
                self.turn = (self.turn + 1) % SLOTS;
                let moved = self.read(bucket)[self.turn];
                self.write(bucket, self.turn, fingerprint);
                (fingerprint, bucket) = (moved, self.other(bucket, moved));
                if self.insert_into(bucket, fingerprint) {
                    break;
                }
                moves += 1;
                if moves == MOST_MOVES {
                    return Err("no slot found");
                }
            }
        }
        Ok(())
    }

    fn may_hold(&self, id: &Id) -> bool {
        let (fingerprint, bucket) = self.of(id);
        let other = self.other(bucket, fingerprint);
        self.read(bucket).contains(&fingerprint) || self.read(other).contains(&fingerprint)
    }

    fn bytes(&self) -> u64 {
        self.buckets * BUCKET_BYTES as u64
    }
}
