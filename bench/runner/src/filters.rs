//! The filter of archived ids, and the ones that it was chosen among: `bench/filters.csv`.
//!
//! | benchmark | what its median and max are |
//! |---|---|
//! | `…/absent`, `present` | instructions of a look-up, each in a message of its own |
//! | `…/insert` | putting one id into a filter that is almost full, in a message of its own |
//! | `…/insert_bulk` | for each of 50,000 ids put in at once, as a chunk for an archive has them: in the median message, and in the dearest. A fuse filter is made of all its ids at once |
//! | `…/insert_million` | the same of 1,000,000 put in at once, the last but 100 of them |
//! | `…/wrong` | of 1,000,000 ids that were never put in, how many it may hold |
//!
//! `generations` is the filter as a canister has it, `bloom` the same in one generation, whose rate is a sixteenth of what all have together.

use crate::{
    Progress,
    results::{Results, Samples, grouped},
    subject::SAMPLES,
};
use bench_work::{Filter, FilterWork, FilterWorked};
use integration_tests::{BENCH_FILTERS, Canister, replica, user};

pub(crate) const FILE: &str = "bench/filters.csv";

const SIZES: [u64; 3] = [65_536, 1_000_000, 10_000_000];

/// Ids in a chunk that is shipped.
const CHUNK: u64 = 50_000;

/// Ids that are never put in.
const UNKNOWN: u64 = 1 << 40;

const UNKNOWNS: u64 = 1_000_000;

/// Ids put in at once, where there are many more.
const MILLION: u64 = 1_000_000;

pub(crate) fn measure(progress: &Progress) -> Results {
    let mut results = Results::default();
    for ids in SIZES {
        for filter in [
            Filter::Generations,
            Filter::Bloom,
            Filter::Cuckoo,
            Filter::Fuse,
        ] {
            run(filter, ids, &mut results, progress);
        }
    }
    results
}

fn run(filter: Filter, ids: u64, results: &mut Results, progress: &Progress) {
    let name = format!("filter/{filter:?}").to_lowercase();
    progress.say(&format!("{name} with {} ids", grouped(ids)));
    let replica = replica();
    let canister = Canister::install(&replica, BENCH_FILTERS, (filter, ids));
    let work = |insert: bool, first: u64, count: u64| -> FilterWorked {
        let work = FilterWork {
            insert,
            first,
            count,
        };
        let worked: FilterWorked = canister
            .update(user(1), "work", (work,))
            .unwrap_or_else(|reject| panic!("{name}: {work:?} is done: {reject:?}"));
        assert_eq!(worked.error, None, "{name}: {work:?}");
        worked
    };

    // A few are put in one by one, at the end.
    let (chunk, single) = match filter {
        Filter::Fuse => (ids, 0),
        _ => (CHUNK, SAMPLES),
    };
    let mut bulk = Samples::default();
    let mut next = 0;
    let mut bytes = 0;
    let million = match filter {
        Filter::Generations | Filter::Bloom if ids > MILLION => MILLION,
        _ => 0,
    };
    while next < ids - single - million {
        let count = chunk.min(ids - single - million - next);
        let worked = work(true, next, count);
        bulk.extend([worked.instructions / count]);
        bytes = worked.bytes;
        next += count;
    }
    let together = (million > 0).then(|| work(true, next, million).instructions / million);
    next += million;
    let one_each = |insert: bool, first: u64, step: u64, samples: u64| -> (Samples, u64) {
        let mut held = 0;
        let samples = (0..samples)
            .map(|sample| {
                let worked = work(insert, first + sample * step, 1);
                held += worked.held;
                worked.instructions
            })
            .collect();
        (samples, held)
    };
    let (inserts, _) = one_each(true, next, 1, single);
    let (present, held) = one_each(false, 0, ids / SAMPLES, SAMPLES);
    assert_eq!(held, SAMPLES, "{name} denies what was put in");
    let (absent, _) = one_each(false, UNKNOWN, 1, SAMPLES);
    let wrong: u64 = (0..UNKNOWNS / CHUNK)
        .map(|part| work(false, UNKNOWN + part * CHUNK, CHUNK).held)
        .sum();

    let bytes = bytes as f64 / ids as f64;
    let mut add = |operation: &str, samples: &Samples, bytes| {
        let benchmark = format!("{name}/{operation}");
        results.add(&benchmark, ids, samples.median(), samples.max(), bytes);
    };
    add("absent", &absent, None);
    add("present", &present, None);
    add("insert_bulk", &bulk, Some(bytes));
    if let Some(each) = together {
        add("insert_million", &[each].into_iter().collect(), None);
    }
    if single > 0 {
        add("insert", &inserts, None);
    }
    add("wrong", &[wrong].into_iter().collect(), None);
}
