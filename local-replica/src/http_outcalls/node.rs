//! What one node makes of the response that it has got.

use candid::{Nat, Principal};
use ic_management_canister_types::{
    HttpHeader, HttpRequestResult, TransformArgs, TransformContext,
};
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::CanisterHttpReply;

use super::consensus::Content;
use super::{Outcall, limits};
use crate::composite::{QueryCall, QueryTree};
use crate::errors::Reject;
use crate::management;
use crate::replica::Replica;

/// Nodes truncate their reject messages to this.
pub(super) const MAX_REJECT_MESSAGE: usize = 1_024;

impl Replica {
    /// Checks the response, and runs the transform function where there is one.
    pub(super) fn node_content(
        &mut self,
        outcall: &Outcall,
        response: Result<CanisterHttpReply, Reject>,
    ) -> Content {
        let content = self.checked_and_transformed(outcall, response?);
        content.map_err(|mut reject| {
            if reject.message.len() > MAX_REJECT_MESSAGE {
                reject.message = shortened(&reject.message);
            }
            reject
        })
    }

    fn checked_and_transformed(&mut self, outcall: &Outcall, reply: CanisterHttpReply) -> Content {
        let limit = outcall.max_response_bytes();
        let body = reply.body.len();
        let response = HttpRequestResult {
            status: Nat::from(reply.status),
            headers: reply
                .headers
                .into_iter()
                .map(|header| HttpHeader {
                    name: header.name,
                    value: header.value,
                })
                .collect(),
            body: reply.body,
        };
        limits::check_download(&response.headers, body, limit).map_err(fatal)?;
        limits::check_message(&response.headers, body).map_err(fatal)?;
        let Some(transform) = &outcall.args.transform else {
            return management::reply(&response);
        };
        let transformed = self.transform(transform, response);
        let size = match &transformed {
            Ok(reply) => reply.len(),
            Err(reject) => reject.for_canister().1.len(),
        };
        if size as u64 > limit {
            return Err(fatal(format!(
                "Transformed http response exceeds limit: {limit}"
            )));
        }
        transformed
    }

    fn transform(&mut self, transform: &TransformContext, response: HttpRequestResult) -> Content {
        let (receiver, method) = (
            transform.function.0.principal,
            transform.function.0.method.clone(),
        );
        let module = self.canister(receiver)?.module();
        if module.is_some_and(|module| module.has_composite_query(&method)) {
            return Err(Reject::new(
                ErrorCode::CompositeQueryCalledInReplicatedMode,
                "Composite query cannot be used as transform in canister http outcalls.",
            ));
        }
        let payload = management::reply(&TransformArgs {
            response,
            context: transform.context.clone(),
        })?;
        let call = QueryCall {
            sender: Principal::management_canister(),
            receiver,
            method,
            payload,
            data_certificate: None,
        };
        self.evaluate(call, &mut QueryTree::default())
    }
}

/// A reject whose code is `SysFatal`.
fn fatal(text: String) -> Reject {
    Reject::plain(ErrorCode::SubnetOversubscribed, text)
}

/// Nine tenths of what fits from the beginning, and the rest from the end.
fn shortened(text: &str) -> String {
    const DOTS: &str = "...";
    let room = MAX_REJECT_MESSAGE - DOTS.len();
    let (head, tail) = (room * 9 / 10, room - room * 9 / 10);
    let head = text.floor_char_boundary(head);
    let tail = text.ceil_char_boundary(text.len() - tail);
    format!("{}{DOTS}{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_beginning_and_end() {
        let text = format!("begin{}end", "ä".repeat(3_000));
        let short = shortened(&text);
        assert!(short.len() <= MAX_REJECT_MESSAGE, "{}", short.len());
        assert!(short.len() > MAX_REJECT_MESSAGE - 8, "{}", short.len());
        assert!(short.starts_with("beginä") && short.ends_with("äend"));
        assert!(short.contains("ä...ä"));
    }
}
