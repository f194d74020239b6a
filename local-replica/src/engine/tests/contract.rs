//! System calls used rightly and wrongly.

use super::{Canister, Entry, Trap, contract, message, query};
use crate::engine::{Closure, Response};

fn update(body: &str) -> Result<(), Trap> {
    Canister::with_method(body).update("f").result
}

const CALL: &str = "i32.const 0 i32.const 0 i32.const 8 i32.const 4
    i32.const 1 i32.const 11 i32.const 2 i32.const 12 call $call_new";

#[test]
fn only_one_answer() {
    let replied = contract("ic0.msg_reply: the call is already replied");
    assert_eq!(update("call $msg_reply call $msg_reply"), replied);
    assert_eq!(
        update("i32.const 0 i32.const 0 call $msg_reject call $msg_reply"),
        replied
    );
    let mut late = message(Entry::Update("f".to_owned()));
    late.already_replied = true;
    assert_eq!(
        Canister::with_method("call $msg_reply").run(&late).result,
        replied
    );
    assert_eq!(
        update("call $msg_reply i32.const 0 i32.const 1 call $reply_data"),
        contract("ic0.msg_reply_data_append: the call is already replied.")
    );
}

#[test]
fn replies_have_a_limit() {
    let append = "i32.const 0 i32.const 1048576 call $reply_data";
    let body = format!(
        "i32.const 20 memory.grow drop {append} {append} i32.const 0 i32.const 1 call $reply_data"
    );
    let mut long = message(Entry::Update("f".to_owned()));
    long.instruction_limit = 1_000_000_000;
    assert_eq!(
        Canister::with_method(&body).run(&long).result,
        contract(
            "ic0.msg_reply_data_append: application payload size (2097153) cannot be larger than 2097152."
        )
    );
}

#[test]
fn modes() {
    let mut canister = Canister::new(&format!(
        r#"(memory 1) (table 1 funcref) (elem (i32.const 0) $cleanup)
        (func $start call $time drop) (start $start)
        (func $cleanup (param i32) call $msg_reply)
        (func (export "canister_query q") {CALL})
        (func (export "canister_init") {CALL})
        (func (export "canister_update u") call $accept)"#
    ));
    let expected = |name: &str, mode: &str| {
        contract(&format!("\"ic0_{name}\" cannot be executed in {mode} mode"))
    };
    assert_eq!(
        canister.run(&message(Entry::Start)).result,
        expected("time", "start")
    );
    assert_eq!(
        canister.run(&query("q")).result,
        expected("call_new", "non replicated query")
    );
    let replicated = message(Entry::Query {
        name: "q".to_owned(),
        replicated: true,
    });
    assert_eq!(
        canister.run(&replicated).result,
        expected("call_new", "replicated query")
    );
    assert_eq!(
        canister.run(&message(Entry::Init)).result,
        expected("call_new", "init")
    );
    assert_eq!(
        canister.update("u").result,
        expected("accept_message", "update")
    );
    let cleanup = message(Entry::Cleanup(Closure {
        function: 0,
        environment: 0,
    }));
    assert_eq!(
        canister.run(&cleanup).result,
        expected("msg_reply", "cleanup")
    );
}

#[test]
fn a_call_is_handed_over_whole() {
    let body = format!(
        r#"{CALL} i32.const 8 i32.const 3 call $call_data i32.const 8 i32.const 1 call $call_data
        i32.const 3 i32.const 13 call $call_on_cleanup i64.const 1 i64.const 2 call $call_cycles
        call $call_perform if unreachable end"#
    );
    let mut canister = Canister::new(&format!(
        r#"(memory 1) (data (i32.const 8) "name") (func (export "canister_update f") {body})"#
    ));
    let mut rich = message(Entry::Update("f".to_owned()));
    rich.cycles_balance = 1 << 66;
    let execution = canister.run(&rich);
    assert_eq!(execution.result, Ok(()));
    let call = &execution.calls[0];
    assert_eq!(
        (call.method.as_str(), call.payload.as_slice()),
        ("name", &b"namn"[..])
    );
    assert_eq!(call.cycles, (1 << 64) + 2);
    assert_eq!(
        call.on_reply,
        Closure {
            function: 1,
            environment: 11
        }
    );
    assert_eq!(
        call.on_reject,
        Closure {
            function: 2,
            environment: 12
        }
    );
    assert_eq!(
        call.on_cleanup,
        Some(Closure {
            function: 3,
            environment: 13
        })
    );
    assert_eq!(call.timeout_seconds, None);
}

#[test]
fn calls_need_cycles() {
    let mut canister = Canister::with_method(&format!(
        "{CALL} i64.const 0 i64.const 1000 call $call_cycles"
    ));
    let mut poor = message(Entry::Update("f".to_owned()));
    poor.cycles_balance = 1_500;
    assert_eq!(canister.run(&poor).result, Ok(()));
    poor.cycles_frozen = 501;
    assert_eq!(canister.run(&poor).result, Err(Trap::OutOfCycles));
    let mut canister = Canister::with_method(&format!(
        "{CALL} call $call_perform i32.const 2 i32.ne if unreachable end"
    ));
    let execution = canister.run(&poor);
    assert_eq!(execution.result, Ok(()));
    assert!(execution.calls.is_empty());
}

#[test]
fn calls_are_put_together_in_order() {
    assert_eq!(
        update("call $call_perform drop"),
        contract("ic0.call_perform called when no call is under construction.")
    );
    let twice = format!(
        "{CALL} i32.const 0 i32.const 0 call $call_on_cleanup i32.const 0 i32.const 0 call $call_on_cleanup"
    );
    assert_eq!(
        update(&twice),
        contract(
            "ic0.call_on_cleanup can be called at most once between `ic0.call_new` and `ic0.call_perform`"
        )
    );
}

#[test]
fn slices_are_checked() {
    assert_eq!(
        update("i32.const 0 i32.const 0 i32.const 9 call $arg_copy"),
        contract("ic0.msg_arg_data_copy payload: src=0 + length=9 exceeds the slice size=8")
    );
    assert_eq!(
        update("i32.const 65535 i32.const 0 i32.const 8 call $arg_copy"),
        contract("ic0.msg_arg_data_copy heap: src=65535 + length=8 exceeds the slice size=65536")
    );
}

#[test]
fn callbacks_get_their_environment() {
    let mut canister = Canister::new(
        r#"(memory 1) (table 3 funcref) (elem (i32.const 0) $reply $mistyped)
        (func $reply (param $environment i32)
            i32.const 0 local.get $environment i32.store
            i32.const 0 i32.const 4 call $reply_data call $msg_reply)
        (func $mistyped)"#,
    );
    let mut callback = |function| {
        canister.run(&message(Entry::Reply(Closure {
            function,
            environment: 77,
        })))
    };
    assert_eq!(
        callback(0).response,
        Some(Response::Reply(vec![77, 0, 0, 0]))
    );
    assert_eq!(callback(1).result, Err(Trap::Wasm("unknown".to_owned())));
    assert_eq!(
        callback(2).result,
        contract("unexpected null function reference")
    );
    assert_eq!(
        callback(3).result,
        contract("requested to invoke a non-existent Wasm function 3 from table 0")
    );
}

#[test]
fn inspect_message_accepts_once() {
    let mut canister =
        Canister::new(r#"(memory 1) (func (export "canister_inspect_message") call $accept)"#);
    let execution = canister.run(&message(Entry::InspectMessage));
    assert!(execution.accepted);
    let mut canister = Canister::new(
        r#"(memory 1) (func (export "canister_inspect_message") call $accept call $accept)"#,
    );
    let execution = canister.run(&message(Entry::InspectMessage));
    assert!(!execution.accepted);
    assert_eq!(
        execution.result,
        contract("ic0.accept_message: the function was already called.")
    );
}

#[test]
fn the_timer_answers_its_old_deadline() {
    let body = "i32.const 0 i64.const 9 call $timer i64.store i32.const 8 i64.const 0 call $timer i64.store
        i32.const 0 i32.const 16 call $reply_data call $msg_reply";
    let mut canister = Canister::with_method(body);
    let execution = canister.update("f");
    assert_eq!(
        execution.response,
        Some(Response::Reply(
            [5_u64.to_le_bytes(), 9_u64.to_le_bytes()].concat()
        ))
    );
    assert_eq!(execution.global_timer, Some(0));
}

#[test]
fn what_cannot_be_right_here_says_so() {
    assert_eq!(
        update("i64.const 0 i64.const 1 i32.const 0 call $mint"),
        Err(Trap::Explicit(
            "not supported by local-replica: ic0.mint_cycles128".to_owned()
        ))
    );
}

#[test]
fn a_missing_method_changes_nothing() {
    let execution = Canister::with_method("").update("g");
    assert_eq!(execution.result, Err(Trap::MethodNotFound("g".to_owned())));
    assert_eq!(execution.instructions, 0);
}
