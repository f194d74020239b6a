//! Archives: what it takes to take a chunk, to merge, and to look up.

use crate::{
    Progress,
    results::{Results, Samples, grouped},
    subject::{SAMPLES, replica_at_epoch},
};
use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use integration_tests::{BENCH_ARCHIVE, Canister, user};

/// Entries of a chunk: 1.6 MB.
const CHUNK: u64 = 100_000;

/// Entries of a chunk with replies of so many bytes: nearly 2 MB.
const CHUNK_WITH_REPLIES: u64 = 20_000;
const REPLY_BYTES: u32 = 50;

/// Rows that are merged in one message.
const MERGED: u64 = 1_000_000;

pub(crate) fn run(entries: u64, results: &mut Results, progress: &Progress) {
    progress.say(&format!("an archive of {} ids", grouped(entries)));
    let replica = replica_at_epoch();
    let bench = Bench(Canister::install(&replica, BENCH_ARCHIVE, (false,)));
    let mut merges = Samples::default();
    let (mut appends, mut decodings) = (Samples::default(), Samples::default());
    let (mut moved, mut spent) = (0, 0u64);
    for first in (0..entries).step_by(CHUNK as usize) {
        let (decoding, append) = bench.append(first, CHUNK, None);
        decodings.extend([decoding.div_ceil(CHUNK)]);
        appends.extend([append.div_ceil(CHUNK)]);
        while let (rows @ 1.., instructions) = bench.call::<(u64, u64)>("merge", (MERGED,)) {
            merges.extend([instructions.div_ceil(rows)]);
            (moved, spent) = (moved + rows, spent + instructions);
        }
    }
    let (bytes, _): (u64, u32) = bench.call("held", ());
    let bytes = Some(bytes as f64 / entries as f64);
    let mut add = |benchmark: &str, samples: &Samples, bytes| {
        results.add(benchmark, entries, samples.median(), samples.max(), bytes);
    };
    add("archive/decode_each", &decodings, None);
    add("archive/append_each", &appends, bytes);
    // A small archive has too few runs.
    if moved > 0 {
        add("archive/merge_each", &merges, None);
        let all = [spent.div_ceil(entries)].into_iter().collect();
        add("archive/merges_in_all_each", &all, None);
    }
    progress.say(&format!("{moved} rows were merged"));

    let look_up = |first: u64, count: u64, found: u64| {
        let (there, instructions): (u64, u64) = bench.call("look_up", (first, count));
        assert_eq!(there, found);
        instructions.div_ceil(count)
    };
    let step = entries / SAMPLES;
    let present = (0..SAMPLES).map(|n| look_up(n * step, 1, 1)).collect();
    let absent = (0..SAMPLES).map(|n| look_up(entries + n, 1, 0)).collect();
    let batch = (0..SAMPLES).map(|n| look_up(n * step, 100, 100)).collect();
    add("archive/look_up", &present, None);
    add("archive/look_up_absent", &absent, None);
    add("archive/look_up_100_each", &batch, None);
    let (opening,) = bench.call("open", ());
    let opening = [opening].into_iter().collect();
    add("archive/open", &opening, None);

    let bench = Bench(Canister::install(&replica, BENCH_ARCHIVE, (true,)));
    let (mut appends, mut decodings) = (Samples::default(), Samples::default());
    for first in (0..15).map(|chunk| chunk * CHUNK_WITH_REPLIES) {
        let (decoding, append) = bench.append(first, CHUNK_WITH_REPLIES, Some(REPLY_BYTES));
        decodings.extend([decoding.div_ceil(CHUNK_WITH_REPLIES)]);
        appends.extend([append.div_ceil(CHUNK_WITH_REPLIES)]);
    }
    add("archive/decode_reply_each", &decodings, None);
    add("archive/append_reply_each", &appends, None);
}

struct Bench<'a>(Canister<'a>);

impl Bench<'_> {
    fn call<T>(&self, method: &str, argument: impl ArgumentEncoder) -> T
    where
        T: for<'de> ArgumentDecoder<'de>,
    {
        let argument = candid::encode_args(argument).expect("arguments are encoded");
        let reply = self.0.update_raw(user(1), method, argument);
        let reply = reply.unwrap_or_else(|reject| panic!("{method}: {reject:?}"));
        candid::decode_args(&reply).expect("the canister's answer")
    }

    fn append(&self, first: u64, count: u64, reply: Option<u32>) -> (u64, u64) {
        self.call("append", (first, count, reply))
    }
}
