//! HTTPS outcalls with mocked responses.

use std::time::Duration;

use candid::{Func, Nat, Principal};
use ic_management_canister_types::{HttpRequestResult, TransformContext, TransformFunc};
use pocket_ic::PocketIc;
use pocket_ic::common::rest::{
    CanisterHttpMethod, CanisterHttpReject, CanisterHttpResponse, RawMessageId,
};

use crate::world::{USER, answer, install, outcall_arg, pocket_ic, puppet, response, seen_reject};

fn start(pic: &PocketIc, id: Principal, transform: Option<TransformContext>) -> RawMessageId {
    let message = pic
        .submit_call(id, USER, "outcall", outcall_arg(transform))
        .unwrap();
    pic.tick();
    pic.tick();
    message
}

fn body(reply: &[u8]) -> (Nat, Vec<u8>) {
    let result: HttpRequestResult = candid::decode_one(reply).unwrap();
    (result.status, result.body)
}

#[test]
fn response_is_delivered() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let message = start(&pic, id, None);
    let pending = pic.get_canister_http();
    let [request] = pending.as_slice() else {
        panic!("one outcall: {pending:?}");
    };
    assert_eq!(request.url, "https://example.com/");
    assert_eq!(request.http_method, CanisterHttpMethod::GET);
    assert_eq!(request.max_response_bytes, Some(1_000));
    assert_eq!(request.headers.len(), 1);
    assert_eq!(Some(request.subnet_id), pic.get_subnet(id));
    answer(&pic, request, response(b"hello"));
    assert!(pic.get_canister_http().is_empty());
    let reply = pic.await_call(message).unwrap();
    assert_eq!(body(&reply), (Nat::from(200_u8), b"hello".to_vec()));
}

#[test]
fn outcall_is_pending_after_two_rounds_and_answered_after_two_more() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let message = pic
        .submit_call(id, USER, "outcall", outcall_arg(None))
        .unwrap();
    pic.tick();
    assert!(pic.get_canister_http().is_empty());
    pic.tick();
    answer(&pic, &pic.get_canister_http()[0], response(b"hello"));
    pic.tick();
    assert!(pic.ingress_status(message.clone()).is_none());
    pic.tick();
    assert!(pic.ingress_status(message).is_some());
}

#[test]
fn reject_is_delivered() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let message = start(&pic, id, None);
    let reject = CanisterHttpReject {
        reject_code: 2,
        message: "no route".to_owned(),
    };
    let request = &pic.get_canister_http()[0];
    answer(
        &pic,
        request,
        CanisterHttpResponse::CanisterHttpReject(reject),
    );
    assert_eq!(
        seen_reject(pic.await_call(message)),
        (2, "no route".to_owned())
    );
}

#[test]
fn transform_function_is_called() {
    // Replies with a fixed response whatever it is given.
    let fixed = HttpRequestResult {
        status: Nat::from(201_u8),
        headers: Vec::new(),
        body: b"transformed".to_vec(),
    };
    let bytes: String = candid::encode_one(&fixed)
        .unwrap()
        .iter()
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    let length = candid::encode_one(&fixed).unwrap().len();
    let transform = format!(
        r#"  (data (i32.const 50000) "{bytes}")
  (func (export "canister_query fixed")
    (call $append (i32.const 50000) (i32.const {length})) (call $msg_reply))
  (func $perform"#
    );
    let wat = include_str!("puppet.wat").replacen("  (func $perform", &transform, 1);
    let pic = pocket_ic();
    let id = install(&pic, wat::parse_str(wat).unwrap());
    let message = start(
        &pic,
        id,
        Some(TransformContext {
            function: TransformFunc(Func {
                principal: id,
                method: "fixed".to_owned(),
            }),
            context: Vec::new(),
        }),
    );
    answer(&pic, &pic.get_canister_http()[0], response(b"original"));
    let reply = pic.await_call(message).unwrap();
    assert_eq!(body(&reply), (Nat::from(201_u8), b"transformed".to_vec()));
}

#[test]
fn unanswered_outcall_times_out() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let message = start(&pic, id, None);
    pic.advance_time(Duration::from_secs(61));
    pic.tick();
    pic.tick();
    let (code, text) = seen_reject(pic.await_call(message));
    assert_eq!(code, 2);
    assert!(text.contains("timed out"), "{text}");
    assert!(pic.get_canister_http().is_empty());
}
