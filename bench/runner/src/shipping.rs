//! A canister with archives: what these add to a new request, and what it takes to ship one to them, in both canisters.
//!
//! Timers ship, and a timer's message can't measure itself. It is measured by what both canisters are charged while a partition is
//! shipped: a cycle for each instruction and 1,000 for each heap page that is dirtied. Of two partitions, a large and a small one, the difference
//! is shared by the ids that the large one has more, without what it takes to send a chunk more: that is measured in a canister which sends
//! few ids at a time. The bytes of chunks are paid for besides, 1,000 cycles each, and are left out here.

use crate::{
    Progress,
    results::{Results, Samples, grouped},
    subject::{charged, replica_at_epoch},
};
use candid::Principal;
use idempotency_core::{
    Stats,
    archive::{
        FULL_BYTES, Overview, SHORT_BYTES,
        wire::{Append, Install, Position, Status, method},
    },
};
use integration_tests::{
    ARCHIVE, ARCHIVED_CANISTER, Canister,
    archived::{IDS, NOTHING, REPLIES, Settings},
    user,
};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use std::time::Duration;

/// Calls that the figure for a new request is the median of.
const CALLS: u64 = 50;

/// Heaps in which new requests are measured, calls in each of them, and blocks of other data there.
const HEAPS: u64 = 40;
const CALLS_IN_A_HEAP: u64 = 5;
const BLOCKS: u64 = 300;

/// Ids of a small partition, and of a large one. In between no archive merges.
const FEW: u64 = 1_000;
const MANY: u64 = 1_000_000;
const MANY_WITH_REPLIES: u64 = 200_000;

/// Ids of a chunk, and chunks, by which the cost of one chunk more is found.
const IN_SMALL_CHUNK: u64 = 50;
const SMALL_CHUNKS: u64 = 20;

/// Bytes of each reply, and of its length before it.
const REPLY_BYTES: u32 = 50;
const REPLY_LENGTH_BYTES: u64 = 4;

/// Ids that are recorded, and shipped, before the next.
const AT_ONCE: u64 = 1_000_000;

/// Ids that an archive may have, and that are sent at once, if they are not to be few.
const LARGE: u64 = 1_000_000_000;

/// Requests that are recorded as if in one block.
const IN_A_MS: u64 = 100;

/// Requests recorded in one message.
const IN_A_MESSAGE: u64 = 50_000;

/// How long a request is remembered, and how exactly it is found out when that is over: storage is charged for less than that.
const WINDOW: Duration = Duration::from_secs(600);
const STEP: Duration = Duration::from_secs(5);

/// Steps and rounds after which nothing more is going to happen.
const MOST_STEPS: u32 = 200;
const MOST_ROUNDS: u32 = 1_000;

pub(crate) fn run(sizes: &[u64], results: &mut Results, progress: &Progress) {
    let replica = replica_at_epoch();
    let chunk = [IDS, REPLIES].map(|keep| Bench::new(&replica, keep, IN_SMALL_CHUNK).chunk());
    let ids_only = chunk[0].iter().sum::<f64>() as u64;
    results.add("shipping/chunk", SMALL_CHUNKS, ids_only, ids_only, None);
    let mut bench = Bench::new(&replica, IDS, LARGE);
    for &entries in sizes {
        progress.say(&format!(
            "a canister with {} archived ids",
            grouped(entries)
        ));
        while bench.archived < entries {
            let count = AT_ONCE.min(entries - bench.archived);
            bench.fill(count);
            bench.ship_all();
        }
        if entries > 0 {
            let [main, archive] = bench.each(MANY, chunk[0]);
            for (benchmark, each) in [
                ("shipping/main_each", main),
                ("shipping/archive_each", archive),
                ("shipping/each", main + archive),
            ] {
                results.add(benchmark, entries, each, each, None);
            }
        }
        bench.upgrade();
        let samples = bench.new_requests(CALLS);
        let (median, max) = (samples.median(), samples.max());
        results.add("shipping/new_request", entries, median, max, None);
        if entries > 0 {
            let samples = bench.new_requests_in_used_heaps();
            let (median, max) = (samples.median(), samples.max());
            results.add("shipping/new_request_used", entries, median, max, None);
        }
    }
    let mut bench = Bench::new(&replica, REPLIES, LARGE);
    bench.fill(MANY_WITH_REPLIES);
    bench.ship_all();
    let [main, archive] = bench.each(MANY_WITH_REPLIES, chunk[1]);
    for (benchmark, each) in [
        ("shipping/main_reply_each", main),
        ("shipping/archive_reply_each", archive),
        ("shipping/reply_each", main + archive),
    ] {
        results.add(benchmark, MANY_WITH_REPLIES, each, each, None);
    }
}

fn canister(
    replica: &PocketIc,
    keep: u8,
    archives: Vec<Principal>,
    archive_capacity: u64,
) -> Canister<'_> {
    let settings = Settings {
        keep,
        window: WINDOW.as_secs(),
        capacity: 2 * AT_ONCE,
        one_in: 1_024,
        archives,
        module: ByteBuf::from([0; 32]),
        archive_capacity,
        // There is nothing to install.
        is_forgotten: keep == NOTHING,
    };
    Canister::install(replica, ARCHIVED_CANISTER, (settings,))
}

/// What shipping took.
struct Shipped {
    /// The main canister, and the archive.
    charged: [f64; 2],
    chunks: u64,
}

struct Bench<'a> {
    main: Canister<'a>,
    /// Has no archives, and the same requests.
    without: Canister<'a>,
    archive: Canister<'a>,
    keep: u8,
    /// Ids in the archive, but for those of payments.
    archived: u64,
    recorded: u64,
    payments: u64,
}

impl<'a> Bench<'a> {
    fn new(replica: &'a PocketIc, keep: u8, archive_capacity: u64) -> Self {
        let install = |owner| Install {
            owner,
            keeps_replies: keep != IDS,
            capacity: u64::MAX,
            capacity_bytes: u64::MAX,
            cycles: 0u8.into(),
        };
        let archive = Canister::install(replica, ARCHIVE, (install(Principal::anonymous()),));
        let main = canister(replica, keep, vec![archive.id()], archive_capacity);
        // Now it is known whose it is.
        (archive.reinstall(ARCHIVE, (install(main.id()),))).expect("an archive is installed");
        Self {
            main,
            without: canister(replica, NOTHING, vec![], archive_capacity),
            archive,
            keep,
            archived: 0,
            recorded: 0,
            payments: 0,
        }
    }

    /// Pays with a new key, and in the canister without archives, too: what both are charged, without the fixed fees.
    fn pay(&mut self) -> [u64; 2] {
        self.payments += 1;
        let argument = candid::encode_args((self.payments, 1u64)).expect("the arguments encode");
        [self.main, self.without]
            .map(|canister| charged(&canister, "pay", &argument, |_| ()).1 as u64)
    }

    fn fill(&mut self, count: u64) {
        let end = self.recorded + count;
        while self.recorded < end {
            let count = IN_A_MESSAGE.min(end - self.recorded);
            let argument = candid::encode_args((self.recorded, count, REPLY_BYTES));
            let argument = argument.expect("the arguments encode");
            for canister in [self.main, self.without] {
                (canister.update_raw(user(1), "fill", argument.clone()))
                    .unwrap_or_else(|reject| panic!("requests are recorded: {reject:?}"));
            }
            self.recorded += count;
        }
        self.pay();
    }

    /// What archives add to what is charged for so many new requests.
    fn new_requests(&mut self, calls: u64) -> Samples {
        let pay = |_| {
            let [with, without] = self.pay();
            with.saturating_sub(without)
        };
        (0..calls).map(pay).collect()
    }

    /// The same in heaps that have data of other kinds, each of them differently, and have shipped.
    fn new_requests_in_used_heaps(&mut self) -> Samples {
        let mut samples = Samples::default();
        for seed in 0..HEAPS {
            self.upgrade();
            self.wear(2 * seed);
            self.fill(FEW);
            self.ship_all();
            self.wear(2 * seed + 1);
            samples.extend(self.new_requests(CALLS_IN_A_HEAP));
        }
        samples
    }

    /// Both canisters begin with a heap that is empty.
    fn upgrade(&self) {
        for canister in [self.main, self.without] {
            (canister.upgrade(ARCHIVED_CANISTER, (None::<Settings>,)))
                .expect("the canister is upgraded");
        }
    }

    fn wear(&self, seed: u64) {
        for canister in [self.main, self.without] {
            (canister.update::<()>(user(1), "wear", (seed, BLOCKS)))
                .expect("the canister takes memory");
        }
    }

    fn held(&self) -> u64 {
        let stats: Stats = (self.main.query(user(1), "stats", ())).expect("the canister answers");
        stats.entries
    }

    /// Lets all expire that is recorded, until it is shipped: what both canisters are charged after it has expired.
    fn ship_all(&mut self) -> [u64; 2] {
        let replica = self.main.replica();
        replica.advance_time(WINDOW);
        replica.tick();
        for _ in 0..MOST_STEPS {
            replica.advance_time(STEP);
            let held = self.held();
            let (archive, main) = (self.archive, self.main);
            let ((_, of_archive), of_main) = main.cycles_charged(|| {
                archive.cycles_charged(|| {
                    (0..4).for_each(|_| replica.tick());
                    let overview = || {
                        let overview = main.query::<Option<Overview>>(user(1), "overview", ());
                        overview
                            .expect("the canister answers")
                            .expect("it has archives")
                    };
                    let mut rounds = 0;
                    while overview().waiting > 0 {
                        assert!(rounds < MOST_ROUNDS, "shipping is stuck: {:?}", overview());
                        replica.tick();
                        rounds += 1;
                    }
                    (0..4).for_each(|_| replica.tick());
                })
            });
            if held > 0 && self.held() == 0 {
                self.archived = self.recorded;
                return [of_main as u64, of_archive as u64];
            }
        }
        panic!("nothing was shipped");
    }

    /// Ships so many ids and a payment: what both canisters are charged, but for bytes, and in how many chunks.
    fn shipped(&mut self, count: u64) -> Shipped {
        self.fill(count);
        let before = self.runs();
        let [main, archive] = self.ship_all();
        let chunks = self.runs() - before;
        let bytes = self.bytes(count + 1) + (chunks - 1) * self.bytes(0);
        let charged = [main - 1_000 * bytes, archive].map(|it| it as f64);
        Shipped { charged, chunks }
    }

    /// The runs of the archive: as many as the chunks that it has taken, as long as it does not merge.
    fn runs(&self) -> u64 {
        let (replica, none) = (self.main.replica(), candid::encode_args(()));
        let none = none.expect("no arguments encode");
        let status = replica.query_call(self.archive.id(), self.main.id(), method::STATUS, none);
        let status: Status = candid::decode_one(&status.expect("the archive answers"))
            .expect("the archive's answer");
        status.runs.into()
    }

    /// What a chunk more takes: the main canister, and the archive.
    fn chunk(&mut self) -> [f64; 2] {
        let one = self.shipped(IN_SMALL_CHUNK - 1);
        let many = self.shipped(SMALL_CHUNKS * IN_SMALL_CHUNK - 1);
        assert_eq!((one.chunks, many.chunks), (1, SMALL_CHUNKS));
        [0, 1].map(|who| (many.charged[who] - one.charged[who]) / (SMALL_CHUNKS - 1) as f64)
    }

    /// What each id takes: the main canister, and the archive. A chunk more takes so much with the ids that are in it.
    fn each(&mut self, many: u64, chunk: [f64; 2]) -> [u64; 2] {
        let small = self.shipped(FEW);
        let large = self.shipped(many);
        let chunks = (large.chunks - small.chunks) as f64;
        let ids = (many - FEW) as f64 - chunks * IN_SMALL_CHUNK as f64;
        [0, 1].map(|who| {
            let more = large.charged[who] - small.charged[who];
            ((more - chunks * chunk[who]) / ids).ceil() as u64
        })
    }

    /// Bytes of a chunk of so many ids as it is sent.
    fn bytes(&self, ids: u64) -> u64 {
        let (entry_bytes, reply_bytes) = match self.keep {
            IDS => (SHORT_BYTES, 0),
            _ => (
                FULL_BYTES,
                ids * (REPLY_LENGTH_BYTES + u64::from(REPLY_BYTES)),
            ),
        };
        let entries = (0..ids).map(|number| {
            let mut entry = vec![0; entry_bytes];
            entry[16..22].copy_from_slice(&(number / IN_A_MS).to_le_bytes()[..6]);
            entry
        });
        let append = Append::of(Position::default(), entries, vec![0; reply_bytes as usize]);
        let encoded = candid::encode_one(append).expect("a chunk encodes");
        encoded.len() as u64
    }
}
