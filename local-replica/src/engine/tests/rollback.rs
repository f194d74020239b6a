//! What a trap, a query and a failed upgrade leave behind: nothing.

use super::{Canister, Entry, Response, Trap, message, query, wasm_trap};

/// Answers the eight bytes at 4092 (across a page boundary), the global and the heap size.
const SHOW: &str = r#"(func (export "canister_update show")
    i32.const 64 global.get $g i32.store
    i32.const 68 memory.size i32.store
    i32.const 4092 i32.const 8 call $reply_data
    i32.const 64 i32.const 8 call $reply_data call $msg_reply)"#;

fn canister(body: &str) -> Canister {
    Canister::new(&format!(
        r#"(memory 2) (global $g (mut i32) (i32.const 3)) {SHOW}
        (func $work {body})
        (func (export "canister_update work") call $work)
        (func (export "canister_update fail") call $work unreachable)
        (func (export "canister_query look") call $work call $msg_reply)
        (func (export "canister_pre_upgrade") call $work)"#
    ))
}

fn shown(bytes: u64, global: u32, pages: u32) -> Vec<u8> {
    [
        &bytes.to_le_bytes()[..],
        &global.to_le_bytes(),
        &pages.to_le_bytes(),
    ]
    .concat()
}

/// Runs `body` and expects it to be undone by a trap and by a query, but not otherwise.
fn undone(body: &str, after: &[u8]) {
    let before = shown(0, 3, 2);
    let mut canister = canister(body);
    assert_eq!(canister.update("fail").result, wasm_trap("unreachable"));
    assert_eq!(canister.reply("show"), before, "after a trap");
    let looked = canister.run(&query("look"));
    assert_eq!(looked.response, Some(Response::Reply(Vec::new())));
    assert_eq!(canister.reply("show"), before, "after a query");
    let replicated = Entry::Query {
        name: "look".to_owned(),
        replicated: true,
    };
    canister.run(&message(replicated));
    assert_eq!(canister.reply("show"), before, "after a replicated query");
    assert_eq!(canister.update("work").result, Ok(()));
    assert_eq!(canister.reply("show"), after, "after a success");
}

#[test]
fn a_store_across_pages() {
    let body =
        "i32.const 4092 i64.const -1 i64.store global.get $g i32.const 1 i32.add global.set $g";
    undone(body, &shown(u64::MAX, 4, 2));
    let execution = canister(body).update("work");
    assert_eq!(execution.dirty_heap_pages, 2);
}

#[test]
fn a_store_with_an_offset() {
    undone(
        "i32.const 92 i64.const -1 i64.store offset=4000",
        &shown(u64::MAX, 3, 2),
    );
}

#[test]
fn vector_stores() {
    undone(
        "i32.const 4088 i64.const -1 i64x2.splat v128.store",
        &shown(u64::MAX, 3, 2),
    );
    undone(
        "i32.const 4092 i64.const -1 i64x2.splat v128.store64_lane 1",
        &shown(u64::MAX, 3, 2),
    );
}

#[test]
fn bulk_operators() {
    undone(
        "i32.const 0 i32.const 255 i32.const 20000 memory.fill",
        &shown(u64::MAX, 3, 2),
    );
    undone(
        "i32.const 30000 i32.const 255 i32.const 5000 memory.fill
        i32.const 4000 i32.const 30000 i32.const 5000 memory.copy",
        &shown(u64::MAX, 3, 2),
    );
}

#[test]
fn growth() {
    undone("i32.const 5 memory.grow drop", &shown(0, 3, 7));
    // What was written to the new pages is gone with them.
    let mut canister = canister(
        "i32.const 1 memory.grow drop i32.const 4092 i32.const 131072 i64.load i64.store
        i32.const 131072 i64.const -1 i64.store",
    );
    assert_eq!(canister.update("fail").result, wasm_trap("unreachable"));
    assert_eq!(canister.update("work").result, Ok(()));
    assert_eq!(canister.reply("show"), shown(0, 3, 3));
}

#[test]
fn stores_of_system_calls() {
    undone(
        "i32.const 4092 i32.const 0 i32.const 8 call $arg_copy",
        &shown(u64::from_le_bytes(*b"argument"), 3, 2),
    );
}

#[test]
fn stable_memory() {
    let body = "i64.const 2 call $stable_grow drop i64.const 65530 i64.const 8 i64.const 10 call $stable_write";
    let mut canister = Canister::new(&format!(
        r#"(memory 1) (data (i32.const 8) "0123456789") (func $work {body})
        (func (export "canister_update work") call $work)
        (func (export "canister_update fail") call $work unreachable)"#
    ));
    canister.update("fail");
    assert_eq!(canister.stable.wasm_pages(), 0);
    canister.update("work");
    assert_eq!(canister.stable.wasm_pages(), 2);
    canister.update("fail");
    assert_eq!(canister.stable.wasm_pages(), 2);
    assert_eq!(&canister.stable.read_all()[65_530..65_540], b"0123456789");
}

#[test]
fn the_effects_of_system_calls() {
    let body = "i64.const 9 call $timer drop
        i32.const 0 i32.const 0 i32.const 0 i32.const 0 i32.const 0 i32.const 0 i32.const 0 i32.const 0 call $call_new
        call $call_perform drop i32.const 0 i32.const 4 call $print call $msg_reply";
    let mut canister = canister(body);
    let execution = canister.update("work");
    assert_eq!(execution.global_timer, Some(9));
    assert_eq!(execution.calls.len(), 1);
    assert!(execution.response.is_some());
    let execution = canister.update("fail");
    assert_eq!(execution.global_timer, None);
    assert!(execution.calls.is_empty() && execution.response.is_none());
    assert_eq!(execution.log, ["\0\0\0\0", "[TRAP]: unreachable"]);
    assert!(execution.instructions > 5_000);
}

#[test]
fn tables_and_segments_start_anew_in_each_message() {
    let mut canister = Canister::new(
        r#"(memory 1) (table 2 funcref) (elem (i32.const 0) $one) (data $data "\ff") (elem declare func $work)
        (func $one)
        (func $work (export "canister_update work")
            i32.const 1 call_indirect
            unreachable)
        (func (export "canister_update set")
            i32.const 1 ref.func $one table.set
            i32.const 1 call_indirect
            i32.const 4 i32.const 0 i32.const 1 memory.init $data data.drop $data)
        (func (export "canister_update get") i32.const 1 call_indirect)
        (func (export "canister_update load")
            i32.const 4 i32.const 1 call $reply_data call $msg_reply)"#,
    );
    assert_eq!(canister.update("set").result, Ok(()));
    assert_eq!(canister.update("get").result, wasm_trap("unknown"));
    assert_eq!(canister.update("set").result, Ok(()));
    assert_eq!(canister.reply("load"), [255]);
}

#[test]
fn the_heap_of_pre_upgrade() {
    let mut canister =
        canister("i32.const 4092 i64.const -1 i64.store i64.const 1 call $stable_grow drop");
    canister.stable.begin();
    assert_eq!(canister.run(&message(Entry::PreUpgrade)).result, Ok(()));
    assert_eq!(canister.reply("show"), shown(0, 3, 2));
    assert_eq!(canister.stable.wasm_pages(), 1);
    canister.stable.revert();
    assert_eq!(canister.stable.wasm_pages(), 0);
}

#[test]
fn messages_that_succeed_or_fail_together() {
    let mut canister = Canister::new(
        r#"(memory 1) (data (i32.const 0) "ab")
        (func (export "canister_update grow") i64.const 1 call $stable_grow drop)
        (func (export "canister_update a") i64.const 0 i64.const 0 i64.const 1 call $stable_write)
        (func (export "canister_update b") i64.const 0 i64.const 1 i64.const 1 call $stable_write)"#,
    );
    canister.update("grow");
    canister.update("a");
    canister.stable.begin();
    canister.update("grow");
    canister.update("b");
    canister.update("b");
    canister.stable.revert();
    assert_eq!(canister.stable.read_all()[..2], *b"a\0");
    assert_eq!(canister.stable.wasm_pages(), 1);
    canister.stable.begin();
    canister.update("b");
    canister.stable.keep();
    canister.stable.revert();
    assert_eq!(canister.stable.read_all()[..2], *b"b\0");
}

#[test]
fn out_of_bounds_accesses() {
    let heap = wasm_trap("heap out of bounds");
    assert_eq!(
        canister("i32.const -4 i64.const 1 i64.store")
            .update("work")
            .result,
        heap
    );
    assert_eq!(
        canister("i32.const -4 i64.const 1 i64.store offset=8")
            .update("work")
            .result,
        heap
    );
    let fill = "i32.const 131000 i32.const 1 i32.const 100 memory.fill";
    assert_eq!(canister(fill).update("work").result, heap);
    let stable = "i64.const 0 i64.const 0 i64.const 1 call $stable_write";
    assert_eq!(
        canister(stable).update("work").result,
        wasm_trap("stable memory out of bounds")
    );
    let read = "i64.const 131072 i64.const 0 i64.const 1 call $stable_read";
    assert_eq!(canister(read).update("work").result, heap);
}

#[test]
fn other_traps() {
    assert_eq!(
        canister("i32.const 1 i32.const 0 i32.div_u drop")
            .update("work")
            .result,
        wasm_trap("integer division by 0")
    );
    let mut endless = Canister::new(r#"(memory 1) (func $f (export "canister_update f") call $f)"#);
    assert_eq!(endless.update("f").result, wasm_trap("stack overflow"));
    let mut canister = canister("i32.const 0 i32.const 0 call $trap");
    let execution = canister.update("work");
    assert_eq!(execution.result, Err(Trap::Explicit(String::new())));
    assert_eq!(execution.log, ["[TRAP]: (no message)"]);
}
