//! Certificates of the Internet Computer, verified with nothing but its root key: without a network, and however old they are.

use async_trait::async_trait;
use bytes::Bytes;
use candid::Principal;
use http::{Request, Response};
use ic_agent::{Agent, AgentError, Certificate, agent::HttpService, lookup_value};
use ic_cbor::CertificateToCbor as _;
use idempotency_core::Timestamp;
use serde::de::IgnoredAny;
use std::{sync::Arc, time::Duration};

/// ic-agent refuses certificates that are older than this by the local clock. No claim rests on that clock: what is said counts as of the
/// certificate's own time.
pub(crate) const ANY_AGE: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// What says of itself that it is CBOR.
const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];

/// The certificate that `bytes` encode in CBOR, and nothing more. They may be anybody's.
///
/// # Errors
/// In words.
pub(crate) fn decoded(bytes: &[u8]) -> Result<Certificate, String> {
    // ic-cbor goes as deep as the bytes say, until the stack ends. ciborium goes 256 deep: twice as deep as ic-agent.
    let mut rest = bytes;
    let _: IgnoredAny = ciborium::from_reader(&mut rest).map_err(|error| error.to_string())?;
    if !rest.is_empty() {
        return Err("something follows it".into());
    }
    Certificate::from_cbor(bytes).map_err(|error| error.to_string())
}

/// The certificate in CBOR.
pub(crate) fn encoded(certificate: &Certificate) -> Vec<u8> {
    let mut bytes = SELF_DESCRIBED.to_vec();
    // Memory does not refuse to be written.
    let _ = ciborium::into_writer(certificate, &mut bytes);
    bytes
}

/// Whether it is signed, up to the root key, by the subnet that has this canister. Takes two verifications of a BLS signature, some
/// milliseconds.
///
/// # Errors
/// [`AgentError::CertificateNotAuthorized`] if it is another subnet's; others if it is nobody's word.
pub(crate) fn verify(
    certificate: &Certificate,
    canister: Principal,
    root_key: &[u8],
) -> Result<(), AgentError> {
    let agent = Agent::builder()
        .with_url("http://localhost")
        .with_arc_http_middleware(Arc::new(NoNetwork))
        .with_ingress_expiry(ANY_AGE)
        .build()?;
    agent.set_root_key(root_key.to_vec());
    agent.verify(certificate, canister)
}

/// When it was made, by the subnet's clock.
///
/// # Errors
/// It does not say.
pub(crate) fn time(certificate: &Certificate) -> Result<Timestamp, AgentError> {
    let mut time = lookup_value(certificate, ["time".as_bytes()])?;
    Ok(Timestamp::from_nanos(leb128::read::unsigned(&mut time)?))
}

/// In place of ic-agent's HTTP client, which panics on a machine without the certificates of TLS authorities. Verifying sends nothing.
#[derive(Debug)]
struct NoNetwork;

#[async_trait]
impl HttpService for NoNetwork {
    async fn call<'a>(
        &'a self,
        _: &'a (dyn Fn() -> Result<Request<Bytes>, AgentError> + Send + Sync),
        _: usize,
        _: Option<usize>,
    ) -> Result<Response<Bytes>, AgentError> {
        Err(AgentError::MessageError("this agent sends nothing".into()))
    }
}
