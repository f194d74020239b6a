//! The only file that touches ic0.

use crate::time::Timestamp;
use candid::Principal;

pub(crate) fn time() -> Timestamp {
    Timestamp::from_nanos(ic_cdk::api::time())
}

pub(crate) fn caller() -> Principal {
    ic_cdk::api::msg_caller()
}

/// Until when the caller waits for an answer, in ns; 0 if it waits for good, as users do. Not to be had in a cleanup.
pub(crate) fn deadline() -> u64 {
    ic_cdk::api::msg_deadline().map_or(0, u64::from)
}

/// The instructions that this call has used so far, in this message and earlier ones.
pub(crate) fn instructions_of_call() -> u64 {
    ic_cdk::api::call_context_instruction_counter()
}

pub(crate) fn argument() -> Vec<u8> {
    ic_cdk::api::msg_arg_data()
}

pub(crate) fn method_name() -> String {
    ic_cdk::api::msg_method_name()
}

/// Calls from outside have no cycles, and their callers are no canisters: those' principals are 10 bytes long and end in 1.
pub(crate) fn is_called_by_canister() -> bool {
    let caller = caller();
    let bytes = caller.as_slice();
    bytes.len() == 10 && bytes.last() == Some(&1)
}

pub(crate) fn cycles_available() -> u128 {
    ic_cdk::api::msg_cycles_available()
}

pub(crate) fn accept_cycles(cycles: u128) {
    ic_cdk::api::msg_cycles_accept(cycles);
}

pub(crate) fn reply(bytes: &[u8]) {
    ic_cdk::api::msg_reply(bytes);
}

pub(crate) fn trap(text: &str) -> ! {
    ic_cdk::api::trap(text)
}

/// Runs `task` in a message of its own after `delay`.
#[cfg(feature = "timers")]
pub(crate) fn after(delay: std::time::Duration, task: impl FnOnce() + 'static) {
    ic_cdk_timers::set_timer(delay, async move { task() });
}
