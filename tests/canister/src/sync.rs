//! Endpoints that answer in the message that they are called in.

use crate::{
    Answer, Failure,
    state::{DROPPING, MAIN, RETAINING, SMALL, is_on, ran},
};
use idempotency_core::{Timestamp, idempotent};

fn answer(endpoint: &str, text: &str) -> String {
    format!("{}: {text}", ran(endpoint))
}

fn not_locked() -> Result<(), String> {
    if is_on("lock") {
        Err("locked".into())
    } else {
        Ok(())
    }
}

fn backwards(answer: Answer) -> Answer {
    answer.map(|text| text.chars().rev().collect())
}

#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update]
pub(crate) fn say(key: Vec<u8>, text: String) -> Answer {
    let answer = answer("say", &text);
    if is_on("trap") {
        ic_cdk::trap("switched to trap");
    }
    Ok(answer)
}

/// The same endpoint after a renaming.
#[idempotent(store = MAIN, key = key, name = "say")]
#[ic_cdk::update]
fn say_renamed(key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say", &text))
}

#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update]
fn say_plain(key: Vec<u8>, text: String) -> String {
    answer("say_plain", &text)
}

#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update]
fn say_optional(key: Option<Vec<u8>>, text: String) -> Answer {
    Ok(answer("say_optional", &text))
}

#[idempotent(store = MAIN, key = key, required)]
#[ic_cdk::update]
fn say_required(key: Option<Vec<u8>>, text: String) -> Answer {
    Ok(answer("say_required", &text))
}

#[idempotent(store = MAIN, key = key, created_at = Timestamp::from_nanos(*created_at))]
#[ic_cdk::update]
fn say_dated(key: Vec<u8>, created_at: u64, text: String) -> Answer {
    Ok(answer("say_dated", &text))
}

#[idempotent(store = MAIN, key = key, created_at = key)]
#[ic_cdk::update]
pub(crate) fn say_timed(key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say_timed", &text))
}

#[idempotent(store = MAIN, key = args)]
#[ic_cdk::update]
pub(crate) fn say_by_args(text: String, number: u64) -> Answer {
    Ok(answer("say_by_args", &format!("{text} {number}")))
}

#[idempotent(store = MAIN, key = key, scope = global)]
#[ic_cdk::update]
pub(crate) fn say_to_all(key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say_to_all", &text))
}

#[idempotent(store = MAIN, key = key, scope = room)]
#[ic_cdk::update]
fn say_in(room: String, key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say_in", &format!("{text} in {room}")))
}

#[idempotent(store = MAIN, key = key, anonymous)]
#[ic_cdk::update]
fn say_anonymously(key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say_anonymously", &text))
}

#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update(guard = "not_locked")]
fn say_guarded(key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say_guarded", &text))
}

#[idempotent(store = MAIN, key = key, fingerprint = off)]
#[ic_cdk::update]
fn say_loosely(key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say_loosely", &text))
}

#[idempotent(store = MAIN, key = key, fingerprint = text)]
#[ic_cdk::update]
fn say_with_mood(key: Vec<u8>, text: String, mood: String) -> Answer {
    Ok(answer("say_with_mood", &format!("{text}, {mood}")))
}

#[idempotent(store = MAIN, key = key, on_replay = backwards)]
#[ic_cdk::update]
pub(crate) fn say_backwards(key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say_backwards", &text))
}

#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update]
fn say_two(key: Vec<u8>, text: String) -> (String, u64) {
    let number = ran("say_two");
    (text, number)
}

#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update]
fn say_nothing(key: Vec<u8>) {
    ran("say_nothing");
}

fn decode(bytes: Vec<u8>) -> (Vec<u8>, u64) {
    let length = bytes.len() as u64;
    (bytes, length)
}

fn encode((number, length): (u64, u64)) -> Vec<u8> {
    format!("{number}: {length} bytes").into_bytes()
}

/// Neither argument nor reply is candid.
#[idempotent(store = MAIN, key = bytes)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode")]
fn say_raw(bytes: Vec<u8>, length: u64) -> (u64, u64) {
    (ran("say_raw"), length)
}

#[idempotent(store = MAIN, key = key)]
#[ic_cdk::update]
fn fail(key: Vec<u8>) -> Answer {
    Err(Failure::Own(answer("fail", "failed")))
}

#[idempotent(store = MAIN, key = key, errors = keep)]
#[ic_cdk::update]
fn fail_for_good(key: Vec<u8>) -> Answer {
    Err(Failure::Own(answer("fail_for_good", "failed")))
}

#[idempotent(store = SMALL, key = *key)]
#[ic_cdk::update]
fn say_small(key: u64, bytes: u32) -> Answer {
    let number = ran("say_small");
    Ok(format!("{number}: {}", "x".repeat(bytes as usize)))
}

#[idempotent(store = RETAINING, key = key)]
#[ic_cdk::update]
fn say_retained(key: Vec<u8>, text: String) -> Answer {
    Ok(answer("say_retained", &text))
}

#[idempotent(store = DROPPING, key = *key)]
#[ic_cdk::update]
fn say_long(key: u64, bytes: u32) -> Answer {
    Ok(answer("say_long", &"x".repeat(bytes as usize)))
}

/// An endpoint whose reply is so short that it is never given up.
#[idempotent(store = DROPPING, key = *key)]
#[ic_cdk::update]
fn say_short(key: u64) -> u64 {
    ran("say_short")
}
