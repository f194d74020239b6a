//! Cycles for archives: once a day each of them is asked what it lacks, whether it still takes requests or not, and given that.
//!
//! What comes with chunks (`drive.rs`) keeps an archive while it is filled; this keeps it for ever.

use super::{
    create::{ask, encode, management},
    handle::{Access, Archives},
    status::{Problem, TopUp},
    wire::Status,
};
use crate::{
    codec::decode,
    runtime::{Rejected, Runtime},
    store::Damaged,
    time::Timestamp,
};
use candid::{Nat, Principal};
use ic_management_canister_types::CanisterIdRecord;
use ic_stable_structures::Memory;
use std::time::Duration;

/// An archive of 100 GiB uses 1.1 T cycles a day, on a subnet of 13 nodes.
const EVERY: Duration = Duration::from_secs(86_400);

/// The IC's reject code of what may pass: also of a canister that is out of cycles.
const SYS_TRANSIENT: u32 = 2;

/// Sets the timer. Upgrades do not put it off.
pub(super) fn schedule(runtime: &impl Runtime, archives: &impl Access) {
    let now = runtime.time();
    let Ok(delay) = archives.with(|archives| archives.until_top_up(now)) else {
        return;
    };
    let (later, with) = (runtime.clone(), archives.clone());
    runtime.surely_after(delay, move || run(&later, &with));
}

fn run(runtime: &impl Runtime, archives: &impl Access) {
    let now = runtime.time();
    // Archives may be installed twice in a heap, and have two timers then.
    if !archives.with(|archives| archives.begin_top_up(now)) {
        return;
    }
    schedule(runtime, archives);
    runtime.in_background(top_up(runtime.clone(), archives.clone()));
}

/// One archive after the other.
async fn top_up(runtime: impl Runtime, archives: impl Access) {
    let most = archives.with(|archives| archives.policy.cycles);
    let all = archives.with(Archives::canisters);
    for archive in all.unwrap_or_default() {
        let answer = runtime.call(ask(archive)).await;
        let mut top_up = TopUp {
            at: runtime.time(),
            balance: None,
            given: 0,
            problem: None,
        };
        match lacks(archive, runtime.canister(), answer, most) {
            Ok((balance, lacking)) => {
                top_up.balance = balance;
                if lacking > 0 {
                    match give(&runtime, archive, lacking).await {
                        Ok(()) => top_up.given = lacking,
                        Err(problem) => top_up.problem = Some(problem),
                    }
                }
            }
            Err(problem) => top_up.problem = Some(problem),
        }
        archives.with(|archives| archives.topped_up(archive, top_up));
    }
}

/// An archive's balance, if it has said it, and what it is to be given: no more than `most`.
fn lacks(
    archive: Principal,
    owner: Principal,
    answer: Result<Vec<u8>, Rejected>,
    most: u128,
) -> Result<(Option<u128>, u128), Problem> {
    let bytes = match answer {
        Ok(bytes) => bytes,
        // It may be frozen, and can't say so.
        Err(Rejected {
            code: SYS_TRANSIENT,
            ..
        }) => return Ok((None, most)),
        Err(Rejected { message: why, .. }) => return Err(Problem::Unreachable { archive, why }),
    };
    let (status,) = decode::<(Status,)>(&bytes).map_err(|error| Problem::Nonsense {
        archive,
        why: error.to_string(),
    })?;
    match status.owner == owner {
        true => Ok((
            Some(cycles(status.cycles)),
            cycles(status.lacking_cycles).min(most),
        )),
        false => Err(Problem::ForeignArchive {
            archive,
            owner: status.owner,
        }),
    }
}

fn cycles(cycles: Nat) -> u128 {
    cycles.0.try_into().unwrap_or(u128::MAX)
}

async fn give(runtime: &impl Runtime, archive: Principal, cycles: u128) -> Result<(), Problem> {
    let canister_id = archive;
    let call = management(
        "deposit_cycles",
        encode(&CanisterIdRecord { canister_id }),
        cycles,
    );
    match runtime.call(call).await {
        Ok(_) => Ok(()),
        Err(rejected) => Err(Problem::NoCycles {
            archive,
            lacking: cycles,
            why: format!("reject code {}: {}", rejected.code, rejected.message),
        }),
    }
}

impl<M: Memory> Archives<M> {
    /// How long it is until archives are asked.
    fn until_top_up(&self, now: Timestamp) -> Result<Duration, Damaged> {
        let mut contents = self.contents()?;
        let at = match contents.top_up_at() {
            Some(at) => at,
            None => {
                let first = now.plus(EVERY);
                contents.set_top_up_at(first);
                first
            }
        };
        Ok(Duration::from_nanos(
            at.as_nanos().saturating_sub(now.as_nanos()),
        ))
    }

    /// Whether they are to be asked now.
    fn begin_top_up(&self, now: Timestamp) -> bool {
        let Ok(mut contents) = self.contents() else {
            return false;
        };
        let is_due = contents.top_up_at().is_some_and(|at| at <= now);
        if is_due {
            contents.set_top_up_at(now.plus(EVERY));
        }
        is_due
    }
}
