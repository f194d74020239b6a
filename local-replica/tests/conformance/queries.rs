//! Queries that call queries, and the certificates that queries get.

use candid::Principal;
use pocket_ic::{ErrorCode, PocketIc, RejectResponse};

use crate::world::{
    USER, counter, install, number, pocket_ic, puppet, query, relay_arg, seen_reject, update,
};

/// Lets the puppet ask another canister, in a composite query.
fn ask(
    pic: &PocketIc,
    from: Principal,
    how: &str,
    callee: Principal,
    method: &str,
    payload: &[u8],
) -> Result<Vec<u8>, RejectResponse> {
    pic.query_call(from, USER, how, relay_arg(callee, method, payload))
}

#[test]
fn composite_query_asks_another_canister() {
    let pic = pocket_ic();
    let (caller, callee) = (puppet(&pic), puppet(&pic));
    update(&pic, callee, "inc").unwrap();
    assert_eq!(number(ask(&pic, caller, "ask", callee, "get", b"")), 1);
    let seen = ask(&pic, caller, "ask", callee, "caller", b"").unwrap();
    assert_eq!(Principal::from_slice(&seen), caller);
    assert_eq!(
        number(ask(&pic, caller, "ask", callee, "inc_query", b"")),
        2
    );
    assert_eq!((counter(&pic, caller), counter(&pic, callee)), (0, 1));
}

#[test]
fn composite_queries_ask_one_another() {
    let pic = pocket_ic();
    let [first, second, third] = [(); 3].map(|()| puppet(&pic));
    let inner = relay_arg(third, "inc_query", b"");
    assert_eq!(number(ask(&pic, first, "ask", second, "ask", &inner)), 1);
}

#[test]
fn callbacks_see_what_the_query_did_and_nobody_else_does() {
    let pic = pocket_ic();
    let (caller, callee) = (puppet(&pic), puppet(&pic));
    let counting = |callee| number(ask(&pic, caller, "ask_counting", callee, "get", b""));
    assert_eq!(counting(callee), 11);
    assert_eq!(counting(caller), 11);
    assert_eq!(number(ask(&pic, caller, "ask", caller, "get", b"")), 0);
    assert_eq!(counter(&pic, caller), 0);
}

#[test]
fn composite_queries_see_rejects() {
    let pic = pocket_ic();
    let (caller, callee) = (puppet(&pic), puppet(&pic));
    let (code, text) = seen_reject(ask(&pic, caller, "ask", callee, "inc", b""));
    assert_eq!(code, 5);
    assert!(
        text.contains("Canister has no query method 'inc'"),
        "{text}"
    );
    let (code, text) = seen_reject(ask(&pic, caller, "ask", callee, "trap_query", b""));
    assert_eq!(code, 5);
    assert!(text.contains("boom"), "{text}");
    let nobody = Principal::self_authenticating([7; 32]);
    let (code, text) = seen_reject(ask(&pic, caller, "ask", nobody, "get", b""));
    assert_eq!(code, 3, "{text}");
    let reject = ask(&pic, caller, "ask_trap_in_reply", callee, "get", b"").expect_err("a trap");
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    let reject = ask(&pic, caller, "ask_silently", callee, "get", b"").expect_err("no reply");
    assert_eq!(reject.error_code, ErrorCode::CanisterDidNotReply);
}

#[test]
fn composite_queries_are_no_updates() {
    let pic = pocket_ic();
    let (caller, callee) = (puppet(&pic), puppet(&pic));
    let arg = relay_arg(callee, "get", b"");
    let reject = pic
        .update_call(caller, USER, "ask", arg)
        .expect_err("refused");
    assert_eq!(
        reject.error_code,
        ErrorCode::CompositeQueryCalledInReplicatedMode
    );
}

#[test]
fn composite_queries_do_not_call_one_another_for_ever() {
    let pic = pocket_ic();
    let caller = puppet(&pic);
    let mut arg = relay_arg(caller, "get", b"");
    for _ in 0..3 {
        arg = relay_arg(caller, "ask", &arg);
    }
    assert_eq!(number(pic.query_call(caller, USER, "ask", arg.clone())), 0);
    for _ in 0..20 {
        arg = relay_arg(caller, "ask", &arg);
    }
    let answer = pic.query_call(caller, USER, "ask", arg);
    assert_ne!(answer, Ok(0_u32.to_le_bytes().to_vec()));
}

const CERTIFIED: &str = r#"(module
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "certified_data_set" (func $set (param i32 i32)))
  (import "ic0" "data_certificate_present" (func $present (result i32)))
  (import "ic0" "data_certificate_size" (func $size (result i32)))
  (import "ic0" "data_certificate_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory (export "memory") 1)
  (func (export "canister_update set")
    (call $arg_copy (i32.const 0) (i32.const 0) (call $arg_size))
    (call $set (i32.const 0) (call $arg_size)) (call $reply))
  (func $reply_present
    (i32.store (i32.const 0) (call $present))
    (call $append (i32.const 0) (i32.const 4)) (call $reply))
  (func (export "canister_update present_in_update") (call $reply_present))
  (func (export "canister_query present") (call $reply_present))
  (func (export "canister_query size") (drop (call $size)) (call $reply))
  (func (export "canister_query certificate")
    (call $copy (i32.const 0) (i32.const 0) (call $size))
    (call $append (i32.const 0) (call $size)) (call $reply)))"#;

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn users_queries_get_a_certificate() {
    let pic = pocket_ic();
    let id = install(&pic, wat::parse_str(CERTIFIED).unwrap());
    assert_eq!(number(query(&pic, id, "present")), 1);
    let data = [0xab; 32];
    pic.update_call(id, USER, "set", data.to_vec()).unwrap();
    let certificate = query(&pic, id, "certificate").unwrap();
    assert!(certificate.starts_with(&[0xd9, 0xd9, 0xf7]));
    let parts: [&[u8]; 6] = [
        b"tree",
        b"signature",
        b"certified_data",
        b"time",
        id.as_slice(),
        &data,
    ];
    for part in parts {
        assert!(contains(&certificate, part), "{part:?}");
    }
    pic.reinstall_canister(id, wat::parse_str(CERTIFIED).unwrap(), Vec::new(), None)
        .unwrap();
    let certificate = query(&pic, id, "certificate").unwrap();
    assert!(!contains(&certificate, &data), "the data is gone");
}

#[test]
fn nothing_but_a_users_query_gets_a_certificate() {
    let pic = pocket_ic();
    let id = install(&pic, wat::parse_str(CERTIFIED).unwrap());
    assert_eq!(number(update(&pic, id, "present_in_update")), 0);
    assert_eq!(number(update(&pic, id, "present")), 0);
    let asking = puppet(&pic);
    assert_eq!(number(ask(&pic, asking, "ask", id, "present", b"")), 0);
    let (code, text) = seen_reject(ask(&pic, asking, "ask", id, "size", b""));
    assert_eq!(code, 5, "{text}");
}
