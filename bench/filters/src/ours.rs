//! The filter of this library.

use crate::{Contestant, Memory};
use ic_stable_structures::Memory as _;
use idempotency_core::archive::{
    Id,
    generations::{FIRST_IDS, Generations, OneIn, Plan},
};

const ARCHIVE: u32 = 0;

pub(crate) struct Ours {
    memory: Memory,
    generations: Generations,
    plan: Plan,
}

impl Ours {
    /// As a canister has it.
    pub(crate) fn in_generations(memory: Memory, ids: u64) -> Self {
        Self::new(memory, FIRST_IDS, ids.max(1_000_000_000))
    }

    /// In one generation, to be compared with others.
    pub(crate) fn in_one(memory: Memory, ids: u64) -> Self {
        Self::new(memory, ids, ids)
    }

    fn new(memory: Memory, first_ids: u64, archive_ids: u64) -> Self {
        memory.grow(1);
        let generations = Generations::open(&memory, 0).expect("the memory is new");
        let plan = Plan {
            rate: OneIn::new(1_000),
            first_ids,
            archive_ids,
        };
        Self {
            memory,
            generations,
            plan,
        }
    }
}

impl Contestant for Ours {
    fn insert(&mut self, ids: &[Id]) -> Result<(), &'static str> {
        let count = ids.len() as u64;
        let reserved = (self.generations).reserve(&self.memory, ARCHIVE, count, &self.plan);
        let inserted = reserved.and_then(|()| self.generations.insert(&self.memory, ARCHIVE, ids));
        inserted.map_err(|_| "no room")
    }

    fn may_hold(&self, id: &Id) -> bool {
        !self.generations.may_hold(&self.memory, id).is_empty()
    }

    fn bytes(&self) -> u64 {
        self.generations.all().iter().map(|it| it.bytes).sum()
    }
}
