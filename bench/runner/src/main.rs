//! `cargo xtask bench`: the deduplication store, the attribute and the example ledger, measured on a replica.
//!
//! The store is measured at several sizes against two opponents. Everything is counted in instructions, and two runs
//! give the same figures: a change of them is a change of the code or of the compiler. They go to `bench/results.csv`
//! (`bench/quick.csv` with `--quick`), which is checked in so that a regression shows in a diff.
//!
//! | benchmark | what its median and max are |
//! |---|---|
//! | `…/insert`, `hit`, `miss` | instructions of one operation, each in a message of its own |
//! | `…/insert_charged` | the same, and 1,000 for each heap page dirtied, which the counter doesn't see |
//! | `…/insert_bulk` | an operation in the median message of many; the dearest of all operations |
//! | `…/expire` | forgetting the oldest request or, in the store, all that are forgotten together; a message each |
//! | `…/expire_each` | the same, for each request that was forgotten |
//! | `…/id_only_bulk` | inserts in bulk, of requests without a reply |
//! | `store/heap_growth` | heap pages gained while that many requests were recorded |
//! | `store/post_upgrade` | instructions of `install` in `post_upgrade` |
//! | `store/…_after_idle_day` | inserts when all those requests have expired: the first, and any |
//! | `store/timer` | cycles for each of them that the timer forgets |
//! | `aliased/…` | the store with requests that have aliases, as those of the attribute do |
//! | `certified/insert` | an insert into a store with a hash tree; the max is the first after all was hashed, which certifies that the tree is open |
//! | `certified/hash_…` | hashing so many new requests at a time, for each of them: certifying the root included |
//! | `certified/hash_bulk` | the same, some 2,000 at a time; its bytes are those of record, reply and tree |
//! | `certified/batch` | the dearest batch of those |
//! | `certified/prove_…` | a proof of one that is done, and of one that is absent from all partitions, and the bytes of their witnesses |
//! | `framework/empty_call` | what a call of a method that does nothing is charged |
//! | `framework/decoding` | instructions of decoding the argument, of 180 bytes |
//! | `framework/plain_call` | what a call is charged without the attribute |
//! | `framework/whole_first_call` | what a first call is charged with it |
//! | `sequence/accept`, `replay` | the next number of a strict lane, and the last one again, each in a message of its own |
//! | `sequence/new_lane_bulk` | the first number of a lane, in bulk; its bytes are those of lane, record and reply |
//! | `sequence/forget`, `forget_each` | forgetting what is idle or expired: a step, and for each lane that was forgotten |
//! | `framework/first_call` | what the attribute adds, but for encoding: its charge, less that of an endpoint without the attribute that encodes its reply as the attribute does |
//! | `framework/whole_replay` | what a retry is charged |
//! | `framework/…_decoded` | the same with `alias = off`: a retry is decoded before it is recognised |
//! | `durable/pending` | what the attribute adds to an async method, less what it adds to a sync one |
//! | `durable/step`, `call_step` | a step that awaits nothing; one that calls, beyond the call; the encoding of a `u64` included |
//! | `durable/resume` | the first message of an attempt that finds 10 steps recorded, up to where it goes on |
//! | `outcome/one` | saying what became of a call that was made |
//! | `outcome/call` | what the whole call of `idempotency_outcomes` is charged, as an update |
//! | `ledger/icrc1_transfer` | what a transfer is charged |
//! | `ledger/duplicate` | what the same transfer is charged when it comes again |
//! | `ledger/duplicate_decoded` | the same, with a field that the ledger does not know: it is recognised when it is decoded |
//! | `archive/decode_each`, `append_each` | decoding a chunk of 100,000 ids, and taking it, for each of them; the bytes are those of the memory when all have been merged |
//! | `archive/decode_reply_each`, `append_reply_each` | the same of 20,000 ids that have replies of 50 bytes |
//! | `archive/merge_each` | merging, for each row, a million of them in a message |
//! | `archive/merges_in_all_each` | all merges, for each id |
//! | `archive/look_up`, `look_up_absent` | looking for an id that is there, and for one that is not |
//! | `archive/look_up_100_each` | looking for 100 at once, for each of them |
//! | `archive/open` | opening an archive after an upgrade |
//! | `shipping/new_request` | what archives add to what a new request is charged, where so many ids are archived and the filter does not hold its own; after an upgrade |
//! | `shipping/new_request_used` | the same in 40 heaps that have shipped and hold data of other kinds: where their holes are decides which pages a message dirties, at 1,000 each, so that one heap alone says little |
//! | `shipping/main_each`, `archive_each`, `each` | shipping to an archive that has so many ids, for each more of them: what the canister is charged, what the archive is, and both. Without what chunks cost, and the bytes that are sent, 1,000 cycles each, and without merges. A million are in a partition, a hundred in a block |
//! | `shipping/chunk` | what a chunk of 50 ids more is charged in both canisters, fees included: of so many chunks |
//! | `shipping/…_reply_each` | the same with replies of 50 bytes |
//! | `outbox/send` | taking a message with a header and a body of 100 bytes, in a message of its own, where so many have ended; the max is the first, which sets the timer |
//! | `outbox/send_byte` | a byte of the body beyond those, rounded up |
//! | `outbox/attempt`, `end` | what the outbox adds to an outcall that a timer makes by hand with its argument ready, and to its answer, which is thrown away |
//! | `wasm/outbox_added_gzipped` | bytes that an outbox adds to the gzipped module of a canister with the library |
//! | `wasm/added_gzipped` | bytes that the library adds to the gzipped module of a canister with one sync method, a MemoryManager included |
//!
//! What a call is charged is without its fixed fees, and with 1,000 for each heap page that it dirties. The calls of
//! `framework/…` come after an empty call each: candid forgets the types of arguments when it encodes a reply, and decoding
//! takes 42,000 instructions less when it has not. Those of `ledger/…` come one after another, as on a busy ledger.
#![forbid(unsafe_code)]

mod archive;
mod certified;
mod contest;
mod endpoints;
mod filters;
mod idle_day;
mod outbox;
mod plot;
mod results;
mod shipping;
mod size;
mod subject;
mod targets;

use bench_work::Who;
use clap::Parser;
use results::Results;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Measures the store, the attribute and the example ledger on a replica.
#[derive(Parser)]
struct Arguments {
    /// Up to 100,000 entries: a minute or two.
    #[arg(long)]
    quick: bool,
    /// The filters that archived ids could be in, and nothing else.
    #[arg(long)]
    filters: bool,
}

/// What is measured at how many entries.
struct Plan {
    store: &'static [u64],
    opponents: &'static [u64],
    /// Requests with aliases.
    aliased: &'static [u64],
    /// Requests without a reply, for the bytes that an id takes.
    id_only: &'static [u64],
    /// Requests in a hash tree.
    certified: &'static [u64],
    /// Ids in an archive.
    archive: &'static [u64],
    /// Ids that a canister has shipped to one.
    shipped: &'static [u64],
    /// Messages that have ended and lie in an outbox.
    outbox: &'static [u64],
    /// Requests that all expire on an idle day.
    idle_day: u64,
    /// Requests that are known when the endpoints are measured, and lanes when sequence numbers are.
    endpoints: u64,
}

const QUICK: Plan = Plan {
    store: &[1_000, 10_000, 100_000],
    opponents: &[1_000, 10_000, 100_000],
    aliased: &[100_000],
    id_only: &[100_000],
    certified: &[1_000, 100_000],
    archive: &[2_000_000],
    shipped: &[0, 1_000_000],
    outbox: &[1_000],
    idle_day: 30_000,
    endpoints: 100_000,
};

const FULL: Plan = Plan {
    store: &[1_000, 10_000, 100_000, 1_000_000, 10_000_000],
    opponents: &[1_000, 10_000, 100_000, 1_000_000],
    aliased: &[1_000_000, 10_000_000],
    id_only: &[1_000_000, 10_000_000],
    certified: &[1_000, 100_000, 1_000_000],
    archive: &[2_000_000, 10_000_000],
    shipped: &[0, 1_000_000, 10_000_000],
    outbox: &[1_000, 100_000],
    idle_day: 3_000_000,
    endpoints: 1_000_000,
};

/// What can go wrong besides the replica: a file that can't be written.
type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let Arguments { quick, filters } = Arguments::parse();
    if filters {
        let results = filters::measure(&Progress::new());
        println!("{}", results.csv());
        std::fs::write(workspace().join(filters::FILE), results.csv())?;
        println!("written: {}", filters::FILE);
        return Ok(());
    }
    let (plan, file) = if quick {
        (QUICK, "bench/quick.csv")
    } else {
        (FULL, "bench/results.csv")
    };
    let mut results = measure(&plan, &Progress::new());
    size::added(&mut results)?;
    println!("\n{}\n{}", results.ratios(), targets::table(&results));
    std::fs::write(workspace().join(file), results.csv())?;
    println!("written: {file}");
    if !quick {
        std::fs::create_dir_all(workspace().join("docs"))?;
        std::fs::write(workspace().join(plot::FILE), plot::svg(&results)?)?;
        println!("written: {}", plot::FILE);
    }
    Ok(())
}

fn measure(plan: &Plan, progress: &Progress) -> Results {
    let mut results = Results::default();
    for (who, sizes) in [
        (Who::Store, plan.store),
        (Who::Aliased, plan.aliased),
        (Who::TwoBtrees, plan.opponents),
        (Who::HeapPair, plan.opponents),
    ] {
        for &entries in sizes {
            contest::run(who, entries, &mut results, progress);
        }
    }
    contest::sequences(plan.endpoints, &mut results, progress);
    for &entries in plan.id_only {
        contest::id_only(entries, &mut results, progress);
    }
    for &entries in plan.certified {
        certified::run(entries, &mut results, progress);
    }
    for &entries in plan.archive {
        archive::run(entries, &mut results, progress);
    }
    shipping::run(plan.shipped, &mut results, progress);
    for &ended in plan.outbox {
        outbox::run(ended, &mut results, progress);
    }
    idle_day::run(plan.idle_day, &mut results, progress);
    endpoints::framework(plan.endpoints, &mut results, progress);
    endpoints::ledger(plan.endpoints, &mut results, progress);
    progress.say("all measured");
    results
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Says what is being done, and when.
struct Progress {
    begun: Instant,
}

impl Progress {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
        }
    }

    fn say(&self, what: &str) {
        eprintln!("[{:6.1} s] {what}", self.begun.elapsed().as_secs_f32());
    }
}
