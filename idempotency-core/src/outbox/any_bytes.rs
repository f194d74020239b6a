//! Bytes that something else has written, where the outbox reads its own, or what servers and callers sent. The property tests try them,
//! and the fuzz target in `fuzz/`.

use super::{
    answer::{self, Verdict},
    keep::Keep,
    message::Message,
    outcall::Outcall,
    outcome::{Outcome, Reason},
    request::Request,
    response::Response,
    stored::Stored,
    transform::transformed,
};
use crate::{runtime::Rejected, time::Timestamp};
use candid::{Principal, encode_one};
use ic_management_canister_types::{HttpHeader, HttpRequestResult, TransformArgs};

/// Reads bytes as each kind of those that it may find. They are refused, or whatever is read is written as it was.
#[doc(hidden)]
pub fn __reads_any_bytes(bytes: &[u8]) -> bool {
    // Nothing in these is written again; they must not panic.
    let _ = Message::read(bytes);
    let _ = transformed(bytes);
    let _ = answer::judge(&answer::read(Ok(bytes.to_vec())), Timestamp::default());
    is_stored(bytes)
        && is_outcome(bytes)
        && is_kept(bytes)
        && is_answered(bytes)
        && is_rejected(bytes)
        && is_sent(bytes)
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

/// As what the transform is to keep.
fn is_kept(bytes: &[u8]) -> bool {
    Keep::read(bytes).is_none_or(|keep| {
        let mut written = vec![];
        keep.put(&mut written);
        written == bytes
    })
}

/// As a server's answer, and what the transform is to keep of it.
fn is_answered(bytes: &[u8]) -> bool {
    let (context, rest) = bytes.split_at(bytes.len() / 2);
    let Some((&byte, body)) = rest.split_first() else {
        return true;
    };
    // Half of them a success or a redirect, the others an error.
    let status = u16::from(byte) + if byte < 128 { 200 } else { 272 };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let header = |name: &[u8], value: &[u8]| HttpHeader {
        name: text(name),
        value: text(value),
    };
    let response = HttpRequestResult {
        status: status.into(),
        headers: vec![header(b"Retry-After", body), header(body, context)],
        body: body.to_vec(),
    };
    let context = context.to_vec();
    let Ok(argument) = encode_one(TransformArgs { response, context }) else {
        return false;
    };
    let answer = answer::read(Ok(transformed(&argument)));
    let is_short = |answer: &Response| answer.body.len() <= body.len();
    answer.as_ref().map_or(true, is_short) && is_judged(&answer, bytes)
}

/// As what the IC says of a call.
fn is_rejected(bytes: &[u8]) -> bool {
    let Some((code, message)) = bytes.split_first() else {
        return true;
    };
    let rejected = Rejected {
        code: (*code).into(),
        message: String::from_utf8_lossy(message).into_owned(),
    };
    is_judged(&Err(rejected), bytes)
}

/// What is kept of an answer is read as it was, and read or refused with a byte of it changed.
fn is_judged(answer: &Result<Response, Rejected>, bytes: &[u8]) -> bool {
    let reason = match answer::judge(answer, Timestamp::default()) {
        Verdict::Acknowledged => Reason::Unreadable,
        Verdict::Refused => Reason::Refused,
        Verdict::NotSent(reason) | Verdict::Uncertain { reason, .. } => reason,
    };
    let outcome = Outcome::Unknown {
        reason,
        limit: None,
        answer: answer.clone().ok(),
    };
    let mut stored = outcome.bytes();
    if Outcome::read(&stored) != Some(outcome) {
        return false;
    }
    if let [at, byte, ..] = *bytes {
        let at = usize::from(at) % stored.len();
        stored[at] = byte;
    }
    is_outcome(&stored)
}

/// As the text of a request that a user may have written: in all places, or line by line.
fn is_sent(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut line = || lines.next().unwrap_or_default();
    let (url, name, value) = (format!("https://{}", line()), line(), line());
    let by_line = Request::post(url)
        .header(name, value)
        .idempotency_key(line())
        .keep_header(line())
        .extract(line())
        .verify(Request::get(format!("https://{}", line())));
    let request = Request::post(&*text).header(&text, &text).extract(&*text);
    let or_in_part = Request::post(format!("https://a.example/{text}"))
        .header("a", &text)
        .body(bytes);
    [by_line, request, or_in_part].iter().all(|request| {
        let checked = request.check();
        checked.map_or(true, |checked| Stored::read(&checked.stored).is_some())
    })
}
