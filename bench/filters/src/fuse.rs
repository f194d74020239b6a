//! A binary fuse filter with fingerprints of 16 bits, which is made of all its ids at once, on the heap, and then lies in stable memory.

use crate::{Contestant, Memory};
use ic_stable_structures::Memory as _;
use idempotency_core::archive::Id;
use xorf::{BinaryFuse16, Descriptor};

pub(crate) struct Fuse {
    memory: Memory,
    descriptor: Option<Descriptor>,
    fingerprints: u64,
}

impl Fuse {
    pub(crate) fn new(memory: Memory) -> Self {
        Self {
            memory,
            descriptor: None,
            fingerprints: 0,
        }
    }

    fn read(&self, index: u64) -> u16 {
        let mut bytes = [0; 2];
        self.memory.read(2 * index, &mut bytes);
        u16::from_le_bytes(bytes)
    }
}

fn key(id: &Id) -> u64 {
    let mut front = [0; 8];
    front.copy_from_slice(&id[..8]);
    u64::from_le_bytes(front)
}

/// As the crate mixes keys.
fn mixed(key: u64, seed: u64) -> u64 {
    let key = key.wrapping_add(seed);
    let key = (key ^ key >> 33).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    let key = (key ^ key >> 33).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    key ^ key >> 33
}

impl Contestant for Fuse {
    /// All of them, in place of what it held.
    fn insert(&mut self, ids: &[Id]) -> Result<(), &'static str> {
        let keys: Vec<u64> = ids.iter().map(key).collect();
        let made = BinaryFuse16::try_from(&keys)?;
        self.fingerprints = made.fingerprints.len() as u64;
        self.memory.grow((2 * self.fingerprints).div_ceil(65_536));
        let mut at = 0;
        for fingerprints in made.fingerprints.chunks(32_768) {
            let bytes: Vec<u8> = fingerprints
                .iter()
                .flat_map(|it| it.to_le_bytes())
                .collect();
            self.memory.write(at, &bytes);
            at += bytes.len() as u64;
        }
        self.descriptor = Some(made.descriptor);
        Ok(())
    }

    fn may_hold(&self, id: &Id) -> bool {
        let Some(it) = &self.descriptor else {
            return false;
        };
        let hash = mixed(key(id), it.seed);
        let first = (u128::from(hash) * u128::from(it.segment_count_length)) >> 64;
        let first = first as u32;
        let second = (first + it.segment_length) ^ ((hash >> 18) as u32 & it.segment_length_mask);
        let third = (first + 2 * it.segment_length) ^ (hash as u32 & it.segment_length_mask);
        let stored = [first, second, third].map(|index| self.read(index.into()));
        stored[0] ^ stored[1] ^ stored[2] == (hash ^ hash >> 32) as u16
    }

    fn bytes(&self) -> u64 {
        2 * self.fingerprints
    }
}
