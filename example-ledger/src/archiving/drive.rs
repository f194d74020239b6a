//! The timers and calls of archiving.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use candid::Principal;
use ic_cdk::api::time;
use ic_cdk_timers::{set_timer, set_timer_interval};
use idempotency_archive::wire::{APPEND_BLOCKS, AppendedBlocks};
use idempotency_core::{SafeCall, archive::in_background, safe_call::Outcome};

use super::{Chunk, Settled, Trouble};
use crate::{archives, with_ledger};

/// Blocks wait so long for others.
const DELAY: Duration = Duration::from_secs(10);

/// The longest pause after a failure. A timer that has trapped does not run again, so another one runs as often.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// A timer that has not run for so long after its time never will: the message that would have run it has trapped.
const LATE: Duration = Duration::from_secs(60);

/// How long to wait for an answer, in seconds.
const TIMEOUT: u32 = 60;

thread_local! {
    /// When the timer is to run, if one is set.
    static DUE: Cell<Option<u64>> = const { Cell::new(None) };
    /// Whether a chunk is under way.
    static IS_BUSY: Cell<bool> = const { Cell::new(false) };
    /// In a row.
    static FAILURES: Cell<u32> = const { Cell::new(0) };
    static TROUBLE: RefCell<Option<Trouble>> = const { RefCell::new(None) };
    /// They said so in this heap.
    static FULL: RefCell<Vec<Principal>> = const { RefCell::new(vec![]) };
}

/// Begins: in `init` and `post_upgrade`.
pub(crate) fn install() {
    if archives::keep_blocks().is_some() {
        set_timer_interval(LONGEST_PAUSE, begin);
        schedule();
    }
}

/// A block was added: perhaps there is one to archive.
pub(crate) fn schedule() {
    let now = time();
    let is_due = |at: u64| now < at.saturating_add(nanos(LATE));
    if DUE.get().is_some_and(is_due) || IS_BUSY.get() {
        return;
    }
    let Some(keep) = archives::keep_blocks() else {
        return;
    };
    if with_ledger(|ledger| ledger.log().is_to_archive(keep)) {
        let pause = DELAY
            .saturating_mul(1 << FAILURES.get().min(6))
            .min(LONGEST_PAUSE);
        DUE.set(Some(now.saturating_add(nanos(pause))));
        set_timer(pause, begin());
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Why blocks stay where they are, if something is wrong.
pub(crate) fn trouble() -> Option<String> {
    TROUBLE.with_borrow(|trouble| trouble.as_ref().map(ToString::to_string))
}

/// Also frees after a trap: cleanup drops what was on the way.
struct Busy;

impl Drop for Busy {
    fn drop(&mut self) {
        IS_BUSY.set(false);
    }
}

/// In the background: an upgrade may come at any time, and the answer to a chunk after it.
async fn begin() {
    in_background(run());
}

async fn run() {
    DUE.set(None);
    if IS_BUSY.replace(true) {
        return;
    }
    let busy = Busy;
    let trouble = archive_all().await.err();
    FAILURES.set(match trouble {
        Some(_) => FAILURES.get().saturating_add(1),
        None => 0,
    });
    TROUBLE.set(trouble);
    drop(busy);
    schedule();
}

async fn archive_all() -> Result<(), Trouble> {
    while let Some(chunk) = next_chunk()? {
        let answer = send(&chunk).await;
        match with_ledger(|ledger| ledger.settle(&chunk, answer))? {
            Settled::Confirmed => {}
            Settled::Full => FULL.with_borrow_mut(|full| full.push(chunk.archive)),
        }
    }
    Ok(())
}

fn next_chunk() -> Result<Option<Chunk>, Trouble> {
    let Some(keep) = archives::keep_blocks() else {
        return Ok(None);
    };
    let archives = archives::canisters();
    let full = FULL.with_borrow(Clone::clone);
    with_ledger(|ledger| ledger.next_chunk(keep, &archives, &full))
}

async fn send(chunk: &Chunk) -> Result<AppendedBlocks, String> {
    let call = SafeCall::repeatable(chunk.archive, APPEND_BLOCKS, (&chunk.append,));
    match call.timeout(TIMEOUT).tries(1).send().await {
        Outcome::Replied(answer) => Ok(answer),
        Outcome::ReplyLost { message, .. } => Err(message),
        Outcome::Rejected(why) | Outcome::NotExecuted(why) => Err(why.to_string()),
        other => Err(format!("{other:?}")),
    }
}
