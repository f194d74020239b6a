;; A canister that makes HTTPS outcalls, with room for the largest.
;;
;; Memory: 16 scratch, 1024 constants, 2048 the response that `fixed` answers with, 65536 the argument or the reply.
(module
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reply" (func $msg_reply))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reject" (func $msg_reject (param i32 i32)))
  (import "ic0" "msg_reject_code" (func $reject_code (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "msg_cycles_refunded128" (func $refunded (param i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $call_data_append (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $call_cycles_add (param i64 i64)))
  (import "ic0" "call_perform" (func $call_perform (result i32)))
  (import "ic0" "cost_http_request" (func $cost (param i64 i64 i32)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (memory (export "memory") 64)
  (table funcref (elem $on_reply $on_reject))
  (data (i32.const 1024) "http_request")
  (data (i32.const 1040) "boom")
  (data (i32.const 1050) "not today")
  (data (i32.const 2048) "FIXED_BYTES")

  (func $read (call $arg_copy (i32.const 65536) (i32.const 0) (call $arg_size)))
  ;; The argument: cycles (8 bytes), and the candid argument of http_request.
  (func (export "canister_update outcall")
    (call $read)
    (call $call_new (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 12)
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $call_data_append (i32.const 65544) (i32.sub (call $arg_size) (i32.const 8)))
    (call $call_cycles_add (i64.const 0) (i64.load (i32.const 65536)))
    (if (call $call_perform) (then (call $trap (i32.const 1040) (i32.const 4)))))
  ;; The argument: bytes of a request, and of a response (8 bytes each). Answers with what such an outcall costs (16 bytes).
  (func (export "canister_query cost")
    (call $read)
    (call $cost (i64.load (i32.const 65536)) (i64.load (i32.const 65544)) (i32.const 16))
    (call $append (i32.const 16) (i32.const 16)) (call $msg_reply))
  ;; Answers with the cycles that came back (16 bytes), 0 (4 bytes), and the reply.
  (func $on_reply (param i32)
    (call $refunded (i32.const 16))
    (call $append (i32.const 16) (i32.const 16))
    (i32.store (i32.const 16) (i32.const 0))
    (call $append (i32.const 16) (i32.const 4))
    (call $read)
    (call $append (i32.const 65536) (call $arg_size)) (call $msg_reply))
  ;; Answers with the cycles that came back, the reject code, and the text.
  (func $on_reject (param i32)
    (call $refunded (i32.const 16))
    (call $append (i32.const 16) (i32.const 16))
    (i32.store (i32.const 16) (call $reject_code))
    (call $append (i32.const 16) (i32.const 4))
    (call $reject_copy (i32.const 65536) (i32.const 0) (call $reject_size))
    (call $append (i32.const 65536) (call $reject_size)) (call $msg_reply))

  ;; Whether the argument has this byte four times in a row.
  (func $has (param $byte i32) (result i32) (local $at i32) (local $run i32)
    (loop $next
      (if (i32.ge_u (local.get $at) (call $arg_size)) (then (return (i32.const 0))))
      (local.set $run
        (select (i32.add (local.get $run) (i32.const 1)) (i32.const 0)
          (i32.eq (i32.load8_u (i32.add (i32.const 65536) (local.get $at))) (local.get $byte))))
      (if (i32.eq (local.get $run) (i32.const 4)) (then (return (i32.const 1))))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br $next))
    unreachable)
  (func $reply_fixed (call $append (i32.const 2048) (i32.const FIXED_LENGTH)) (call $msg_reply))
  ;; Transforms of every response into the same one, but for those that have `!!!!` (a trap) or `????` (a reject).
  (func (export "canister_query fixed")
    (call $read)
    (if (call $has (i32.const 33)) (then (call $trap (i32.const 1040) (i32.const 4))))
    (if (call $has (i32.const 63)) (then (call $msg_reject (i32.const 1050) (i32.const 9)) (return)))
    (call $reply_fixed))
  (func (export "canister_composite_query composite") (call $reply_fixed))
  ;; More than a response that is limited to 1,000 bytes may have.
  (func (export "canister_query bloated") (call $append (i32.const 2048) (i32.const 1001)) (call $msg_reply)))
