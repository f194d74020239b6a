//! Envelopes as they come in CBOR.
//!
//! The types that agents write them with can't be read back from every decoder.

use candid::Principal;
use ic_certification::Label;
use ic_transport_types::{Envelope, EnvelopeContent, SenderInfo, SignedDelegation};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use std::borrow::Cow;

#[derive(Deserialize)]
struct WireEnvelope {
    content: WireContent,
    sender_pubkey: Option<ByteBuf>,
    sender_sig: Option<ByteBuf>,
    sender_delegation: Option<Vec<SignedDelegation>>,
}

/// The fields of all kinds of requests.
#[derive(Deserialize)]
struct WireContent {
    request_type: String,
    ingress_expiry: u64,
    sender: ByteBuf,
    nonce: Option<ByteBuf>,
    canister_id: Option<ByteBuf>,
    method_name: Option<String>,
    arg: Option<ByteBuf>,
    sender_info: Option<SenderInfo>,
    paths: Option<Vec<Vec<Label>>>,
}

/// Reads an envelope; why it isn't one.
pub(super) fn read(bytes: &[u8]) -> Result<Envelope<'static>, String> {
    let envelope: WireEnvelope = ciborium::from_reader(bytes).map_err(|error| error.to_string())?;
    Ok(Envelope {
        content: Cow::Owned(envelope.content.read()?),
        sender_pubkey: envelope.sender_pubkey.map(ByteBuf::into_vec),
        sender_sig: envelope.sender_sig.map(ByteBuf::into_vec),
        sender_delegation: envelope.sender_delegation,
    })
}

impl WireContent {
    fn read(self) -> Result<EnvelopeContent, String> {
        let ingress_expiry = self.ingress_expiry;
        let sender = principal("sender", &self.sender)?;
        if self.request_type == "read_state" {
            let paths = present("paths", self.paths)?;
            return Ok(EnvelopeContent::ReadState {
                ingress_expiry,
                sender,
                paths,
            });
        }
        let nonce = self.nonce.map(ByteBuf::into_vec);
        let canister_id = principal("canister_id", &present("canister_id", self.canister_id)?)?;
        let method_name = present("method_name", self.method_name)?;
        let arg = present("arg", self.arg)?.into_vec();
        let sender_info = self.sender_info;
        match self.request_type.as_str() {
            "call" => Ok(EnvelopeContent::Call {
                nonce,
                ingress_expiry,
                sender,
                canister_id,
                method_name,
                arg,
                sender_info,
            }),
            "query" => Ok(EnvelopeContent::Query {
                nonce,
                ingress_expiry,
                sender,
                canister_id,
                method_name,
                arg,
                sender_info,
            }),
            other => Err(format!("unknown request_type `{other}`")),
        }
    }
}

fn present<T>(name: &str, field: Option<T>) -> Result<T, String> {
    field.ok_or_else(|| format!("missing field `{name}`"))
}

fn principal(name: &str, bytes: &[u8]) -> Result<Principal, String> {
    Principal::try_from_slice(bytes).map_err(|error| format!("field `{name}`: {error}"))
}
