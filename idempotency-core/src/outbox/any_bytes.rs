//! Bytes that something else has written, where the outbox reads its own, or what servers and callers sent. The property tests try them,
//! and the fuzz target in `fuzz/`.

use super::{
    answer,
    keep::Keep,
    message::Message,
    outcall::Outcall,
    outcome::Outcome,
    request::Request,
    stored::Stored,
    transform::{keep, transformed},
};
use crate::time::Timestamp;
use candid::Principal;
use ic_management_canister_types::{HttpHeader, HttpRequestResult};

/// Reads bytes as each kind of those that it may find. They are refused, or whatever is read is written as it was.
#[doc(hidden)]
pub fn __reads_any_bytes(bytes: &[u8]) -> bool {
    // Nothing in these is written again; they must not panic.
    let _ = Message::read(bytes);
    let _ = transformed(bytes);
    let _ = answer::judge(&answer::read(Ok(bytes.to_vec())), Timestamp::default());
    is_stored(bytes) && is_outcome(bytes) && is_kept(bytes) && is_sent(bytes)
}

fn is_stored(bytes: &[u8]) -> bool {
    let argument = |outcall: &Outcall| outcall.argument(Principal::anonymous(), "t", Some("k"));
    Stored::read(bytes).is_none_or(|stored| {
        let verify = stored.verify();
        stored.bytes() == bytes
            && !argument(stored.outcall()).is_empty()
            && verify.is_none_or(|verify| !argument(verify).is_empty())
    })
}

fn is_outcome(bytes: &[u8]) -> bool {
    Outcome::read(bytes).is_none_or(|outcome| {
        let within = Outcome::read(&outcome.clone().bytes_within(0));
        let is_dead_letter = within.map(|within| within.is_dead_letter());
        Outcome::read(&outcome.bytes()) == Some(outcome.clone())
            && is_dead_letter == Some(outcome.is_dead_letter())
    })
}

/// As what the transform is to keep, and as the answer that it gets.
fn is_kept(bytes: &[u8]) -> bool {
    let (context, rest) = bytes.split_at(bytes.len() / 2);
    let header = HttpHeader {
        name: String::from_utf8_lossy(rest).into_owned(),
        value: String::from_utf8_lossy(context).into_owned(),
    };
    let response = HttpRequestResult {
        status: 200_u8.into(),
        headers: vec![header],
        body: rest.to_vec(),
    };
    let longest = response.body.len();
    let kept = keep(response, context);
    kept.body.len() <= longest
        && Keep::read(bytes).is_none_or(|keep| {
            let mut written = vec![];
            keep.put(&mut written);
            written == bytes
        })
}

/// As the text of a request that a user may have written.
fn is_sent(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let request = Request::post(&*text).header(&text, &text).extract(&*text);
    let or_in_part = Request::post(format!("https://a.example/{text}"))
        .header("a", &text)
        .body(bytes);
    [request, or_in_part].iter().all(|request| {
        let checked = request.check();
        checked.map_or(true, |checked| Stored::read(&checked.stored).is_some())
    })
}
