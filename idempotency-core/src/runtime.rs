//! What the library asks of the Internet Computer and tells it, as a trait. This is the only file that touches ic0.
//!
//! A canister has [`Canister`]. Tests have their own (`attempt/tests/ic.rs`), which suspends, traps and upgrades where the test says.

use crate::time::Timestamp;
use candid::Principal;

/// The Internet Computer, as the message that is being executed sees it.
pub(crate) trait Runtime: Clone + 'static {
    /// The time at which the message executes.
    fn time(&self) -> Timestamp;

    /// Who made the call that the message belongs to.
    fn caller(&self) -> Principal;

    /// Until when the caller waits for the answer, in ns; 0 if it waits for as long as it takes, as users do. A cleanup callback
    /// must not ask.
    fn deadline(&self) -> u64;

    /// The instructions that the call has used so far, in this message and in earlier ones.
    fn instructions_of_call(&self) -> u64;

    /// The call's argument. Only the call's first message has it.
    fn argument(&self) -> Vec<u8>;

    /// The method that the message is for.
    fn method_name(&self) -> String;

    /// The cycles that came with the call and are not accepted yet.
    fn cycles_available(&self) -> u128;

    /// Takes cycles that came with the call.
    fn accept_cycles(&self, cycles: u128);

    /// Answers the call.
    fn reply(&self, bytes: &[u8]);

    /// Undoes the message. The client is told `idempotency:` and the text.
    fn trap(&self, text: &str) -> !;

    /// Runs `task` in a message of its own after `delay`.
    #[cfg(feature = "timers")]
    fn after(&self, delay: std::time::Duration, task: impl FnOnce() + 'static);
}

/// The runtime of a canister.
#[derive(Clone, Copy)]
pub(crate) struct Canister;

impl Runtime for Canister {
    fn time(&self) -> Timestamp {
        Timestamp::from_nanos(ic_cdk::api::time())
    }

    fn caller(&self) -> Principal {
        ic_cdk::api::msg_caller()
    }

    fn deadline(&self) -> u64 {
        ic_cdk::api::msg_deadline().map_or(0, u64::from)
    }

    fn instructions_of_call(&self) -> u64 {
        ic_cdk::api::call_context_instruction_counter()
    }

    fn argument(&self) -> Vec<u8> {
        ic_cdk::api::msg_arg_data()
    }

    fn method_name(&self) -> String {
        ic_cdk::api::msg_method_name()
    }

    fn cycles_available(&self) -> u128 {
        ic_cdk::api::msg_cycles_available()
    }

    fn accept_cycles(&self, cycles: u128) {
        ic_cdk::api::msg_cycles_accept(cycles);
    }

    fn reply(&self, bytes: &[u8]) {
        ic_cdk::api::msg_reply(bytes);
    }

    fn trap(&self, text: &str) -> ! {
        ic_cdk::api::trap(format!("idempotency: {text}"))
    }

    #[cfg(feature = "timers")]
    fn after(&self, delay: std::time::Duration, task: impl FnOnce() + 'static) {
        ic_cdk_timers::set_timer(delay, async move { task() });
    }
}
