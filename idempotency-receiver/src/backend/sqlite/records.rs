//! Records, as rows.

use super::{Shared, error, execute, millis, schema};
use crate::{
    answer::Answer,
    backend::{Attempt, BackendError, Begun, EVICTED_AT_ONCE, Mode, Settlement},
    digest::{Digest, RequestId},
};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior::Immediate, params};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a record's column `state` says.
pub(super) const IN_FLIGHT: i64 = 0;
pub(super) const DONE: i64 = 1;
pub(super) const UNKNOWN: i64 = 2;

/// A row of the records.
struct Record {
    fingerprint: Vec<u8>,
    state: i64,
    owner: u64,
    attempt: u64,
    expires_at: i64,
    answer: Option<Answer>,
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    let headers: Option<Vec<u8>> = row.get("headers")?;
    let body: Option<Vec<u8>> = row.get("body")?;
    let status: Option<u16> = row.get("status")?;
    let answer = status.zip(headers).zip(body);
    Ok(Record {
        fingerprint: row.get("fingerprint")?,
        state: row.get("state")?,
        owner: row.get::<_, i64>("owner")?.cast_unsigned(),
        attempt: row.get::<_, i64>("attempt")?.cast_unsigned(),
        expires_at: row.get("expires_at")?,
        answer: answer.and_then(|((status, headers), body)| {
            Answer::decoded(status, &headers, Bytes::from(body))
        }),
    })
}

fn find(connection: &Connection, identity: Digest) -> Result<Option<Record>, BackendError> {
    connection
        .prepare("SELECT * FROM idempotency_records WHERE identity = ?1")
        .and_then(|mut statement| statement.query_row([identity.0], record).optional())
        .map_err(error)
}

/// What is to be done about a request.
enum Decision {
    Say(Begun),
    /// An attempt of this owner is in flight.
    InFlight(u64),
    /// An attempt with this number may begin.
    Begin(u64),
}

fn decide(
    found: Option<Record>,
    id: RequestId,
    mode: Mode,
    now: i64,
) -> Result<Decision, BackendError> {
    let found = found.filter(|record| record.state == IN_FLIGHT || now < record.expires_at);
    let Some(record) = found else {
        return Ok(match mode {
            Mode::Look => Decision::Say(Begun::Absent),
            Mode::New | Mode::Repeat => Decision::Begin(1),
        });
    };
    if record.fingerprint != id.fingerprint.0 {
        return Ok(Decision::Say(Begun::KeyReused));
    }
    match (record.state, record.answer) {
        (DONE, Some(answer)) => Ok(Decision::Say(Begun::Done(answer))),
        (IN_FLIGHT, None) => Ok(Decision::InFlight(record.owner)),
        (UNKNOWN, None) if mode == Mode::Repeat => Ok(Decision::Begin(record.attempt + 1)),
        (UNKNOWN, None) => Ok(Decision::Say(Begun::Unknown)),
        _ => Err(BackendError::Damaged(format!(
            "the record {} is not what was written",
            id.identity
        ))),
    }
}

pub(super) fn begin(
    connection: &mut Connection,
    shared: &Shared,
    id: RequestId,
    mode: Mode,
    now: SystemTime,
) -> Result<Begun, BackendError> {
    let owner = &shared.owner;
    settle_abandoned(connection, shared, now)?;
    let (now, until) = (millis(now), millis(shared.limits.until(now)));
    // Most requests that are known need no write.
    match decide(find(connection, id.identity)?, id, mode, now)? {
        Decision::Say(begun) => return Ok(begun),
        Decision::InFlight(other) if !owner.is_gone(other)? => return Ok(Begun::InFlight),
        Decision::InFlight(_) | Decision::Begin(_) => {}
    }
    let transaction = connection
        .transaction_with_behavior(Immediate)
        .map_err(error)?;
    let mut decision = decide(find(&transaction, id.identity)?, id, mode, now)?;
    if let Decision::InFlight(other) = decision
        && owner.reap(&transaction, other, until)?
    {
        decision = decide(find(&transaction, id.identity)?, id, mode, now)?;
    }
    let begun = match decision {
        Decision::Say(begun) => begun,
        Decision::InFlight(_) => Begun::InFlight,
        Decision::Begin(number) => {
            evict(&transaction, now)?;
            execute(
                &transaction,
                "DELETE FROM idempotency_records WHERE identity = ?1",
                params![id.identity.0],
            )?;
            let (records, bytes) = schema::totals(&transaction)?;
            if number == 1 && (records >= shared.limits.records || bytes >= shared.limits.bytes) {
                Begun::Full {
                    retry_after: first_expiry(&transaction, now)?,
                }
            } else {
                execute(
                    &transaction,
                    "INSERT INTO idempotency_records (identity, fingerprint, state, owner, attempt, began_at, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    params![
                        id.identity.0,
                        id.fingerprint.0,
                        IN_FLIGHT,
                        owner.id().cast_signed(),
                        number.cast_signed(),
                        now,
                        until,
                    ],
                )?;
                Begun::Acquired(Attempt::new(id, owner.id(), number))
            }
        }
    };
    if let Err(failed) = transaction.commit() {
        // It may have been committed all the same; nobody will execute it.
        if let Begun::Acquired(attempt) = begun {
            shared.abandoned().push(attempt);
        }
        return Err(error(failed));
    }
    Ok(begun)
}

fn settle_abandoned(
    connection: &mut Connection,
    shared: &Shared,
    now: SystemTime,
) -> Result<(), BackendError> {
    let next = || shared.abandoned().last().cloned();
    while let Some(attempt) = next() {
        settle(connection, shared, &attempt, &Settlement::Unknown, now)?;
        // Others may have come meanwhile.
        shared.abandoned().retain(|other| *other != attempt);
    }
    Ok(())
}

fn evict(connection: &Connection, now: i64) -> Result<(), BackendError> {
    let some = EVICTED_AT_ONCE as i64;
    execute(
        connection,
        "DELETE FROM idempotency_records WHERE identity IN
         (SELECT identity FROM idempotency_records WHERE state <> 0 AND expires_at <= ?1 ORDER BY expires_at LIMIT ?2)",
        params![now, some],
    )
    .map(drop)
}

fn first_expiry(connection: &Connection, now: i64) -> Result<Duration, BackendError> {
    let first: Option<i64> = connection
        .query_row(
            "SELECT min(expires_at) FROM idempotency_records WHERE state <> 0",
            [],
            |row| row.get(0),
        )
        .map_err(error)?;
    let wait = first.unwrap_or(now).saturating_sub(now).max(1000);
    Ok(Duration::from_millis(wait.unsigned_abs()))
}

pub(super) fn settle(
    connection: &mut Connection,
    shared: &Shared,
    attempt: &Attempt,
    settlement: &Settlement,
    now: SystemTime,
) -> Result<Option<Answer>, BackendError> {
    let until = millis(shared.limits.until(now));
    let transaction = connection
        .transaction_with_behavior(Immediate)
        .map_err(error)?;
    let found = find(&transaction, attempt.id.identity)?;
    let Some(record) =
        found.filter(|record| (record.owner, record.attempt) == (attempt.owner, attempt.number))
    else {
        return Ok(None);
    };
    if record.state != IN_FLIGHT {
        return Ok(record.answer);
    }
    let identity = attempt.id.identity.0;
    match settlement {
        Settlement::Done(answer) => complete(&transaction, attempt, answer, until)?,
        Settlement::NotExecuted => execute(
            &transaction,
            "DELETE FROM idempotency_records WHERE identity = ?1",
            params![identity],
        )?,
        Settlement::Unknown => execute(
            &transaction,
            "UPDATE idempotency_records SET state = ?2, expires_at = ?3 WHERE identity = ?1",
            params![identity, UNKNOWN, until],
        )?,
    };
    transaction.commit().map_err(error)?;
    Ok(None)
}

/// Writes the answer of an attempt that is in flight: how many records that changed, 1 or, if the attempt isn't in flight any
/// more, 0.
pub(super) fn complete(
    connection: &Connection,
    attempt: &Attempt,
    answer: &Answer,
    until: i64,
) -> Result<usize, BackendError> {
    execute(
        connection,
        "UPDATE idempotency_records SET state = ?1, expires_at = ?2, status = ?3, headers = ?4, body = ?5
         WHERE identity = ?6 AND owner = ?7 AND attempt = ?8 AND state = ?9",
        params![
            DONE,
            until,
            answer.status().as_u16(),
            answer.encoded_headers(),
            &answer.body()[..],
            attempt.id.identity.0,
            attempt.owner.cast_signed(),
            attempt.number.cast_signed(),
            IN_FLIGHT,
        ],
    )
}

pub(super) fn unknown(
    connection: &Connection,
    limit: u32,
) -> Result<Vec<(Digest, SystemTime)>, BackendError> {
    connection
        .prepare("SELECT identity, began_at FROM idempotency_records WHERE state = ?1 ORDER BY expires_at LIMIT ?2")
        .and_then(|mut statement| {
            let rows = statement.query_map(params![UNKNOWN, limit], |row| {
                let began = Duration::from_millis(row.get::<_, i64>(1)?.max(0).unsigned_abs());
                Ok((Digest(row.get(0)?), UNIX_EPOCH + began))
            })?;
            rows.collect()
        })
        .map_err(error)
}

pub(super) fn resolve(
    connection: &Connection,
    identity: Digest,
    answer: Option<&Answer>,
    until: i64,
) -> Result<bool, BackendError> {
    let changed = match answer {
        Some(answer) => execute(
            connection,
            "UPDATE idempotency_records SET state = ?1, expires_at = max(expires_at, ?2), status = ?3, headers = ?4, body = ?5
             WHERE identity = ?6 AND state = ?7",
            params![
                DONE,
                until,
                answer.status().as_u16(),
                answer.encoded_headers(),
                &answer.body()[..],
                identity.0,
                UNKNOWN,
            ],
        ),
        None => execute(
            connection,
            "DELETE FROM idempotency_records WHERE identity = ?1 AND state = ?2",
            params![identity.0, UNKNOWN],
        ),
    };
    Ok(changed? > 0)
}
