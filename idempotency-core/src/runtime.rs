//! The only file that touches ic0.

use crate::time::Timestamp;
use candid::Principal;

pub(crate) fn time() -> Timestamp {
    Timestamp::from_nanos(ic_cdk::api::time())
}

pub(crate) fn caller() -> Principal {
    ic_cdk::api::msg_caller()
}

pub(crate) fn argument() -> Vec<u8> {
    ic_cdk::api::msg_arg_data()
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
