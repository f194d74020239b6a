;; A canister that writes down in which order things reach it.
;;
;; Memory: 0 length of the log (i32), 4 the log, 1024 the argument, 60000 constants.
;; `ask` and `ask_back` take a principal. The log has the bytes given to `note`, and for each answer the number of its call.
(module
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
  (import "ic0" "msg_caller_copy" (func $caller_copy (param i32 i32 i32)))
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $call_data_append (param i32 i32)))
  (import "ic0" "call_perform" (func $call_perform (result i32)))
  (memory 1)
  (table funcref (elem $on_answer $on_last_answer))
  (data (i32.const 60000) "note")
  (data (i32.const 60010) "note_and_call_back")

  (func $write (param $byte i32)
    (i32.store8 (i32.add (i32.const 4) (i32.load (i32.const 0))) (local.get $byte))
    (i32.store (i32.const 0) (i32.add (i32.load (i32.const 0)) (i32.const 1))))
  (func $read_arg (call $arg_copy (i32.const 1024) (i32.const 0) (call $arg_size)))
  ;; Calls the principal at 1024 with one byte; the answer writes the number.
  (func $call (param $size i32) (param $name i32) (param $length i32) (param $byte i32) (param $number i32) (param $closure i32)
    (call $call_new (i32.const 1024) (local.get $size) (local.get $name) (local.get $length)
      (local.get $closure) (local.get $number) (local.get $closure) (local.get $number))
    (i32.store8 (i32.const 2048) (local.get $byte))
    (call $call_data_append (i32.const 2048) (i32.const 1))
    (drop (call $call_perform)))
  (func $on_answer (param $number i32) (call $write (local.get $number)))
  (func $on_last_answer (param $number i32) (call $write (local.get $number)) (call $msg_reply))

  (func (export "canister_update note")
    (call $read_arg) (call $write (i32.load8_u (i32.const 1024))) (call $msg_reply))
  ;; Two calls in a row: 1, then 2. Their answers write 11 and 12.
  (func (export "canister_update ask")
    (call $read_arg)
    (call $call (call $arg_size) (i32.const 60000) (i32.const 4) (i32.const 1) (i32.const 11) (i32.const 0))
    (call $call (call $arg_size) (i32.const 60000) (i32.const 4) (i32.const 2) (i32.const 12) (i32.const 0))
    (call $msg_reply))
  ;; A call whose callee calls back before it answers. The answer writes 13.
  (func (export "canister_update ask_back")
    (call $read_arg)
    (call $call (call $arg_size) (i32.const 60010) (i32.const 18) (i32.const 3) (i32.const 13) (i32.const 1)))
  (func (export "canister_update note_and_call_back")
    (call $caller_copy (i32.const 1024) (i32.const 0) (call $caller_size))
    (call $call (call $caller_size) (i32.const 60000) (i32.const 4) (i32.const 4) (i32.const 14) (i32.const 0))
    (call $msg_reply))
  (func (export "canister_query log")
    (call $append (i32.const 4) (i32.load (i32.const 0))) (call $msg_reply)))
