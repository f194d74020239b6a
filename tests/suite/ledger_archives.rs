//! The example ledger with archives: old blocks and old requests go there and are found there, whatever fails in between.

use crate::ledger::{self, RICH, icrc1_transfer, transfer, transfer_once};
use candid::{Nat, Principal};
use example_ledger::{
    errors::TransferError,
    init::{ArchiveArgs, ArchiveModule, ArchiveSource, Kept, LedgerArg, UpgradeArgs},
    types::{ArchiveStatus, Transaction},
};
use idempotency_archive::icrc3::{
    ArchiveInfo, GetArchivesArgs, GetBlocksArg, GetBlocksResult, Value,
};
use idempotency_core::archive::wire::Install;
use integration_tests::{ARCHIVE, Canister, Faults, LEDGER, replica, user};
use local_replica::faults::{AnswerFault, Fault, MessageFault, Plan, Schedule};
use pocket_ic::PocketIc;
use serde_bytes::ByteArray;
use std::{ops::Range, time::Duration};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Of a ledger with an archive that it was given.
pub(crate) struct World<'a> {
    pub(crate) ledger: Canister<'a>,
    pub(crate) archive: Canister<'a>,
}

impl<'a> World<'a> {
    pub(crate) fn new(replica: &'a PocketIc, keep_blocks: u64) -> Self {
        Self::keeping(replica, Kept::Replies, keep_blocks)
    }

    pub(crate) fn keeping(replica: &'a PocketIc, kept: Kept, keep_blocks: u64) -> Self {
        let ledger = ledger::install(replica);
        let install = Install {
            owner: ledger.id(),
            keeps_replies: kept != Kept::Ids,
            capacity: 1_000_000,
            capacity_bytes: 1 << 30,
            cycles: 0_u8.into(),
        };
        let archive = Canister::install(replica, ARCHIVE, (install,));
        let source = ArchiveSource::Canisters(vec![archive.id()]);
        configure(&ledger, source, kept, keep_blocks);
        Self { ledger, archive }
    }

    fn replica(&self) -> &'a PocketIc {
        self.ledger.replica()
    }

    /// Each a token.
    pub(crate) fn transfers(&self, count: u64) {
        for _ in 0..count {
            icrc1_transfer(&self.ledger, &transfer(1, None)).expect("user 1 is rich");
        }
    }

    /// Lets blocks go to the archive, again after a failure.
    pub(crate) fn settle(&self) {
        for _ in 0..3 {
            wait(self.replica(), 11 * MINUTE);
        }
    }

    pub(crate) fn status(&self) -> ArchiveStatus {
        status(&self.ledger)
    }
}

fn configure(ledger: &Canister<'_>, source: ArchiveSource, kept: Kept, keep_blocks: u64) {
    let archives = Some(ArchiveArgs {
        source,
        keep: Some(kept),
        keep_blocks,
    });
    let changes = UpgradeArgs {
        archives,
        ..UpgradeArgs::default()
    };
    let arg = LedgerArg::Upgrade(Some(changes));
    ledger.upgrade(LEDGER, (arg,)).expect("it is upgraded");
}

fn status(ledger: &Canister<'_>) -> ArchiveStatus {
    let status: Option<ArchiveStatus> = ledger
        .query(user(1), "archive_status", ())
        .expect("it answers");
    status.expect("there are archives")
}

fn wait(replica: &PocketIc, time: Duration) {
    replica.advance_time(time);
    (0..12).for_each(|_| replica.tick());
}

fn get_blocks(from: &Canister<'_>, args: &[GetBlocksArg]) -> GetBlocksResult {
    let result = from.query(user(7), "icrc3_get_blocks", (args,));
    result.expect("it answers")
}

/// Blocks in a range, from wherever they are, as any client of ICRC-3 finds them.
fn blocks(ledger: &Canister<'_>, range: Range<u64>) -> Vec<Value> {
    let mut found: Vec<Value> = vec![];
    loop {
        let next = range.start + found.len() as u64;
        if next >= range.end {
            return found;
        }
        let arg = GetBlocksArg {
            start: next.into(),
            length: (range.end - next).into(),
        };
        let result = get_blocks(ledger, &[arg]);
        let mut page = result.blocks;
        for archived in result.archived_blocks {
            let (archive, method) = (archived.callback.0.principal, archived.callback.0.method);
            let arg = candid::encode_one(&archived.args).expect("it encodes");
            let reply = ledger.replica().query_call(archive, user(7), &method, arg);
            let result: GetBlocksResult =
                candid::decode_one(&reply.expect("it answers")).expect("it decodes");
            page.extend(result.blocks);
        }
        page.sort_by(|one, other| one.id.cmp(&other.id));
        for block in page {
            if block.id == range.start + found.len() as u64 {
                found.push(block.block);
            }
        }
        assert!(
            range.start + found.len() as u64 > next,
            "block {next} is missing"
        );
    }
}

/// All of them are there, each with the hash of the one before.
fn assert_complete(ledger: &Canister<'_>) -> u64 {
    let length = u64::try_from(ledger::transactions(ledger).0).expect("not many");
    let all = blocks(ledger, 0..length);
    let mut parent: Option<[u8; 32]> = None;
    for block in &all {
        assert_eq!(block.get("phash").cloned(), parent.map(Value::blob));
        parent = Some(block.hash());
    }
    length
}

#[test]
fn old_blocks_are_in_the_archive() {
    let replica = replica();
    let it = World::new(&replica, 100);
    it.transfers(500);
    assert_eq!(it.status().archived_blocks, 0);
    let before = blocks(&it.ledger, 0..501);
    it.settle();
    let status = it.status();
    assert_eq!((status.archived_blocks, status.kept_blocks), (401, 100));
    assert_eq!(status.trouble, Vec::<String>::new());
    assert_eq!(blocks(&it.ledger, 0..501), before);
    assert_eq!(assert_complete(&it.ledger), 501);

    let archives: Vec<ArchiveInfo> = (it.ledger)
        .query(user(1), "icrc3_get_archives", (GetArchivesArgs::default(),))
        .expect("it answers");
    let expected = ArchiveInfo {
        canister_id: it.archive.id(),
        start: 0_u8.into(),
        end: 400_u16.into(),
    };
    assert_eq!(archives, [expected]);
    let transaction = |index: u64| {
        (it.ledger).query::<Option<Transaction>>(user(1), "get_transaction", (Nat::from(index),))
    };
    let refused = transaction(400).expect_err("an archive has it");
    assert!(
        refused.reject_message.contains("icrc3_get_blocks"),
        "{refused:?}"
    );
    assert!(transaction(401).expect("it answers").is_some());
    assert_eq!(transaction(501).expect("it answers"), None);

    // It goes on where it was, and after an upgrade, too.
    it.transfers(50);
    let upgraded = it.ledger.upgrade(LEDGER, (None::<LedgerArg>,));
    upgraded.expect("it is upgraded");
    it.settle();
    assert_eq!(it.status().archived_blocks, 451);
    assert_eq!(assert_complete(&it.ledger), 551);
}

#[test]
fn nobody_else_gives_the_archive_blocks() {
    let replica = replica();
    let it = World::new(&replica, 1);
    let append = idempotency_archive::wire::AppendBlocks {
        from: 0,
        blocks: vec![],
    };
    for caller in [user(RICH), Principal::anonymous()] {
        let refused = it.archive.update::<candid::Reserved>(
            caller,
            idempotency_archive::wire::APPEND_BLOCKS,
            (append.clone(),),
        );
        refused.expect_err("it is the ledger's");
    }
}

/// A stopped archive gets no blocks, and the ledger works on.
#[test]
fn a_ledger_works_without_its_archive() {
    let replica = replica();
    let it = World::new(&replica, 5);
    let stopped = replica.stop_canister(it.archive.id(), None);
    stopped.expect("it stops");
    it.transfers(20);
    it.settle();
    let status = it.status();
    assert_eq!((status.archived_blocks, status.kept_blocks), (0, 21));
    assert!(
        status.trouble[0].contains(&it.archive.id().to_text()),
        "{status:?}"
    );
    it.transfers(1);
    assert_eq!(assert_complete(&it.ledger), 22);
    let started = replica.start_canister(it.archive.id(), None);
    started.expect("it starts");
    it.settle();
    let status = it.status();
    assert_eq!((status.archived_blocks, status.kept_blocks), (17, 5));
    assert_eq!(status.trouble, Vec::<String>::new());
    assert_eq!(assert_complete(&it.ledger), 22);
}

/// At each message of a shipment and at each answer: traps, upgrades, stops and losses.
#[test]
fn no_block_is_lost_or_doubled_whatever_fails() {
    let replica = replica();
    let it = World::new(&replica, 3);
    let (ledger, archive) = (it.ledger.id(), it.archive.id());
    let mut plans: Vec<Fault> = vec![];
    for canister in [ledger, archive] {
        for number in 1..=5 {
            let message = |what| Fault::Message {
                canister,
                number,
                what,
            };
            let whats = [
                MessageFault::Upgrade,
                MessageFault::Stop { rounds: 4 },
                MessageFault::OutOfCycles { rounds: 4 },
            ];
            // Between a timer's call and its answer an upgrade may damage the heap, as ic-cdk-timers knows its calls by heap addresses: the ledger
            // is upgraded between rounds.
            let first = usize::from(canister == ledger);
            plans.extend(whats.into_iter().skip(first).map(message));
            // Once the global timer itself has trapped, ic-cdk-timers sets none until the next upgrade.
            if (canister, number) != (ledger, 1) {
                let traps = [1, 50_000, 200_000].map(MessageFault::TrapAtInstruction);
                plans.extend(traps.map(message));
                let traps = [1, 9].map(MessageFault::TrapAtCall);
                plans.extend(traps.map(message));
            }
        }
    }
    for number in 1..=3 {
        for what in [
            AnswerFault::Lose,
            AnswerFault::Delay { rounds: 20 },
            AnswerFault::Reject { code: 5 },
        ] {
            plans.push(Fault::Answer {
                canister: ledger,
                number,
                what,
            });
        }
    }
    let mut applied = 0;
    for fault in plans {
        it.transfers(4);
        let plan = Plan::Schedule(Schedule(vec![fault.clone()]));
        let Some(faults) = Faults::install(&replica, &plan) else {
            return;
        };
        wait(&replica, Duration::from_secs(11));
        applied += faults.report().applied.0.len();
        faults.stop();
        wait(&replica, 2 * MINUTE);
        assert_shipped(&it, &format!("{fault:?}"));
    }
    assert!(applied > 30, "{applied} faults");
    for rounds in 0..8 {
        it.transfers(4);
        replica.advance_time(Duration::from_secs(11));
        (0..rounds).for_each(|_| replica.tick());
        let upgraded = it.ledger.upgrade(LEDGER, (None::<LedgerArg>,));
        upgraded.expect("the ledger is upgraded");
        wait(&replica, 2 * MINUTE);
        assert_shipped(&it, &format!("an upgrade after {rounds} rounds"));
    }
    assert_complete(&it.ledger);
}

/// With three blocks kept; all others are shipped, and none is missing among the last.
fn assert_shipped(it: &World<'_>, after: &str) {
    it.transfers(1);
    it.settle();
    let status = it.status();
    assert_eq!((status.kept_blocks, status.trouble), (3, vec![]), "{after}");
    let length = u64::try_from(ledger::transactions(&it.ledger).0).expect("not many");
    assert_eq!(status.archived_blocks, length - 3, "{after}");
    // Those since the last shipment and some before.
    let recent = blocks(&it.ledger, length.saturating_sub(20)..length);
    for pair in recent.windows(2) {
        let parent = pair[1].get("phash").cloned();
        assert_eq!(parent, Some(Value::blob(pair[0].hash())), "{after}");
    }
}

/// Shows G1, G2.
#[test]
fn a_retry_after_years_is_a_duplicate() {
    let replica = replica();
    let it = World::new(&replica, 3);
    let arg = transfer(5, Some(ledger::now(&replica)));
    let duplicate_of = icrc1_transfer(&it.ledger, &arg).expect("user 1 is rich");
    let once = transfer_once(&it.ledger, b"order 1", 7).expect("user 1 is rich");
    for _ in 0..5 {
        wait(&replica, 300 * DAY);
        it.settle();
    }
    let waiting = it.status().waiting_transactions;
    assert_eq!((waiting, it.status().trouble), (0, vec![]));
    let length = ledger::transactions(&it.ledger);
    assert_eq!(
        icrc1_transfer(&it.ledger, &arg),
        Err(TransferError::Duplicate { duplicate_of })
    );
    assert_eq!(transfer_once(&it.ledger, b"order 1", 7), Ok(once));
    // What never ran is too old, as ever.
    let other = transfer(6, arg.created_at_time);
    assert_eq!(
        icrc1_transfer(&it.ledger, &other),
        Err(TransferError::TooOld)
    );
    assert_eq!(ledger::transactions(&it.ledger), length);
    assert_eq!(ledger::balance(&it.ledger, user(2)), Nat::from(12_u8));
}

/// The ledger makes its archive of a module in its own chunk store, when the first transactions are older than a day.
#[test]
fn a_ledger_makes_its_archives() {
    let replica = replica();
    let ledger = ledger::install(&replica);
    let module = ARCHIVE.read();
    let digest = |bytes: &[u8]| -> ByteArray<32> {
        let hash = replica.upload_chunk(ledger.id(), None, bytes.to_vec());
        let hash: [u8; 32] = hash.expect("it is stored")[..].try_into().expect("SHA-256");
        ByteArray::new(hash)
    };
    // The hash of a module of one chunk is the chunk's.
    let hash = digest(&module);
    let source = ArchiveSource::Module(ArchiveModule {
        hash,
        chunks: vec![hash],
        cycles: None,
    });
    configure(&ledger, source, Kept::Replies, 2);
    // To install a module of more than 2 MB takes the chunk store.
    digest(&module);
    let arg = transfer(5, Some(ledger::now(&replica)));
    let duplicate_of = icrc1_transfer(&ledger, &arg).expect("user 1 is rich");
    for number in 0..10 {
        let now = ledger::now(&replica);
        icrc1_transfer(&ledger, &transfer(1, Some(now + number))).expect("user 1 is rich");
    }
    wait(&replica, MINUTE);
    let status_now = status(&ledger);
    assert_eq!(status_now.archives, []);
    assert_eq!(status_now.trouble, ["no archive takes more blocks"]);
    wait(&replica, 2 * DAY);
    for _ in 0..6 {
        wait(&replica, 11 * MINUTE);
    }
    let status_now = status(&ledger);
    assert_eq!(status_now.archives.len(), 1, "{status_now:?}");
    assert_eq!(status_now.trouble, Vec::<String>::new());
    assert_eq!(
        (status_now.archived_blocks, status_now.kept_blocks),
        (10, 2)
    );
    assert_eq!(assert_complete(&ledger), 12);
    assert_eq!(
        icrc1_transfer(&ledger, &arg),
        Err(TransferError::Duplicate { duplicate_of })
    );
}
