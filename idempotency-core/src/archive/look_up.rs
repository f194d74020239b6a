//! What archives know of a request.

use super::{
    drive,
    entry::{Entry, Id, Kept},
    handle::{Access, Archives},
    wire::{Found, LookedUp, Position, method},
};
use crate::{
    access::StoreAccess,
    alarm::Due,
    error::IdempotencyError,
    runtime::Runtime,
    safe_call::{Outcome, SafeCall, transport},
    store::{Archived, Damaged, Keeper, LookingUp, Record, Reply, State},
    time::Timestamp,
};
use candid::Principal;
use ic_stable_structures::Memory;
use serde_bytes::{ByteArray, ByteBuf};
use std::{collections::BTreeMap, time::Duration};

/// How long to wait for the answer to a look-up, in seconds.
const TIMEOUT: u32 = 30;

/// How often an archive is asked while it certainly did not execute the call.
const TRIES: u32 = 3;

/// So many look-ups are made for one request: archives are asked again when they have taken more meanwhile.
const MOST_ASKED: u32 = 100;

/// When to ask again what could not be answered.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Keeps what a store forgets, with these archives.
#[derive(Clone)]
pub(super) struct Keeping<R, S, A> {
    pub(super) runtime: R,
    pub(super) store: S,
    pub(super) archives: A,
}

impl<R: Runtime, S: StoreAccess, A: Access> Keeper for Keeping<R, S, A> {
    fn may_hold(&self, id: &Id) -> Result<bool, Damaged> {
        self.archives
            .with(|archives| Ok(archives.contents()?.may_hold(id)))
    }

    fn look_up(&self, id: Id) -> LookingUp {
        Box::pin(look_up(self.runtime.clone(), self.archives.clone(), id))
    }

    fn wake(&self, due: Due) {
        drive::set(&self.runtime, &self.store, &self.archives, due);
    }

    fn forgot_until(&self) -> Timestamp {
        let until = self
            .archives
            .with(|archives| Ok(archives.contents()?.forgot_until()));
        // What is damaged knows nothing.
        until.unwrap_or_else(|_: Damaged| Timestamp::from_nanos(u64::MAX))
    }
}

/// An archive that must be asked.
struct Asking {
    number: u32,
    canister: Principal,
    /// It had confirmed so much when it was asked.
    confirmed: Position,
}

/// Asks each archive that may hold a request, until one has it or all have looked through whatever they have confirmed by then. The look at the
/// filter after the last answer is in the message that goes on with the result.
async fn look_up<R: Runtime, A: Access>(
    runtime: R,
    archives: A,
    id: Id,
) -> Result<Option<Archived>, IdempotencyError> {
    let mut looked_through = BTreeMap::new();
    let mut refusal = None;
    for _ in 0..MOST_ASKED {
        let asking = archives.with(|archives| archives.to_be_asked(&id, &looked_through))?;
        let Some(asking) = asking else {
            // Those that could not be asked count only if no other one has it.
            return refusal.map_or(Ok(None), Err);
        };
        match ask(&runtime, &asking, id).await {
            Ok((_, Some(archived))) => return Ok(Some(archived)),
            Ok((entries, None)) => {
                looked_through.insert(asking.number, entries);
            }
            Err(why) => {
                let retry_after = runtime.time().plus(AGAIN_AFTER);
                let why = format!("archive {}: {why}", asking.canister);
                refusal = Some(unreachable(&why, retry_after));
                looked_through.insert(asking.number, u64::MAX);
            }
        }
    }
    let retry_after = runtime.time().plus(AGAIN_AFTER);
    Err(unreachable("archives take more all the time", retry_after))
}

fn unreachable(why: &str, retry_after: Timestamp) -> IdempotencyError {
    IdempotencyError::archive_unreachable(why, retry_after)
}

/// Through how many entries an archive has looked, and what it found; or why it can't be told.
async fn ask<R: Runtime>(
    runtime: &R,
    asking: &Asking,
    id: Id,
) -> Result<(u64, Option<Archived>), String> {
    let ids = vec![ByteBuf::from(id.to_vec())];
    let call = SafeCall::repeatable(asking.canister, method::LOOK_UP, (ids,))
        .timeout(TIMEOUT)
        .tries(TRIES);
    let answer: LookedUp = match call.send_over(&transport::Plain(runtime.clone())).await {
        Outcome::Replied(answer) => answer,
        Outcome::ReplyLost { message, .. } => return Err(message),
        Outcome::Rejected(why) | Outcome::NotExecuted(why) => return Err(why.to_string()),
        Outcome::StillUnknown { last, .. } => return Err(last.to_string()),
    };
    let asked = [ByteArray::new(id)];
    if (answer.archive, answer.asked.as_slice()) != (asking.canister, &asked[..]) {
        return Err("this is the answer to another question".to_owned());
    }
    let entries = answer.position.entries;
    let [found] = <[_; 1]>::try_from(answer.found).map_err(|_| "it answers something else")?;
    match found {
        Some(found) => match archived(found, id) {
            Some(archived) => Ok((entries, Some(archived))),
            None => Err("its answer is no entry of this request".to_owned()),
        },
        None if entries < asking.confirmed.entries => Err(format!(
            "it has {entries} requests, and had {}: it was rolled back or reinstalled",
            asking.confirmed.entries
        )),
        None => Ok((entries, None)),
    }
}

/// What an archive keeps of a request; `None` if that makes no sense.
pub(super) fn archived(found: Found, id: Id) -> Option<Archived> {
    let entry = Entry::from_bytes(&found.entry)?;
    if entry.id != id {
        return None;
    }
    let reply = found.reply.map(ByteBuf::into_vec);
    let (state, digest) = match (entry.kept, reply) {
        (Kept::Nothing, None) => (State::ReplyDropped, None),
        (Kept::Digest, Some(digest)) => (
            State::ReplyDropped,
            Some(<[u8; 32]>::try_from(digest).ok()?),
        ),
        (Kept::First, Some(bytes)) => (State::Done(Reply::first(bytes)), None),
        (Kept::ForRetries, Some(bytes)) => (State::Done(Reply::for_retries(bytes)), None),
        (Kept::Nothing, Some(_)) | (Kept::Digest | Kept::First | Kept::ForRetries, None) => {
            return None;
        }
    };
    Some(Archived {
        record: Record {
            fingerprint: entry.fingerprint,
            since: entry.executed_at,
            state,
        },
        digest,
    })
}

impl<M: Memory> Archives<M> {
    /// The next archive that may hold a request and has not looked through all that it has confirmed.
    fn to_be_asked(
        &self,
        id: &Id,
        looked_through: &BTreeMap<u32, u64>,
    ) -> Result<Option<Asking>, Damaged> {
        let contents = self.contents()?;
        for number in contents.hits(id) {
            let archive = contents.archive(number).ok_or(Damaged)?;
            let looked = looked_through.get(&number);
            if looked.is_none_or(|entries| *entries < archive.confirmed.entries) {
                return Ok(Some(Asking {
                    number,
                    canister: archive.canister,
                    confirmed: archive.confirmed,
                }));
            }
        }
        Ok(None)
    }
}
