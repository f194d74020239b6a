//! One message: replies, rejects, traps, limits, queries and inspection.

use candid::Principal;
use pocket_ic::common::rest::RawEffectivePrincipal;
use pocket_ic::{ErrorCode, IngressStatusResult, RejectCode, RejectResponse};

use crate::world::{
    USER, builder, counter, install, long, number, pocket_ic, puppet, query, update,
};

fn error(result: Result<Vec<u8>, RejectResponse>) -> RejectResponse {
    result.expect_err("a reject")
}

#[test]
fn updates_persist_and_queries_do_not() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    assert_eq!(number(update(&pic, id, "inc")), 1);
    assert_eq!(number(update(&pic, id, "inc")), 2);
    assert_eq!(number(query(&pic, id, "inc_query")), 3);
    assert_eq!(counter(&pic, id), 2);
}

#[test]
fn query_method_can_be_called_as_an_update() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    assert_eq!(number(update(&pic, id, "get")), 0);
}

#[test]
fn traps_undo_the_message() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reject = error(update(&pic, id, "trap"));
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    assert_eq!(reject.reject_code, RejectCode::CanisterError);
    assert!(reject.certified);
    let handle = "Consider gracefully handling failures from this canister or altering the canister to handle \
                  exceptions. See documentation: \
                  https://internetcomputer.org/docs/current/references/execution-errors";
    assert_eq!(
        reject.reject_message,
        format!(
            "Error from Canister {id}: Canister called `ic0.trap` with message: 'boom'.\n\
             {handle}#trapped-explicitly"
        )
    );
    let reject = error(update(&pic, id, "unreachable"));
    assert_eq!(reject.error_code, ErrorCode::CanisterTrapped);
    // The real server may have a backtrace in between.
    let text = format!("Error from Canister {id}: Canister trapped: unreachable");
    assert!(reject.reject_message.starts_with(&text), "{reject}");
    let help = format!(".\n{handle}#trapped");
    assert!(reject.reject_message.ends_with(&help), "{reject}");
    let reject = error(update(&pic, id, "out_of_bounds"));
    assert_eq!(reject.error_code, ErrorCode::CanisterTrapped);
    assert!(
        reject.reject_message.contains("heap out of bounds"),
        "{reject}"
    );
    assert_eq!(counter(&pic, id), 0);
}

#[test]
fn trap_in_a_query_is_not_certified() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reject = error(query(&pic, id, "trap_query"));
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    assert!(!reject.certified);
}

#[test]
fn canister_that_does_not_reply() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reject = error(update(&pic, id, "silent"));
    assert_eq!(reject.error_code, ErrorCode::CanisterDidNotReply);
    assert_eq!(counter(&pic, id), 1, "its state is committed all the same");
}

#[test]
fn canisters_own_reject() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reject = error(update(&pic, id, "reject"));
    assert_eq!(reject.reject_code, RejectCode::CanisterReject);
    assert_eq!(reject.error_code, ErrorCode::CanisterRejectedMessage);
    assert_eq!(reject.reject_message, "not today");
    assert_eq!(counter(&pic, id), 1);
}

#[test]
fn second_reply_violates_the_contract() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reject = error(update(&pic, id, "twice"));
    assert_eq!(reject.error_code, ErrorCode::CanisterContractViolation);
}

#[test]
fn query_runs_out_of_instructions() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reject = error(query(&pic, id, "loop_query"));
    assert_eq!(
        reject.error_code,
        ErrorCode::CanisterInstructionLimitExceeded
    );
}

#[test]
fn missing_methods_and_canisters() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let reject = error(update(&pic, id, "nothing_like_it"));
    assert_eq!(reject.error_code, ErrorCode::CanisterMethodNotFound);
    let text = "Canister has no update method 'nothing_like_it'..\nCheck that the method being called is exported by \
                the target canister. See documentation: \
                https://internetcomputer.org/docs/current/references/execution-errors#method-not-found";
    assert_eq!(
        reject.reject_message,
        format!("Error from Canister {id}: {text}")
    );
    let reject = error(query(&pic, id, "inc"));
    assert_eq!(reject.error_code, ErrorCode::CanisterMethodNotFound);
    let empty = pic.create_canister();
    for result in [update(&pic, empty, "inc"), query(&pic, empty, "get")] {
        assert_eq!(
            error(result).error_code,
            ErrorCode::CanisterWasmModuleNotFound
        );
    }
    pic.stop_canister(empty, None).unwrap();
    pic.delete_canister(empty, None).unwrap();
    for result in [update(&pic, empty, "inc"), query(&pic, empty, "get")] {
        let reject = error(result);
        assert_eq!(reject.error_code, ErrorCode::CanisterNotFound);
        assert_eq!(reject.reject_code, RejectCode::DestinationInvalid);
    }
}

#[test]
fn caller_is_the_sender() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let sender = Principal::self_authenticating([7; 32]);
    let reply = pic.query_call(id, sender, "caller", Vec::new()).unwrap();
    assert_eq!(Principal::from_slice(&reply), sender);
}

#[test]
fn inspection_decides_on_ingress() {
    const WAT: &str = r#"(module
      (import "ic0" "msg_method_name_size" (func $size (result i32)))
      (import "ic0" "accept_message" (func $accept))
      (import "ic0" "msg_reply" (func $reply))
      (memory (export "memory") 1)
      (func (export "canister_inspect_message")
        (if (i32.eq (call $size) (i32.const 4)) (then (call $accept))))
      (func (export "canister_update good") (call $reply))
      (func (export "canister_update wrong") (call $reply)))"#;
    let pic = pocket_ic();
    let id = install(&pic, wat::parse_str(WAT).unwrap());
    update(&pic, id, "good").unwrap();
    let reject = pic
        .submit_call(id, USER, "wrong", Vec::new())
        .expect_err("refused when submitted");
    assert_eq!(reject.error_code, ErrorCode::CanisterRejectedMessage);
    assert!(!reject.certified);
    // Calls between canisters aren't inspected.
    let caller = puppet(&pic);
    crate::world::relay(&pic, caller, "relay", id, "wrong").unwrap();
}

#[test]
fn time_stands_still_within_a_round() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let next = pic.get_time().as_nanos_since_unix_epoch() + 1;
    let first = pic.submit_call(id, USER, "now_update", Vec::new()).unwrap();
    let second = pic.submit_call(id, USER, "now_update", Vec::new()).unwrap();
    pic.tick();
    let now = |message| long(pic.ingress_status(message).expect("answered"));
    assert_eq!(now(first), next);
    assert_eq!(now(second), next);
    assert_eq!(pic.get_time().as_nanos_since_unix_epoch(), next);
}

#[test]
fn submitted_message_waits_for_a_round() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let message = pic.submit_call(id, USER, "inc", Vec::new()).unwrap();
    assert!(pic.ingress_status(message.clone()).is_none());
    assert_eq!(counter(&pic, id), 0);
    pic.tick();
    assert_eq!(counter(&pic, id), 1);
    assert_eq!(
        number(pic.ingress_status(message.clone()).expect("answered")),
        1
    );
    assert_eq!(number(pic.await_call(message.clone())), 1);
    let stranger = Principal::self_authenticating([9; 32]);
    let status = pic.ingress_status_as(message.clone(), stranger);
    assert!(matches!(status, IngressStatusResult::Forbidden(_)));
    let status = pic.ingress_status_as(message, USER);
    assert!(matches!(status, IngressStatusResult::Success(Ok(_))));
}

#[test]
fn messages_of_a_round_are_executed_in_some_order() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let messages: Vec<_> = (0..5)
        .map(|_| pic.submit_call(id, USER, "inc", Vec::new()).unwrap())
        .collect();
    pic.tick();
    let replies = messages
        .into_iter()
        .map(|message| number(pic.await_call(message)));
    let mut replies: Vec<_> = replies.collect();
    replies.sort_unstable();
    assert_eq!(replies, [1, 2, 3, 4, 5]);
}

#[test]
fn endless_message_ends_at_the_limit() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    let before = pic.cycle_balance(id);
    let reject = error(update(&pic, id, "loop"));
    assert_eq!(
        reject.error_code,
        ErrorCode::CanisterInstructionLimitExceeded
    );
    assert!(
        before - pic.cycle_balance(id) > 40_000_000_000,
        "the work is charged"
    );
}

#[test]
fn logs_are_kept_for_controllers() {
    let pic = pocket_ic();
    let id = puppet(&pic);
    update(&pic, id, "log").unwrap();
    error(update(&pic, id, "trap"));
    let log = pic.fetch_canister_logs(id, USER).unwrap();
    assert_eq!(log[0].content, b"hello log");
    let trap = String::from_utf8(log[1].content.clone()).unwrap();
    assert!(trap.contains("boom"), "{trap}");
    assert_eq!((log[0].idx, log[1].idx), (0, 1));
    let stranger = Principal::self_authenticating([9; 32]);
    assert!(pic.fetch_canister_logs(id, stranger).is_err());
}

#[test]
fn limits_of_a_benchmarking_subnet_are_high() {
    let pic = builder().with_benchmarking_application_subnet().build();
    let topology = pic.topology();
    assert_eq!(topology.get_benchmarking_app_subnets().len(), 1);
    let id = puppet(&pic);
    assert_eq!(number(update(&pic, id, "inc")), 1);
}

#[test]
fn management_methods_for_canisters_refuse_users() {
    let pic = pocket_ic();
    let subnet = pic.topology().get_app_subnets()[0];
    let submitted = pic.submit_call_with_effective_principal(
        Principal::management_canister(),
        RawEffectivePrincipal::SubnetId(subnet.as_slice().to_vec()),
        USER,
        "raw_rand",
        b"DIDL\0\0".to_vec(),
    );
    assert!(submitted.is_err());
}
