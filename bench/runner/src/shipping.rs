//! A canister with archives: what these add to a new request, and what it takes to ship one to them, in both canisters.
//!
//! Timers ship, and a timer's message can't measure itself. It is measured by what both canisters are charged while a partition is
//! shipped in one chunk: a cycle for each instruction and 1,000 for each heap page that is dirtied. Of two partitions, a large and a small one,
//! the difference is shared by the ids that the large one has more; messages, timers and their fees are the same. The bytes of the chunk
//! are paid for besides, 1,000 cycles each, and are left out here.

use crate::{
    Progress,
    results::{Results, Samples, grouped},
    subject::{charged, replica_at_epoch},
};
use candid::{CandidType, Principal};
use idempotency_core::{
    Stats,
    archive::{
        FULL_BYTES, Overview, SHORT_BYTES,
        wire::{Append, Install, Position},
    },
};
use integration_tests::{ARCHIVE, ARCHIVED_CANISTER, Canister, user};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use std::time::Duration;

/// Calls that the figure for a new request is the median of.
const CALLS: u64 = 50;

/// Pairs of partitions that are shipped.
const PAIRS: u64 = 3;

/// Ids of a small partition, and of a large one that fits into a chunk: with replies of so many bytes, too.
const FEW: u64 = 1_000;
const MANY: u64 = 95_000;
const MANY_WITH_REPLIES: u64 = 20_000;
const REPLY_BYTES: u32 = 50;
const REPLY_LENGTH_BYTES: u64 = 4;

/// Ids that are recorded, and shipped, before the next.
const AT_ONCE: u64 = 1_000_000;

/// Requests that are recorded as if in one block.
const IN_A_MS: u64 = 10;

/// Requests recorded in one message.
const IN_A_MESSAGE: u64 = 50_000;

/// How long a request is remembered, and how exactly it is found out when that is over: storage is charged for less than that.
const WINDOW: Duration = Duration::from_secs(600);
const STEP: Duration = Duration::from_secs(5);

/// Steps and rounds after which nothing more is going to happen.
const MOST_STEPS: u32 = 200;
const MOST_ROUNDS: u32 = 1_000;

/// What an archive keeps, as the canister is told.
const IDS: u8 = 0;
const REPLIES: u8 = 2;
const NOTHING: u8 = 3;

#[derive(CandidType)]
struct Settings {
    keep: u8,
    window: u64,
    capacity: u64,
    one_in: u32,
    archives: Vec<Principal>,
    module: ByteBuf,
    archive_capacity: u64,
    is_forgotten: bool,
}

pub(crate) fn run(sizes: &[u64], results: &mut Results, progress: &Progress) {
    let replica = replica_at_epoch();
    let mut bench = Bench::new(&replica, IDS);
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
            let [main, archive, both] = bench.each(MANY);
            for (benchmark, samples) in [
                ("shipping/main_each", main),
                ("shipping/archive_each", archive),
                ("shipping/each", both),
            ] {
                results.add(benchmark, entries, samples.median(), samples.max(), None);
            }
        }
        if entries > 0 {
            let samples = bench.new_requests();
            let (median, max) = (samples.median(), samples.max());
            results.add("shipping/new_request_after", entries, median, max, None);
        }
        for canister in [bench.main, bench.without] {
            (canister.upgrade(ARCHIVED_CANISTER, (None::<Settings>,)))
                .expect("the canister is upgraded");
        }
        let samples = bench.new_requests();
        let (median, max) = (samples.median(), samples.max());
        results.add("shipping/new_request", entries, median, max, None);
    }
    let mut bench = Bench::new(&replica, REPLIES);
    bench.fill(AT_ONCE);
    bench.ship_all();
    let [main, archive, both] = bench.each(MANY_WITH_REPLIES);
    for (benchmark, samples) in [
        ("shipping/main_reply_each", main),
        ("shipping/archive_reply_each", archive),
        ("shipping/reply_each", both),
    ] {
        results.add(benchmark, AT_ONCE, samples.median(), samples.max(), None);
    }
}

fn canister(replica: &PocketIc, keep: u8, archives: Vec<Principal>) -> Canister<'_> {
    let settings = Settings {
        keep,
        window: WINDOW.as_secs(),
        capacity: 2 * AT_ONCE,
        one_in: 1_024,
        archives,
        module: ByteBuf::from([0; 32]),
        archive_capacity: 1_000_000_000,
        // There is nothing to install.
        is_forgotten: keep == NOTHING,
    };
    Canister::install(replica, ARCHIVED_CANISTER, (settings,))
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
    fn new(replica: &'a PocketIc, keep: u8) -> Self {
        let install = |owner| Install {
            owner,
            keeps_replies: keep != IDS,
            capacity: u64::MAX,
            capacity_bytes: u64::MAX,
            cycles: 0u8.into(),
        };
        let archive = Canister::install(replica, ARCHIVE, (install(Principal::anonymous()),));
        let main = canister(replica, keep, vec![archive.id()]);
        // Now it is known whose it is.
        (archive.reinstall(ARCHIVE, (install(main.id()),))).expect("an archive is installed");
        Self {
            main,
            without: canister(replica, NOTHING, vec![]),
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

    /// What archives add to what is charged for new requests.
    fn new_requests(&mut self) -> Samples {
        let pay = |_| {
            let [with, without] = self.pay();
            with.saturating_sub(without)
        };
        (0..CALLS).map(pay).collect()
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

    /// What each id takes: the main canister, the archive, and both.
    fn each(&mut self, many: u64) -> [Samples; 3] {
        let mut samples = [(); 3].map(|()| Samples::default());
        for _ in 0..PAIRS {
            let [small, large] = [FEW, many].map(|count| {
                self.fill(count);
                let [main, archive] = self.ship_all();
                [main - 1_000 * self.bytes(count + 1), archive]
            });
            let each = [0, 1].map(|who| (large[who] - small[who]).div_ceil(many - FEW));
            samples[0].extend([each[0]]);
            samples[1].extend([each[1]]);
            samples[2].extend([each[0] + each[1]]);
        }
        samples
    }

    /// Bytes of a chunk of so many ids as it is sent.
    fn bytes(&self, ids: u64) -> u64 {
        let (entry_bytes, reply_bytes) = match self.keep {
            IDS => (SHORT_BYTES, 0),
            _ => (FULL_BYTES, ids * (REPLY_LENGTH_BYTES + u64::from(REPLY_BYTES))),
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
