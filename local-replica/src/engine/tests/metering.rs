//! Instructions, counted by hand.

use super::{Canister, Entry, Trap, message};

fn instructions(body: &str) -> u64 {
    let execution = Canister::with_method(body).update("f");
    assert_eq!(execution.result, Ok(()));
    execution.instructions
}

#[test]
fn an_empty_function_costs_one() {
    assert_eq!(instructions(""), 1);
}

#[test]
fn operators_cost_their_weight() {
    // 1 for the function, 1 each for const and drop, 10 for the division.
    assert_eq!(
        instructions("i32.const 8 i32.const 2 i32.div_u drop"),
        1 + 1 + 1 + 10 + 1
    );
}

#[test]
fn only_the_branch_taken_costs() {
    // const and `if` belong to the first block.
    let body = "i32.const 1 if nop nop nop else nop end nop";
    assert_eq!(instructions(body), 1 + 1 + 2 + 3 + 1);
    let body = "i32.const 0 if nop nop nop else nop end nop";
    assert_eq!(instructions(body), 1 + 1 + 2 + 1 + 1);
}

#[test]
fn a_loop_costs_each_time() {
    let body = "(local $i i32) loop
        local.get $i i32.const 1 i32.add local.tee $i i32.const 10 i32.lt_u br_if 0 end";
    assert_eq!(instructions(body), 1 + 10 * 8);
}

#[test]
fn bulk_operators_cost_their_operand() {
    let body = "i32.const 0 i32.const 200 i32.const 100 memory.copy";
    assert_eq!(instructions(body), 1 + 3 + 100 + 100);
    let body = "i32.const 0 i32.const 7 i32.const 5000 memory.fill";
    assert_eq!(instructions(body), 1 + 3 + 100 + 5_000);
}

#[test]
fn growing_memory_costs_no_more_than_the_operator() {
    assert_eq!(
        instructions("i32.const 3 memory.grow drop"),
        1 + 1 + 300 + 1
    );
}

#[test]
fn system_calls_add_their_charge() {
    assert_eq!(instructions("call $time drop"), 1 + 5 + 1 + 500);
    let body = "i32.const 0 i32.const 10 call $reply_data call $msg_reply";
    assert_eq!(instructions(body), 1 + 2 + 5 + 500 + 50 * 10 + 5 + 500);
}

#[test]
fn a_stable_page_costs_once_in_a_message() {
    let write = "i64.const 4000 i64.const 0 i64.const 5000 call $stable_write";
    let grow = "i64.const 1 call $stable_grow drop";
    let once = 1 + (1 + 5 + 100 + 1) + (3 + 5 + 20 + 5_000 + 3 * 1_000);
    assert_eq!(instructions(&format!("{grow} {write}")), once);
    let twice = once + 3 + 5 + 20 + 5_000;
    assert_eq!(instructions(&format!("{grow} {write} {write}")), twice);
}

#[test]
fn a_block_is_charged_ahead_of_the_call_that_reads_the_counter() {
    let body = "i32.const 8 i32.const 0 call $counter i64.store
        i32.const 8 i32.const 8 call $reply_data call $msg_reply";
    let reply = Canister::with_method(body).reply("f");
    // The whole body is one block, and the charge of the reading call comes before the value.
    let block: u64 = 1 + 2 + 5 + 1 + 2 + 5 + 5;
    assert_eq!(reply, (block + 200).to_le_bytes());
}

#[test]
fn counter_1_adds_the_call_context() {
    let body = "i32.const 8 i32.const 1 call $counter i64.store
        i32.const 8 i32.const 8 call $reply_data call $msg_reply";
    let block: u64 = 1 + 2 + 5 + 1 + 2 + 5 + 5;
    assert_eq!(
        Canister::with_method(body).reply("f"),
        (100 + block + 200).to_le_bytes()
    );
}

#[test]
fn an_endless_loop_runs_out_of_instructions() {
    let mut canister = Canister::with_method("loop br 0 end");
    let execution = canister.update("f");
    assert_eq!(execution.result, Err(Trap::OutOfInstructions));
    assert_eq!(execution.instructions, 1_000_000);
}

#[test]
fn a_big_operand_runs_out_of_instructions() {
    let mut canister = Canister::with_method("i32.const 0 i32.const 0 i32.const -1 memory.fill");
    assert_eq!(canister.update("f").result, Err(Trap::OutOfInstructions));
}

#[test]
fn the_start_function_has_its_own_counter() {
    let mut canister = Canister::new("(memory 1) (func $start nop nop) (start $start)");
    let execution = canister.run(&message(Entry::Start));
    assert_eq!((execution.result, execution.instructions), (Ok(()), 3));
}

#[test]
fn pages_that_keep_their_content_are_free() {
    let mut canister = Canister::with_method(
        "i32.const 0 i32.const 5 i32.store i32.const 9000 i32.const 0 i32.store",
    );
    assert_eq!(canister.update("f").dirty_heap_pages, 1);
    assert_eq!(canister.update("f").dirty_heap_pages, 0);
}
