//! Snapshots: everything comes back, whatever happened in between.

use super::{Canister, compile};
use crate::engine::{HeapSnapshot, Instance, Trap};

/// `write` puts 7 into two pages and a global, and `grow` adds a page with a 9; `show` answers all of it, and the size.
const CANISTER: &str = r#"(memory 2 8) (global $g (mut i32) (i32.const 3)) (data (i32.const 5000) "\05")
    (func (export "canister_update write")
        (i32.store8 (i32.const 0) (i32.const 7)) (i32.store8 (i32.const 5000) (i32.const 7))
        (global.set $g (i32.const 7)))
    (func $grow
        (drop (memory.grow (i32.const 1)))
        (i32.store8 (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1)) (i32.const 9)))
    (func (export "canister_update grow") (call $grow))
    (func (export "canister_update grow_and_trap") (call $grow) unreachable)
    (func (export "canister_update show")
        (i32.store8 (i32.const 100) (i32.load8_u (i32.const 0)))
        (i32.store8 (i32.const 101) (i32.load8_u (i32.const 5000)))
        (i32.store8 (i32.const 102) (global.get $g))
        (i32.store8 (i32.const 103) (memory.size))
        (i32.store8 (i32.const 104)
            (i32.load8_u (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 1))))
        (call $reply_data (i32.const 100) (i32.const 5)) (call $msg_reply))"#;

const START: [u8; 5] = [0, 5, 3, 2, 0];
const WRITTEN: [u8; 5] = [7, 7, 7, 2, 0];
const GROWN: [u8; 5] = [0, 5, 3, 3, 9];

struct Saved {
    canister: Canister,
    fresh: HeapSnapshot,
}

impl Saved {
    fn new() -> Self {
        let mut canister = Canister::new(CANISTER);
        let fresh = canister.instance.save().unwrap();
        canister.instance.compare_with(&fresh);
        Self { canister, fresh }
    }

    fn after(&mut self, methods: &[&str]) -> HeapSnapshot {
        for method in methods {
            assert_eq!(self.canister.update(method).result, Ok(()));
        }
        self.canister.instance.save().unwrap()
    }

    fn load(&mut self, snapshot: &HeapSnapshot) {
        let instance = std::mem::replace(
            &mut self.canister.instance,
            Instance::new(snapshot.module()).unwrap(),
        );
        self.canister.instance = Instance::load(snapshot, Some(instance), &self.fresh).unwrap();
    }

    fn show(&mut self) -> Vec<u8> {
        self.canister.reply("show")
    }
}

#[test]
fn a_snapshot_comes_back() {
    let mut saved = Saved::new();
    let start = saved.after(&[]);
    let written = saved.after(&["write"]);
    let grown = {
        saved.load(&start);
        saved.after(&["grow"])
    };
    for _ in 0..2 {
        for (snapshot, shown) in [(&written, WRITTEN), (&start, START), (&grown, GROWN)] {
            saved.load(snapshot);
            assert_eq!(saved.show(), shown);
        }
    }
}

#[test]
fn what_no_snapshot_has_is_gone() {
    let mut saved = Saved::new();
    let start = saved.after(&[]);
    assert_eq!(saved.canister.update("write").result, Ok(()));
    saved.load(&start);
    assert_eq!(saved.show(), START);
}

#[test]
fn a_rollback_that_makes_a_new_instance_keeps_what_no_snapshot_has() {
    let mut saved = Saved::new();
    assert_eq!(saved.canister.update("write").result, Ok(()));
    assert!(saved.canister.update("grow_and_trap").result.is_err());
    assert_eq!(saved.show(), WRITTEN);
    let written = saved.after(&[]);
    assert!(saved.canister.update("grow_and_trap").result.is_err());
    assert_eq!(saved.show(), WRITTEN);
    // And what a snapshot has.
    saved.load(&written);
    assert_eq!(saved.show(), WRITTEN);
}

#[test]
fn snapshots_share_what_is_equal() {
    let mut saved = Saved::new();
    let start = saved.after(&[]);
    assert_eq!(start.bytes_beyond(&saved.fresh), 0);
    let written = saved.after(&["write"]);
    assert_eq!(written.bytes_beyond(&start), 2 * 4_096);
    let grown = saved.after(&["grow"]);
    // A page of 4 KiB with the 9; the zeros are shared, but not with a snapshot that is shorter.
    assert_eq!(grown.bytes_beyond(&written), 16 * 4_096);
}

#[test]
fn a_global_with_a_reference_is_refused() {
    let fields = "(memory 1) (func $f) (elem declare func $f) (global (mut funcref) (ref.func $f))";
    let module = compile(&format!("(module {fields})")).unwrap();
    let saved = Instance::new(&module).unwrap().save();
    assert!(matches!(saved, Err(Trap::Contract(text)) if text.contains("not supported")));
}
