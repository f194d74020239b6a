//! The transform: what is left of a server's answer before replicas compare what they got.
//!
//! The IC calls it as a query of this canister, on each replica that sent the request, with the answer and the context that came with the
//! request. It keeps
//! - the status;
//! - the headers that the request names, in the order in which it names them, with their names in lower case; and `retry-after` of an
//!   answer that one replica got. Replicas that ask at different moments would be told different times, and not agree on the answer;
//! - of a successful answer (200 to 299) the body, what a JSON pointer leads to in it, or nothing;
//! - of any other answer that one replica got the first 1,024 bytes of the body, so that a dead letter says why. Such bodies often have
//!   the number of a request or the time in them: if replicas compared them, they would not agree that the request was refused.
//!
//! It traps on nothing: an attempt whose transform traps is lost with what the server said. What it does not know, such as the context of
//! a later version, leaves nothing but the status. Queries are public, so anybody may call it; he learns what he says himself.

use super::{json, keep::Keep};
use crate::{
    codec,
    runtime::{Canister, Runtime},
};
use ic_management_canister_types::{HttpHeader, HttpRequestResult, TransformArgs};

/// What is kept of the body of an answer that is no success, in bytes.
const MAX_ERROR_BODY: usize = 1_024;

/// Proof that the canister exports the transform, without which no answer could be received: what
/// [`export_transform!`](super::export_transform) defines, and nothing else does.
#[derive(Clone, Copy, Debug)]
pub struct Transform {
    name: &'static str,
}

impl Transform {
    /// Only what exports a query of that name may call it.
    #[doc(hidden)]
    pub const fn __exported(name: &'static str) -> Self {
        Self { name }
    }

    /// Of a canister that there is not.
    #[cfg(test)]
    pub(crate) const fn for_tests() -> Self {
        Self { name: "transform" }
    }

    /// The name of the query.
    pub(crate) fn name(self) -> &'static str {
        self.name
    }
}

/// Exports the transform of the canister's outboxes, and defines a constant that proves it.
///
/// ```
/// use idempotency_core::outbox::{Transform, export_transform};
///
/// export_transform!(TRANSFORM);
///
/// /// As `Outbox::new` does.
/// fn takes(_: Transform) {}
/// takes(TRANSFORM);
/// ```
///
/// It stands once in a canister, however many outboxes there are; `export_transform!(pub(crate) TRANSFORM)` lets other modules use the
/// constant. The query is called `<idempotency outbox> transform`, a name that no durable method's own has, and is not in the canister's
/// Candid interface.
#[macro_export]
#[doc(hidden)]
macro_rules! __export_outbox_transform {
    ($visibility:vis $name:ident) => {
        /// The transform of the canister's outboxes.
        $visibility const $name: $crate::outbox::Transform = {
            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "canister_query <idempotency outbox> transform")]
            extern "C" fn transform() {
                $crate::outbox::answer_transform();
            }
            $crate::outbox::Transform::__exported("<idempotency outbox> transform")
        };
    };
}

/// The body of the exported query.
#[doc(hidden)]
pub fn answer_transform() {
    Canister.reply(&transformed(&Canister.argument()));
}

/// The reply to an argument, whatever it is.
pub(super) fn transformed(argument: &[u8]) -> Vec<u8> {
    let decoded: Result<(TransformArgs,), _> = codec::decode(argument);
    let kept = match decoded {
        Ok((TransformArgs { response, context },)) => keep(response, &context),
        // With a status that no server sends, by which it is known for what it is.
        Err(_) => HttpRequestResult::default(),
    };
    candid::encode_one(Kept::of(&kept)).unwrap_or_default()
}

pub(super) fn keep(response: HttpRequestResult, context: &[u8]) -> HttpRequestResult {
    let HttpRequestResult {
        status,
        headers,
        mut body,
    } = response;
    let Some(keep) = Keep::read(context) else {
        return HttpRequestResult {
            status,
            ..Default::default()
        };
    };
    let is_success = matches!(u16::try_from(&status.0), Ok(200..=299));
    if is_success {
        match keep.pointer {
            _ if !keep.is_body_kept => body.clear(),
            Some(pointer) => body = json::extract(&body, pointer).unwrap_or_default(),
            None => {}
        }
    } else if keep.is_replicated {
        body.clear();
    } else {
        body.truncate(MAX_ERROR_BODY);
    }
    let mut names: Vec<&str> = keep.names().collect();
    if !keep.is_replicated && !names.contains(&"retry-after") {
        names.push("retry-after");
    }
    let mut kept = Vec::new();
    for (index, name) in names.iter().enumerate() {
        // A header that is named twice is kept once.
        if names[..index].contains(name) {
            continue;
        }
        let has_name = headers
            .iter()
            .filter(|it| it.name.eq_ignore_ascii_case(name));
        kept.extend(has_name.map(|it| HttpHeader {
            name: (*name).to_owned(),
            value: it.value.clone(),
        }));
    }
    HttpRequestResult {
        status,
        headers: kept,
        body,
    }
}

/// As the IC's type is written. That has a body of numbers, which candid writes one by one.
#[derive(candid::CandidType)]
struct Kept<'a> {
    status: &'a candid::Nat,
    headers: &'a [HttpHeader],
    body: &'a serde_bytes::Bytes,
}

impl<'a> Kept<'a> {
    fn of(result: &'a HttpRequestResult) -> Self {
        Self {
            status: &result.status,
            headers: &result.headers,
            body: serde_bytes::Bytes::new(&result.body),
        }
    }
}
