//! Envelopes: requests with the signatures that say who sent them.

use candid::Principal;
use ic_transport_types::{
    Delegation, DelegationPermissions, Envelope, EnvelopeContent, RequestId, SignedDelegation,
};
use time::OffsetDateTime;

use super::{signature, wire};
use crate::errors::ApiError;

/// How far ahead an ingress expiry may be, and how much more for a clock that is fast.
const MAX_INGRESS_TTL_NS: u64 = 300_000_000_000;
const PERMITTED_DRIFT_NS: u64 = 60_000_000_000;
/// As on the IC.
const MAX_DELEGATIONS: usize = 20;
/// As on the IC, in bytes.
const MAX_NONCE: usize = 32;
/// The IC's limit for the targets of a delegation.
const MAX_TARGETS: usize = 1_000;

/// A request that its sender has signed. Only its time is still to be checked.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What is asked for.
    pub content: EnvelopeContent,
    /// The hash of the content.
    pub id: RequestId,
    delegations: Vec<Delegation>,
}

impl Signed {
    /// Reads an envelope and checks its signatures.
    pub fn open(bytes: &[u8]) -> Result<Self, ApiError> {
        let envelope = wire::read(bytes).map_err(|error| {
            ApiError::bad_request(format!(
                "Could not parse body as an envelope in CBOR: {error}"
            ))
        })?;
        let id = ic_transport_types::to_request_id(&envelope.content)
            .map_err(|error| ApiError::bad_request(format!("No request id: {error}")))?;
        authenticate(&envelope, &id.signable())?;
        let delegations = envelope.sender_delegation.unwrap_or_default();
        let request = Self {
            content: envelope.content.into_owned(),
            id,
            delegations: delegations.into_iter().map(|it| it.delegation).collect(),
        };
        request.check_nonce()?;
        request.check_delegations()?;
        Ok(request)
    }

    /// Whether nobody is known to have sent it.
    pub fn is_anonymous(&self) -> bool {
        *self.content.sender() == Principal::anonymous()
    }

    /// Refuses a request that isn't valid at this time, in the IC's words.
    pub fn check_expiry(&self, now_ns: u64) -> Result<(), ApiError> {
        let latest_ns = now_ns.saturating_add(MAX_INGRESS_TTL_NS + PERMITTED_DRIFT_NS);
        let expiry_ns = self.content.ingress_expiry();
        if !(now_ns..=latest_ns).contains(&expiry_ns) {
            return Err(ApiError::bad_request(format!(
                "Invalid request expiry: Specified ingress_expiry not within expected range: Minimum allowed expiry: {}, \
                 Maximum allowed expiry: {}, Provided expiry:        {}",
                date(now_ns),
                date(latest_ns),
                date(expiry_ns)
            )));
        }
        let expired = |delegation: &&Delegation| delegation.expiration < now_ns;
        match self.delegations.iter().find(expired) {
            Some(delegation) => Err(ApiError::bad_request(format!(
                "Invalid delegation expiry: Specified sender delegation has expired: Provided expiry: {}, Local replica time: {}",
                date(delegation.expiration),
                date(now_ns)
            ))),
            None => Ok(()),
        }
    }

    /// Whether the delegations let the request reach this canister.
    pub fn may_reach(&self, canister: Principal) -> bool {
        let mut targets = self.delegations.iter().filter_map(|it| it.targets.as_ref());
        targets.all(|targets| targets.contains(&canister))
    }

    fn check_nonce(&self) -> Result<(), ApiError> {
        let (EnvelopeContent::Call { nonce, .. } | EnvelopeContent::Query { nonce, .. }) =
            &self.content
        else {
            return Ok(());
        };
        match nonce.as_ref().map(Vec::len) {
            Some(length) if length > MAX_NONCE => Err(ApiError::bad_request(format!(
                "Nonce in request is too big: got {length} bytes, but at most {MAX_NONCE} are allowed."
            ))),
            _ => Ok(()),
        }
    }

    fn check_delegations(&self) -> Result<(), ApiError> {
        if self.delegations.iter().any(|it| {
            it.targets
                .as_ref()
                .is_some_and(|targets| targets.len() > MAX_TARGETS)
        }) {
            return Err(ApiError::bad_request(format!(
                "Invalid delegation: more than {MAX_TARGETS} targets"
            )));
        }
        let (EnvelopeContent::Call { canister_id, .. }
        | EnvelopeContent::Query { canister_id, .. }) = &self.content
        else {
            return Ok(());
        };
        if !self.may_reach(*canister_id) {
            return Err(ApiError::bad_request(format!(
                "Canister '{canister_id}' is not one of the delegation targets."
            )));
        }
        let queries_only = |it: &Delegation| it.permissions == Some(DelegationPermissions::Queries);
        if matches!(self.content, EnvelopeContent::Call { .. })
            && self.delegations.iter().any(queries_only)
        {
            return Err(ApiError::bad_request(
                "Invalid delegation: it permits queries only, not calls",
            ));
        }
        Ok(())
    }
}

/// Whether the sender, or whom it has delegated that to, signed these bytes.
fn authenticate(envelope: &Envelope<'_>, signed: &[u8]) -> Result<(), ApiError> {
    let sender = *envelope.content.sender();
    let is_anonymous = sender == Principal::anonymous();
    let (key, signature) = match (&envelope.sender_pubkey, &envelope.sender_sig) {
        (None, None) if is_anonymous => return Ok(()),
        (Some(key), Some(signature)) if !is_anonymous => (key, signature),
        _ if is_anonymous => {
            return Err(ApiError::bad_request(
                "Signature is not allowed for the anonymous user.",
            ));
        }
        _ => {
            return Err(ApiError::bad_request(format!(
                "Missing signature from user: {sender}"
            )));
        }
    };
    if Principal::self_authenticating(key) != sender {
        return Err(ApiError::bad_request(format!(
            "The user id '{sender}' does not match the public key '{}'",
            hex(key)
        )));
    }
    let delegations = envelope.sender_delegation.as_deref().unwrap_or_default();
    if delegations.len() > MAX_DELEGATIONS {
        return Err(ApiError::bad_request(format!(
            "Invalid delegation: Chain of delegations is too long: got {} delegations, but at most {MAX_DELEGATIONS} are allowed.",
            delegations.len()
        )));
    }
    let mut signer = key;
    for SignedDelegation {
        delegation,
        signature,
    } in delegations
    {
        signature::verify(signer, &delegation.signable(), signature)
            .map_err(|why| ApiError::bad_request(format!("Invalid delegation: {why}")))?;
        signer = &delegation.pubkey;
    }
    signature::verify(signer, signed, signature)
        .map_err(|why| ApiError::bad_request(format!("Invalid signature: {why}")))
}

fn date(time_ns: u64) -> String {
    match OffsetDateTime::from_unix_timestamp_nanos(time_ns.into()) {
        Ok(date) => {
            let time = date.time().to_string();
            format!("{} {} UTC", date.date(), time.trim_end_matches(".0"))
        }
        // After the year 9999, which 64 bits don't reach.
        Err(_) => format!("{time_ns} ns"),
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
