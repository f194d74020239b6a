//! What `cargo xtask bench --filters` measures on a replica: the filter of archived ids in stable memory, and the ones that it was chosen
//! among. The runner, in `bench/runner`, decides how much of what is done, and when.
#![forbid(unsafe_code)]

mod cuckoo;
mod fuse;
mod ours;

use bench_work::{Filter, FilterWork, FilterWorked};
use cuckoo::Cuckoo;
use fuse::Fuse;
use ic_stable_structures::{
    DefaultMemoryImpl,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
};
use idempotency_core::archive::Id;
use ours::Ours;
use std::cell::RefCell;

type Memory = VirtualMemory<DefaultMemoryImpl>;

/// Something that may hold ids.
trait Contestant {
    /// Puts ids in: fails if there is no room for all.
    fn insert(&mut self, ids: &[Id]) -> Result<(), &'static str>;

    /// Whether it may hold one.
    fn may_hold(&self, id: &Id) -> bool;

    /// Bytes that it takes.
    fn bytes(&self) -> u64;
}

thread_local! {
    static SUBJECT: RefCell<Option<Box<dyn Contestant>>> = const { RefCell::new(None) };
}

fn instructions() -> u64 {
    ic_cdk::api::performance_counter(0)
}

/// Ids as there are: 16 bytes that look random. (Hashing them would take most of the time.)
fn id(number: u64) -> Id {
    let scrambled = |number: u64| {
        let number = (number ^ number >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let number = (number ^ number >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        number ^ number >> 31
    };
    let front = scrambled(number.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1));
    let back = scrambled(front ^ 0x6A09_E667_F3BC_C909);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&front.to_le_bytes());
    id[8..].copy_from_slice(&back.to_le_bytes());
    id
}

/// Makes an empty filter for so many ids, in a memory of its own.
#[ic_cdk::init]
fn init(filter: Filter, ids: u64) {
    let memories = MemoryManager::init(DefaultMemoryImpl::default());
    let memory = memories.get(MemoryId::new(0));
    let subject: Box<dyn Contestant> = match filter {
        Filter::Generations => Box::new(Ours::in_generations(memory, ids)),
        Filter::Bloom => Box::new(Ours::in_one(memory, ids)),
        Filter::Cuckoo => Box::new(Cuckoo::new(memory, ids)),
        Filter::Fuse => Box::new(Fuse::new(memory)),
    };
    SUBJECT.set(Some(subject));
}

/// Works on ids from `first` on.
#[ic_cdk::update]
fn work(
    FilterWork {
        insert,
        first,
        count,
    }: FilterWork,
) -> FilterWorked {
    SUBJECT.with_borrow_mut(|subject| {
        let Some(subject) = subject else {
            ic_cdk::trap("an upgraded canister has no filter");
        };
        let ids: Vec<Id> = (first..first + count).map(id).collect();
        // What reading the counter costs is taken off.
        let overhead = instructions();
        let before = instructions();
        let overhead = before - overhead;
        let mut held = 0;
        let mut error = None;
        if insert {
            error = subject.insert(&ids).err();
        } else {
            held = ids.iter().filter(|id| subject.may_hold(id)).count() as u64;
        }
        FilterWorked {
            instructions: instructions() - before - overhead,
            held,
            bytes: subject.bytes(),
            error: error.map(str::to_owned),
        }
    })
}
