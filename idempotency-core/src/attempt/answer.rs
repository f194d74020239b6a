//! Answers: replies as they are sent and kept, refusals, and what a retry gets.

use super::endpoint::Endpoint;
use crate::{access::StoreAccess, codec::Encoded, error::IdempotencyError, store::Reply};

/// A method's reply in candid.
pub(super) struct Answer {
    /// What the first caller is sent.
    pub(super) first: Vec<u8>,
    /// What `on_replay` has made of it.
    again: Option<Vec<u8>>,
}

impl Answer {
    /// What is kept of it.
    pub(super) fn kept(&self) -> Reply<&[u8]> {
        match &self.again {
            Some(again) => Reply::for_retries(again),
            None => Reply::first(&self.first),
        }
    }

    /// What a retry is sent.
    pub(super) fn for_retries(self) -> Vec<u8> {
        self.again.unwrap_or(self.first)
    }
}

impl<A, R> Endpoint<A, R> {
    /// A reply of which nothing is kept, or which is kept as the first one; or the text of a trap.
    pub(super) fn encoded(&self, reply: R) -> Result<Vec<u8>, String> {
        (self.encode)(reply).map_err(|error| self.unencodable(&error))
    }

    /// A reply that is kept, with what retries get; or the text of a trap.
    ///
    /// In debug builds that is made a second time, as it would be made of a first reply that was kept: so `on_replay` is found out
    /// if it depends on something else.
    pub(super) fn answer(&self, reply: R) -> Result<Answer, String> {
        let Some(on_replay) = &self.on_replay else {
            let first = self.encoded(reply)?;
            return Ok(Answer { first, again: None });
        };
        let [first, again] = (on_replay.both)(reply).map_err(|error| self.unencodable(&error))?;
        if cfg!(debug_assertions) && self.replayed(Reply::first(first.clone()))? != again {
            return Err(format!(
                "on_replay of {} has made two different replies of one: let it depend on the first reply alone, and on nothing that \
                 candid does not carry, that another call changes or that the clock says",
                self.name
            ));
        }
        let again = Some(again);
        Ok(Answer { first, again })
    }

    fn unencodable(&self, error: &candid::Error) -> String {
        format!("the reply of {} does not encode: {error:#}", self.name)
    }

    /// The bytes that tell the client of an error; or the text of a trap, if the reply's type has no place for one.
    pub(super) fn refused(&self, error: IdempotencyError) -> Result<Vec<u8>, String> {
        match (self.refuse)(error) {
            Ok(reply) => self.encoded(reply),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What a retry is answered with, of the reply that was kept; or the text of a trap.
    pub(super) fn replayed(&self, reply: Reply) -> Result<Vec<u8>, String> {
        let again = self.on_replay.as_ref().map(|on_replay| on_replay.again);
        replayed(self.name, again, reply)
    }

    /// Tells the client of an error. If that is a trap, the count is undone with all else.
    pub(super) fn refusal(
        &self,
        store: &impl StoreAccess,
        error: IdempotencyError,
    ) -> Result<Vec<u8>, String> {
        store.with(|store| store.count_refusal(&error));
        self.refused(error)
    }

    /// Answers a retry with the reply that was kept.
    pub(super) fn replay(&self, store: &impl StoreAccess, reply: Reply) -> Result<Vec<u8>, String> {
        store.with(|store| store.count_replay());
        self.replayed(reply)
    }
}

/// What a retry is answered with, of the reply that was kept: as the `on_replay` of the endpoint that has this name makes it.
pub(super) fn replayed(
    name: &str,
    again: Option<fn(&[u8]) -> Encoded>,
    reply: Reply,
) -> Result<Vec<u8>, String> {
    match again {
        Some(again) if !reply.is_for_retries => again(&reply.bytes).map_err(|error| {
            format!(
                "on_replay of {name} can't read the reply of the first call: {error:#}; keep the reply's type compatible"
            )
        }),
        _ => Ok(reply.bytes),
    }
}
