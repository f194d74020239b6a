//! Timers and calls: what has expired is sent, and forgotten when the archive has it. One thing is under way at a time.
//!
//! Each run of the timer does one step: it moves requests that have not ended, sends a chunk, or takes a step towards a new archive. What is
//! under way stands in stable memory before the call is made. So a heap that goes leaves nothing but a chunk in doubt, which the next
//! heap sends again.

use super::{
    create,
    generations::NoRoom,
    handle::{Access, Archives, LOOKS_AFTER, UnderWay},
    policy::Most,
    records::{Archive, InFlight, Progress, State, Unfiltered},
    ship::{Chunk, Meaning, Sent, Standing},
    status::Problem,
    wire::{Append, Appended, Position, method},
};
use crate::{
    access::StoreAccess,
    alarm::Due,
    policy::Keep,
    runtime::Runtime,
    safe_call::{Outcome, Reason, SafeCall, transport},
    store::{Damaged, Expired, Moved, Store},
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::Memory;

/// How long to wait for the answer to a chunk, in seconds.
const TIMEOUT: u32 = 120;

/// So many requests that have not ended are moved in a message.
const MOST_MOVED: usize = 64;

/// What is to be done next.
enum Task {
    /// Nothing has expired.
    Nothing,
    /// The next step, at once.
    Again,
    /// Nothing, for a reason that may pass.
    Failed(Problem),
    Send(Box<Sending>),
    /// There is no archive to send to.
    Make(Keep),
}

/// A chunk, and where it goes.
struct Sending {
    archive: u32,
    canister: Principal,
    partition: Expired,
    sent: Sent,
    append: Append,
    keep: Keep,
    next: Option<u64>,
}

/// Sets the timer for what expires next, or is to be tried again, unless it is set for that time or an earlier one.
pub(super) fn schedule(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    archives: &impl Access,
    now: Timestamp,
) {
    if let Some(due) = store.with(|store| store.next_shipping(now)) {
        set(runtime, store, archives, due);
    }
}

/// Sets a timer.
pub(super) fn set(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    archives: &impl Access,
    due: Due,
) {
    let (later, its, with) = (runtime.clone(), store.clone(), archives.clone());
    let task = move || run(&later, &its, &with, due.at);
    runtime.surely_after(due.delay, task);
}

/// The timer that was set for `at` runs.
fn run(runtime: &impl Runtime, store: &impl StoreAccess, archives: &impl Access, at: Timestamp) {
    let now = runtime.time();
    store.with(|store| store.shipping.rings(at));
    let is_resting = store.with(|store| now < store.ships_after.get());
    if archives.with(Archives::is_busy) {
        store.with(|store| store.ships_after.set(now.plus(LOOKS_AFTER)));
    }
    if is_resting || archives.with(Archives::is_busy) {
        return schedule(runtime, store, archives, now);
    }
    let task = store.with(|store| archives.with(|archives| archives.next(store, now)));
    let again = match task {
        // What is damaged refuses requests, and no timer is set for it again.
        Err(Damaged) => return,
        Ok(Task::Nothing | Task::Again) => now,
        Ok(Task::Failed(problem)) => archives.with(|archives| archives.failed(problem, now)),
        Ok(Task::Send(sending)) => {
            let under_way = UnderWay::begin(archives);
            let (its, of, with) = (runtime.clone(), store.clone(), archives.clone());
            runtime.in_background(send(its, of, with, *sending, under_way));
            now.plus(LOOKS_AFTER)
        }
        Ok(Task::Make(keep)) => {
            let (its, of, with) = (runtime.clone(), store.clone(), archives.clone());
            let when_done = move |again| go_on(&its, &of, &with, again);
            match create::next(runtime, archives, keep, now, when_done) {
                Ok(again) => again,
                Err(Damaged) => return,
            }
        }
    };
    go_on(runtime, store, archives, again);
}

/// Goes on at a time.
fn go_on(
    runtime: &impl Runtime,
    store: &impl StoreAccess,
    archives: &impl Access,
    again: Timestamp,
) {
    store.with(|store| store.ships_after.set(again));
    schedule(runtime, store, archives, runtime.time());
}

async fn send<R: Runtime, S: StoreAccess, A: Access>(
    runtime: R,
    store: S,
    archives: A,
    sending: Sending,
    under_way: UnderWay<A>,
) {
    let cycles = archives.with(Archives::cycles_of_chunk);
    let call = SafeCall::repeatable(sending.canister, method::APPEND, (&sending.append,))
        .cycles(cycles)
        .timeout(TIMEOUT)
        .tries(1);
    let outcome = call.send_over(&transport::Plain(runtime.clone())).await;
    let now = runtime.time();
    drop(under_way);
    let again = store
        .with(|store| archives.with(|archives| archives.answered(store, sending, outcome, now)));
    if let Ok(again) = again {
        go_on(&runtime, &store, &archives, again);
    }
}

impl<M: Memory> Archives<M> {
    /// What is to be done next, with all that can be done for it without a call.
    fn next<S: Memory>(&self, store: &Store<S>, now: Timestamp) -> Result<Task, Damaged> {
        let (Some(policy), Some(partition)) = (store.policy().archive, store.first_expired(now)?)
        else {
            return Ok(Task::Nothing);
        };
        match store.move_open_out(partition, MOST_MOVED, now)? {
            Moved::All => {}
            Moved::Some => return Ok(Task::Again),
            Moved::NoRoom => return Ok(Task::Failed(Problem::NoRoom)),
        }
        let mut contents = self.contents()?;
        let progress = contents.progress().filter(|it| it.partition == partition);
        let mut progress = progress.unwrap_or(Progress {
            partition,
            from: None,
            in_flight: None,
            unfiltered: None,
        });
        let keep = progress
            .in_flight
            .map_or(policy, |in_flight| in_flight.keep);
        let fits = |(_, archive): &(u32, Archive)| {
            progress.in_flight.is_some() || archive.keeps_replies == (policy != Keep::Ids)
        };
        let end = progress.in_flight.map(|in_flight| in_flight.next);
        let current = contents.current().filter(fits);
        if let Some((number, archive)) = current.filter(|(_, it)| it.room() == 0) {
            let state = State::Full;
            contents.set(number, Archive { state, ..archive });
            return Ok(Task::Again);
        }
        let most = match current {
            Some((_, archive)) => self.policy.most_of_chunk(archive.room()),
            // Whether there is anything to be sent at all.
            None => Most::ONE,
        };
        let chunk = Chunk::read(store, partition, progress.from, keep, (end, most))?;
        let goes_on = |it: Unfiltered| {
            chunk.count > 0 && current.is_some_and(|(number, _)| number == it.archive)
        };
        if !progress.unfiltered.is_none_or(goes_on) {
            match contents.fill(store, progress)? {
                Ok(filled) => progress = filled,
                Err(NoRoom) => return Ok(Task::Failed(Problem::NoMemory)),
            }
            contents.set_progress(Some(progress));
        }
        if chunk.count == 0 {
            store.forget_archived(partition, now)?;
            contents.set_progress(None);
            return Ok(Task::Again);
        }
        let Some((number, archive)) = current else {
            return Ok(Task::Make(policy));
        };
        let waiting = progress.unfiltered.map_or(0, |it| it.count);
        if (contents.reserve(number, waiting + chunk.count, &self.plan())).is_err() {
            return Ok(Task::Failed(Problem::NoMemory));
        }
        let next = chunk.next;
        let append = chunk.append(archive.confirmed);
        let after = append.after;
        let earlier = progress.in_flight;
        contents.set_progress(Some(Progress {
            in_flight: Some(InFlight {
                next,
                keep,
                after,
                since: earlier.map_or(now, |earlier| earlier.since),
            }),
            ..progress
        }));
        Ok(Task::Send(Box::new(Sending {
            archive: number,
            canister: archive.canister,
            partition,
            sent: Sent {
                from: archive.confirmed,
                after: [after, earlier.map_or(after, |earlier| earlier.after)],
            },
            append,
            keep,
            next,
        })))
    }

    /// Cycles that go with a chunk. If the last call failed, perhaps for want of cycles, none do.
    fn cycles_of_chunk(&self) -> u128 {
        match self.is_in_trouble() {
            true => 0,
            false => self.policy.cycles / 10,
        }
    }

    /// A chunk was answered; when to go on.
    fn answered<S: Memory>(
        &self,
        store: &Store<S>,
        sending: Sending,
        outcome: Outcome<Appended>,
        now: Timestamp,
    ) -> Result<Timestamp, Damaged> {
        let archive = sending.canister;
        let current = self.contents()?.current();
        if current.is_none_or(|(number, _)| number != sending.archive) {
            // It was given up meanwhile.
            return Ok(now);
        }
        let answer = match outcome {
            Outcome::Replied(answer) => answer,
            Outcome::ReplyLost { message: why, .. } => {
                return Ok(self.failed(Problem::Nonsense { archive, why }, now));
            }
            // It is deleted.
            Outcome::Rejected(Reason::Reject { code: 3, .. }) => {
                self.give_up(archive)?;
                return Ok(now);
            }
            Outcome::Rejected(why)
            | Outcome::NotExecuted(why)
            | Outcome::StillUnknown { last: why, .. } => {
                let why = why.to_string();
                return Ok(self.failed(Problem::Unreachable { archive, why }, now));
            }
        };
        let (standing, is_full) = match sending.sent.judge(answer) {
            Meaning::Stands(standing) => (standing, false),
            Meaning::IsFull(standing) => (standing, true),
            Meaning::Nonsense(why) => {
                return Ok(self.failed(Problem::Nonsense { archive, why }, now));
            }
        };
        let number = sending.archive;
        let mut again = now;
        match standing {
            Standing::Taken(position) => {
                if let Err(problem) = self.confirm(store, sending, position, now)? {
                    return Ok(self.failed(problem, now));
                }
                self.succeeded();
            }
            Standing::Before if sending.sent.from.entries == 0 => {
                let why =
                    "it is empty, and has no room for a chunk: its `capacity_bytes` are too few"
                        .to_owned();
                return Ok(self.failed(Problem::Nonsense { archive, why }, now));
            }
            Standing::Before => self.lay_down(number, |_, _| ())?,
            Standing::Ahead(position) => {
                self.lay_down(number, |archive, _| archive.confirmed = position)?;
                // If it says so again and again, then more and more seldom.
                again = self.pause(now);
            }
            Standing::Behind => {
                self.give_up(archive)?;
                return Ok(now);
            }
        }
        if is_full {
            let mut contents = self.contents()?;
            let known = *contents.archive(number).ok_or(Damaged)?;
            let state = State::Full;
            contents.set(number, Archive { state, ..known });
        }
        Ok(again)
    }

    /// The archive has a chunk. If it was the partition's last one, the store forgets that.
    fn confirm<S: Memory>(
        &self,
        store: &Store<S>,
        sending: Sending,
        position: Position,
        now: Timestamp,
    ) -> Result<Result<(), Problem>, Damaged> {
        let mut contents = self.contents()?;
        let known = *contents.archive(sending.archive).ok_or(Damaged)?;
        let (progress, next) = (contents.progress().ok_or(Damaged)?, sending.next);
        let taken = (sending.archive, &sending.append.entries[..], sending.keep);
        let Ok(progress) = contents.take(store, progress, taken, next)? else {
            return Ok(Err(Problem::NoMemory));
        };
        contents.set(
            sending.archive,
            Archive {
                confirmed: position,
                ..known
            },
        );
        if next.is_none() {
            store.forget_archived(sending.partition, now)?;
        }
        contents.set_progress(next.map(|_| progress));
        Ok(Ok(()))
    }

    /// An archive has lost what it had confirmed: nothing more is shipped to it. What the store still has of what it was sent is sent to the
    /// next one. `false` if it is no archive to which anything is shipped.
    ///
    /// The canister does this by itself when it finds that an archive was deleted, reinstalled or rolled back. Call it for one whose module was
    /// uninstalled, or that will never answer again for another reason. Requests that only this archive can answer are refused, until it
    /// answers with all that it had confirmed.
    ///
    /// # Errors
    /// [`Damaged`].
    pub fn give_up(&self, canister: Principal) -> Result<bool, Damaged> {
        let mut contents = self.contents()?;
        let current = contents.current();
        let Some((number, archive)) = current.filter(|(_, it)| it.canister == canister) else {
            return Ok(false);
        };
        let state = State::Behind;
        contents.set(number, Archive { state, ..archive });
        let again = contents.progress().map(|progress| Progress {
            from: None,
            in_flight: None,
            unfiltered: None,
            ..progress
        });
        contents.set_progress(again);
        self.succeeded();
        Ok(true)
    }

    /// No chunk is under way any more, and none was taken.
    fn lay_down(
        &self,
        number: u32,
        change: impl FnOnce(&mut Archive, &mut Progress),
    ) -> Result<(), Damaged> {
        let mut contents = self.contents()?;
        let mut archive = *contents.archive(number).ok_or(Damaged)?;
        let mut progress = contents.progress().ok_or(Damaged)?;
        progress.in_flight = None;
        change(&mut archive, &mut progress);
        contents.set(number, archive);
        contents.set_progress(Some(progress));
        Ok(())
    }
}
