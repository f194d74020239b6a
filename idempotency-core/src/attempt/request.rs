//! How the store knows a request: its identity, and the counters that it is checked against.

use super::endpoint::{Description, Endpoint, RequestId};
use crate::{
    error::IdempotencyError,
    identity::{Argument, EarlyName, Identity, RequestKey, Scope},
    sequence::Sequence,
};
use candid::Principal;

/// A request's name, and the names of the counters that it is checked against.
pub(super) struct Identified {
    pub(super) identity: Identity,
    pub(super) sequence: Option<Sequence>,
    pub(super) scope: Option<Identity>,
}

/// Names a request; `None` if it has no key and needs none. Whoever names one must be told from others.
///
/// `early`: by what name the store was asked before the argument was decoded, if it was. `has_quota`: whether the store counts what a scope
/// takes.
pub(super) fn identify<A, R>(
    endpoint: &Endpoint<A, R>,
    description: &Description,
    argument: &Argument<'_>,
    caller: &Principal,
    (early, has_quota): (Option<EarlyName>, bool),
) -> Result<Option<Identified>, IdempotencyError> {
    let id = match &description.id {
        None if !endpoint.required => return Ok(None),
        _ if endpoint.refuses(caller) => return Err(IdempotencyError::AnonymousRefused),
        None => return Err(IdempotencyError::MissingKey),
        Some(id) => id,
    };
    let scope = &description.scope;
    let (identity, sequence) = match id {
        RequestId::Key(key) => (Identity::new(endpoint.name, scope, caller, key)?, None),
        RequestId::Arguments => match early {
            Some(EarlyName::Identity(identity)) => (identity, None),
            Some(EarlyName::Alias(_)) | None => {
                let key = RequestKey::of_argument(argument);
                (Identity::new(endpoint.name, scope, caller, &key)?, None)
            }
        },
        RequestId::Untimed => return Err(IdempotencyError::key_without_time()),
        RequestId::Number {
            number,
            lane,
            max_in_flight,
            first_incomplete,
        } => {
            let sequence = Sequence {
                lane: Identity::of_lane(endpoint.name, scope, caller, lane)?,
                number: *number,
                max_in_flight: *max_in_flight,
                first_incomplete: *first_incomplete,
                is_shared: !matches!(scope, Scope::Caller),
            };
            (Identity::of_number(&sequence.lane, *number), Some(sequence))
        }
    };
    let scope = match has_quota {
        true => Some(Identity::of_scope(endpoint.name, scope, caller)?),
        false => None,
    };
    Ok(Some(Identified {
        identity,
        sequence,
        scope,
    }))
}
