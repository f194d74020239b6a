//! Traps that the canister didn't ask for.

use super::{Canister, Entry, Message, Trap, TrapAt, message};

const BODY: &str = r#"
    (drop (call $time))
    (i64.store (i32.const 0) (i64.const 7))
    (drop (call $stable_grow (i64.const 1)))
    (call $stable_write (i64.const 0) (i64.const 0) (i64.const 8))
    (loop $again
      (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
      (br_if $again (i32.lt_u (i32.load (i32.const 8)) (i32.const 1000))))
    (call $reply_data (i32.const 0) (i32.const 8))
    (call $msg_reply)"#;

fn hit(at: TrapAt) -> Message {
    Message {
        trap_at: Some(at),
        ..message(Entry::Update("f".to_owned()))
    }
}

#[test]
fn every_system_call_can_trap_and_leaves_nothing() {
    for number in 1..=5 {
        let mut canister = Canister::with_method(BODY);
        let execution = canister.run(&hit(TrapAt::Call(number)));
        assert_eq!(execution.result, Err(Trap::Injected(TrapAt::Call(number))));
        assert!(execution.response.is_none());
        assert_eq!(canister.stable.wasm_pages(), 0);
        assert_eq!(canister.reply("f"), [7, 0, 0, 0, 0, 0, 0, 0]);
    }
    let mut canister = Canister::with_method(BODY);
    let execution = canister.run(&hit(TrapAt::Call(6)));
    assert_eq!(execution.result, Ok(()), "there are only five");
}

#[test]
fn every_instruction_count_can_trap_or_is_past_the_end() {
    let whole = Canister::with_method(BODY).update("f").instructions;
    for number in (0..whole).step_by(97) {
        let mut canister = Canister::with_method(BODY);
        let execution = canister.run(&hit(TrapAt::Instruction(number)));
        assert_eq!(
            execution.result,
            Err(Trap::Injected(TrapAt::Instruction(number)))
        );
        assert_eq!(execution.instructions, number);
        assert_eq!(canister.stable.wasm_pages(), 0);
    }
    let mut canister = Canister::with_method(BODY);
    let execution = canister.run(&hit(TrapAt::Instruction(whole)));
    assert_eq!(execution.result, Ok(()));
    assert_eq!(execution.instructions, whole);
}

#[test]
fn the_counter_the_canister_reads_does_not_show_it() {
    let body = r#"
        (i64.store (i32.const 0) (call $counter (i32.const 0)))
        (call $reply_data (i32.const 0) (i32.const 8))
        (call $msg_reply)"#;
    let plain = Canister::with_method(body).update("f").response;
    let mut canister = Canister::with_method(body);
    assert_eq!(
        canister.run(&hit(TrapAt::Instruction(900_000))).response,
        plain
    );
}

#[test]
fn the_canisters_log_says_where_it_came_from() {
    let execution = Canister::with_method(BODY).run(&hit(TrapAt::Call(2)));
    assert_eq!(
        execution.log,
        ["[TRAP]: injected by local-replica at system call 2"]
    );
}
