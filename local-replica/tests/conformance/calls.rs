//! Calls between canisters: callbacks, cleanup, commit points, rejects and deadlines.

use std::time::Duration;

use candid::Principal;
use pocket_ic::{ErrorCode, PocketIc};

use crate::world::{
    USER, counter, hold, long, number, pocket_ic, puppet, puppet_wasm, relay, release, seen_reject,
    submit_management, update,
};

fn pair() -> (PocketIc, Principal, Principal) {
    let pic = pocket_ic();
    let caller = puppet(&pic);
    let callee = puppet(&pic);
    (pic, caller, callee)
}

#[test]
fn reply_reaches_the_callback() {
    let (pic, caller, callee) = pair();
    assert_eq!(number(relay(&pic, caller, "relay", callee, "inc")), 1);
    assert_eq!(counter(&pic, callee), 1);
    assert_eq!(counter(&pic, caller), 1);
}

#[test]
fn canister_can_call_itself() {
    let (pic, caller, _) = pair();
    assert_eq!(number(relay(&pic, caller, "relay", caller, "inc")), 2);
}

#[test]
fn callee_sees_the_calling_canister() {
    let (pic, caller, callee) = pair();
    let reply = relay(&pic, caller, "relay", callee, "caller").unwrap();
    assert_eq!(Principal::from_slice(&reply), caller);
}

#[test]
fn reject_reaches_the_callback() {
    let (pic, caller, callee) = pair();
    let (code, text) = seen_reject(relay(&pic, caller, "relay", callee, "reject"));
    assert_eq!((code, text.as_str()), (4, "not today"));
}

#[test]
fn trap_of_the_callee_is_code_5() {
    let (pic, caller, callee) = pair();
    let (code, text) = seen_reject(relay(&pic, caller, "relay", callee, "trap"));
    assert_eq!(code, 5);
    assert_eq!(
        text,
        format!(
            "IC0503: Error from Canister {callee}: Canister called `ic0.trap` with message: 'boom'.\nConsider \
             gracefully handling failures from this canister or altering the canister to handle exceptions. See \
             documentation: https://internetcomputer.org/docs/current/references/execution-errors#trapped-explicitly"
        )
    );
    assert_eq!(counter(&pic, callee), 0);
    let (code, text) = seen_reject(relay(&pic, caller, "relay", callee, "silent"));
    assert_eq!((code, text.as_str()), (5, "No response"));
    let (code, text) = seen_reject(relay(&pic, caller, "relay", callee, "no_such_method"));
    assert_eq!(code, 5);
    assert!(text.starts_with("IC0536: "), "{text}");
}

#[test]
fn stopped_and_missing_callees() {
    let (pic, caller, callee) = pair();
    pic.stop_canister(callee, None).unwrap();
    let (code, text) = seen_reject(relay(&pic, caller, "relay", callee, "inc"));
    assert_eq!((code, text), (5, format!("Canister {callee} is stopped")));
    pic.delete_canister(callee, None).unwrap();
    let (code, text) = seen_reject(relay(&pic, caller, "relay", callee, "inc"));
    assert_eq!((code, text), (3, format!("Canister {callee} not found")));
    let nobody = Principal::self_authenticating([7; 32]);
    let (code, text) = seen_reject(relay(&pic, caller, "relay", nobody, "inc"));
    assert_eq!((code, text), (3, format!("No route to canister {nobody}")));
    let empty = pic.create_canister();
    let (code, text) = seen_reject(relay(&pic, caller, "relay", empty, "inc"));
    assert_eq!(code, 5, "{text}");
}

#[test]
fn calls_of_a_message_that_traps_are_not_made() {
    let (pic, caller, callee) = pair();
    let reject = relay(&pic, caller, "relay_then_trap", callee, "inc").expect_err("a trap");
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    pic.tick();
    assert_eq!(counter(&pic, callee), 0);
}

#[test]
fn trap_in_a_callback_runs_the_cleanup() {
    let (pic, caller, callee) = pair();
    let reject = relay(&pic, caller, "relay_trap_in_reply", callee, "inc").expect_err("a trap");
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    assert!(reject.reject_message.contains("boom"), "{reject}");
    assert_eq!(
        counter(&pic, caller),
        1_000,
        "the callback is undone, the cleanup stays"
    );
    assert_eq!(counter(&pic, callee), 1, "what the callee did stays");
}

#[test]
fn trap_in_the_cleanup_undoes_it() {
    let (pic, caller, callee) = pair();
    let reject = relay(&pic, caller, "relay_trap_twice", callee, "inc").expect_err("a trap");
    assert_eq!(reject.error_code, ErrorCode::CanisterCalledTrap);
    assert!(
        reject
            .reject_message
            .contains("call_on_cleanup also failed"),
        "{reject}"
    );
    assert_eq!(counter(&pic, caller), 0);
}

#[test]
fn callback_that_does_not_reply() {
    let (pic, caller, callee) = pair();
    let reject = relay(&pic, caller, "relay_ignoring", callee, "inc").expect_err("no reply");
    assert_eq!(reject.error_code, ErrorCode::CanisterDidNotReply);
    assert_eq!(counter(&pic, caller), 1);
}

#[test]
fn reply_while_a_call_is_outstanding() {
    let (pic, caller, callee) = pair();
    let reply = relay(&pic, caller, "reply_and_relay", callee, "inc").unwrap();
    assert!(reply.is_empty());
    pic.tick();
    assert_eq!(counter(&pic, caller), 1, "the callback runs all the same");
}

#[test]
fn context_with_two_calls_is_answered_once() {
    let (pic, caller, callee) = pair();
    assert_eq!(number(relay(&pic, caller, "two_calls", callee, "inc")), 2);
    assert_eq!(counter(&pic, caller), 1);
}

#[test]
fn state_up_to_the_call_is_committed() {
    let (pic, caller, callee) = pair();
    let message = hold(&pic, caller, "relay", callee);
    assert_eq!(counter(&pic, caller), 1);
    assert!(pic.ingress_status(message.clone()).is_none());
    release(&pic);
    pic.await_call(message).unwrap();
}

#[test]
fn bounded_wait_has_a_deadline() {
    let (pic, caller, callee) = pair();
    let seconds = pic.get_time().as_nanos_since_unix_epoch() / 1_000_000_000;
    let deadline = long(relay(&pic, caller, "relay_bounded", callee, "deadline"));
    assert_eq!(deadline, (seconds + 10) * 1_000_000_000);
    let unbounded = long(relay(&pic, caller, "relay", callee, "deadline"));
    assert_eq!(unbounded, 0);
    assert_eq!(long(update(&pic, callee, "deadline")), 0);
}

#[test]
fn expired_wait_leaves_the_callee_going_on() {
    let (pic, caller, callee) = pair();
    let message = hold(&pic, caller, "relay_bounded", callee);
    pic.advance_time(Duration::from_secs(11));
    pic.tick();
    let (code, text) = seen_reject(pic.await_call(message));
    assert_eq!((code, text.as_str()), (6, "Call deadline has expired."));
    assert_eq!(pic.get_canister_http().len(), 1, "the callee still waits");
    release(&pic);
    pic.stop_canister(callee, None)
        .expect("the callee has finished");
}

#[test]
fn stopping_waits_for_the_call_in_flight() {
    let (pic, caller, callee) = pair();
    let message = hold(&pic, caller, "relay", callee);
    let stop = submit_management(&pic, caller, "stop_canister");
    pic.tick();
    assert!(pic.ingress_status(stop.clone()).is_none());
    let reject = pic
        .submit_call(caller, USER, "inc", Vec::new())
        .expect_err("refused meanwhile");
    assert_eq!(reject.error_code, ErrorCode::CanisterStopping);
    assert!(!reject.certified);
    release(&pic);
    pic.await_call(stop).expect("stopped");
    pic.await_call(message).expect("answered before the stop");
    let reject = update(&pic, caller, "inc").expect_err("stopped");
    assert_eq!(reject.error_code, ErrorCode::CanisterStopped);
    pic.start_canister(caller, None).unwrap();
    update(&pic, caller, "inc").unwrap();
}

#[test]
fn uninstalled_callee_is_code_4() {
    let (pic, caller, callee) = pair();
    let message = hold(&pic, caller, "relay", callee);
    pic.uninstall_canister(callee, None).unwrap();
    let (code, text) = seen_reject(pic.await_call(message));
    assert_eq!((code, text.as_str()), (4, "Canister has been uninstalled."));
    release(&pic);
    pic.stop_canister(callee, None)
        .expect("nothing is left in flight");
}

#[test]
fn upgraded_caller_runs_the_callback_on_a_new_heap() {
    let (pic, caller, callee) = pair();
    let message = hold(&pic, caller, "relay", callee);
    pic.upgrade_canister(caller, puppet_wasm(), Vec::new(), None)
        .unwrap();
    release(&pic);
    // The puppet's callback needs nothing of the old heap, so here it works.
    pic.await_call(message).unwrap();
}

#[test]
fn call_context_counts_the_heap_pages_of_earlier_messages() {
    let used = |how| {
        let (pic, caller, callee) = pair();
        long(relay(&pic, caller, how, callee, "inc"))
    };
    let more = used("relay_touching_eight") - used("relay_touching_one");
    assert_eq!(more, 7 * 1_000);
}

#[test]
fn raw_rand_differs_between_calls() {
    let (pic, caller, _) = pair();
    let management = Principal::management_canister();
    let first = relay(&pic, caller, "relay", management, "raw_rand").unwrap();
    let second = relay(&pic, caller, "relay", management, "raw_rand").unwrap();
    let bytes: Vec<u8> = candid::decode_one(&first).unwrap();
    assert_eq!(bytes.len(), 32);
    assert_ne!(first, second);
    let (code, _) = seen_reject(relay(&pic, caller, "relay", management, "no_such_method"));
    assert_eq!(code, 5);
}
