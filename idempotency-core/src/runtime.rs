//! What the library asks of the Internet Computer and tells it, as a trait. This is the only file that touches ic0.
//!
//! A canister has [`Canister`]. Tests have their own (`attempt/tests/ic.rs`), which suspends, traps and upgrades where the test says.

mod outgoing;
#[cfg(feature = "archive")]
mod tasks;

#[cfg(any(feature = "archive", feature = "outbox"))]
pub(crate) use outgoing::Answer;
pub(crate) use outgoing::{Outgoing, Rejected};

use crate::time::Timestamp;
use candid::Principal;
use ic_cdk::call::{Call, CallFailed};
use std::future::Future;

/// The Internet Computer, as the message that is being executed sees it.
pub(crate) trait Runtime: Clone + 'static {
    /// The time at which the message executes.
    fn time(&self) -> Timestamp;

    /// This canister.
    fn canister(&self) -> Principal;

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

    /// The cycles that came with the call and are not accepted yet. A cleanup callback must not ask.
    fn cycles_available(&self) -> u128;

    /// Takes cycles that came with the call.
    fn accept_cycles(&self, cycles: u128);

    /// Answers the call.
    fn reply(&self, bytes: &[u8]);

    /// Refuses the call, and undoes nothing. The client is told `idempotency:` and the text.
    fn reject(&self, text: &str);

    /// Undoes the message. The client is told `idempotency:` and the text.
    fn trap(&self, text: &str) -> !;

    /// Sets the canister's certified data.
    fn certify(&self, data: &[u8; 32]);

    /// Whether a message like this one may set it: all that may change a store may, but for cleanup callbacks.
    fn may_certify(&self) -> bool;

    /// The certificate of the certified data, in a query that is not replicated.
    fn data_certificate(&self) -> Option<Vec<u8>>;

    /// Calls a canister. The message ends, and what it did is committed, when the answer is awaited.
    fn call(&self, call: Outgoing) -> impl Future<Output = Result<Vec<u8>, Rejected>> + 'static;

    /// Begins `task`, in this message, and goes on with it in those of the answers that it awaits. It awaits nothing but calls. It belongs to the
    /// call of this message, and may answer it. An upgrade between a call and its answer ends it.
    #[cfg(feature = "archive")]
    fn in_background(&self, task: impl Future<Output = ()> + 'static);

    /// Calls a canister without waiting for the answer.
    #[cfg(feature = "timers")]
    fn notify(&self, call: Outgoing);

    /// What it costs to create a canister, in cycles.
    #[cfg(feature = "archive")]
    fn cost_of_canister(&self) -> u128 {
        0
    }

    /// Runs `task` in a message of its own after `delay`.
    #[cfg(feature = "timers")]
    fn after(&self, delay: std::time::Duration, task: impl FnOnce() + 'static);

    /// As [`after`](Self::after), and again later if that message traps.
    #[cfg(feature = "timers")]
    fn surely_after(&self, delay: std::time::Duration, task: impl FnOnce() + 'static) {
        self.after(delay, task);
    }
}

/// What an outbox asks besides.
#[cfg(feature = "outbox")]
pub(crate) trait Egress: Runtime {
    /// How often the canister was called or changed, as the IC counts it.
    fn canister_version(&self) -> u64;

    /// Cycles that the canister may spend.
    fn liquid_cycles(&self) -> u128;

    /// What an HTTPS outcall with a request of so many bytes costs that lets so many come back, in cycles.
    fn cost_of_outcall(&self, request_bytes: u64, max_response_bytes: u64) -> u128;

    /// Who is given the answers to outcalls of this heap and of those before it: by their tickets.
    fn on_answer(&self, deliver: Deliver);

    /// Makes an outcall, and does not wait for its answer.
    ///
    /// # Errors
    /// [`Rejected`] with code 0: it was not sent.
    fn outcall(&self, call: &Outgoing, ticket: u32) -> Result<(), Rejected>;
}

/// The runtime of a canister.
#[derive(Clone, Copy)]
pub(crate) struct Canister;

impl Runtime for Canister {
    fn time(&self) -> Timestamp {
        Timestamp::from_nanos(ic_cdk::api::time())
    }

    fn canister(&self) -> Principal {
        ic_cdk::api::canister_self()
    }

    /// As ic-cdk does, but for room on the heap: each call does this first.
    fn caller(&self) -> Principal {
        let mut bytes = [0; Principal::MAX_LENGTH_IN_BYTES];
        let bytes = &mut bytes[..ic0::msg_caller_size()];
        ic0::msg_caller_copy(bytes, 0);
        Principal::from_slice(bytes)
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

    fn reject(&self, text: &str) {
        ic_cdk::api::msg_reject(format!("idempotency: {text}"));
    }

    fn trap(&self, text: &str) -> ! {
        ic_cdk::api::trap(format!("idempotency: {text}"))
    }

    fn certify(&self, data: &[u8; 32]) {
        ic_cdk::api::certified_data_set(data);
    }

    fn may_certify(&self) -> bool {
        !ic_cdk::futures::is_recovering_from_trap()
    }

    fn data_certificate(&self) -> Option<Vec<u8>> {
        ic_cdk::api::data_certificate()
    }

    #[expect(clippy::manual_async_fn, reason = "an `async fn` would borrow `self`")]
    fn call(&self, call: Outgoing) -> impl Future<Output = Result<Vec<u8>, Rejected>> + 'static {
        async move {
            #[cfg(feature = "archive")]
            if tasks::is_running() {
                let ticket = next_ticket();
                perform(&call, ticket, task_answered, Some(task_trapped))?;
                return tasks::answer_to(ticket).await;
            }
            let Outgoing {
                callee,
                method,
                argument,
                cycles,
                timeout,
            } = call;
            let call = match timeout {
                Some(seconds) => Call::bounded_wait(callee, &method).change_timeout(seconds),
                None => Call::unbounded_wait(callee, &method),
            };
            let call = call.with_raw_args(&argument).with_cycles(cycles);
            match call.await {
                Ok(reply) => Ok(reply.into_bytes()),
                Err(CallFailed::CallRejected(rejected)) => Err(Rejected {
                    code: rejected.raw_reject_code(),
                    message: rejected.reject_message().to_owned(),
                }),
                Err(not_sent) => Err(Rejected {
                    code: 0,
                    message: not_sent.to_string(),
                }),
            }
        }
    }

    #[cfg(feature = "archive")]
    fn in_background(&self, task: impl Future<Output = ()> + 'static) {
        tasks::run(Box::pin(task));
    }

    #[cfg(feature = "timers")]
    fn notify(&self, call: Outgoing) {
        let message = Call::unbounded_wait(call.callee, &call.method).with_raw_args(&call.argument);
        // What can't be sent now is sent again later.
        let _ = message.with_cycles(call.cycles).oneway();
    }

    #[cfg(feature = "archive")]
    fn cost_of_canister(&self) -> u128 {
        ic_cdk::api::cost_create_canister()
    }

    #[cfg(feature = "timers")]
    fn after(&self, delay: std::time::Duration, task: impl FnOnce() + 'static) {
        ic_cdk_timers::set_timer(delay, async move { task() });
    }

    /// A timer that traps does not run again, so there is a second one, which the first one takes back.
    #[cfg(feature = "timers")]
    fn surely_after(&self, delay: std::time::Duration, task: impl FnOnce() + 'static) {
        use std::{cell::Cell, rc::Rc, time::Duration};

        const LATER: Duration = Duration::from_secs(60);
        let task = Rc::new(Cell::new(Some(task)));
        let second = Rc::new(Cell::new(None));
        let run = move |second: &Cell<Option<_>>| {
            if let Some(second) = second.take() {
                ic_cdk_timers::clear_timer(second);
            }
            if let Some(task) = task.take() {
                task();
            }
        };
        let (again, of_second) = (run.clone(), Rc::clone(&second));
        let timer = ic_cdk_timers::set_timer_interval(delay.saturating_add(LATER), move || {
            let (again, second) = (again.clone(), Rc::clone(&of_second));
            async move { again(&second) }
        });
        second.set(Some(timer));
        ic_cdk_timers::set_timer(delay, async move { run(&second) });
    }
}

#[cfg(feature = "outbox")]
impl Egress for Canister {
    fn canister_version(&self) -> u64 {
        ic_cdk::api::canister_version()
    }

    fn liquid_cycles(&self) -> u128 {
        ic_cdk::api::canister_liquid_cycle_balance()
    }

    fn cost_of_outcall(&self, request_bytes: u64, max_response_bytes: u64) -> u128 {
        ic_cdk::api::cost_http_request(request_bytes, max_response_bytes)
    }

    fn on_answer(&self, deliver: Deliver) {
        ON_ANSWER.set(Some(deliver));
    }

    /// ic-cdk would have the IC remember a call by the address of what waits for its answer. Outcalls take up to a minute, so upgrades come
    /// between, and such an answer would be written to an address of the next heap. A ticket is no address: whichever heap it comes to
    /// looks it up.
    fn outcall(&self, call: &Outgoing, ticket: u32) -> Result<(), Rejected> {
        perform(call, ticket, answered, None)
    }
}

/// A function that the IC calls with a ticket.
#[cfg(any(feature = "archive", feature = "outbox"))]
type Entry = extern "C" fn(usize);

/// Makes a call that the IC remembers by a ticket: `on_answer` is called with it for the answer, and `on_trap` if that traps.
#[cfg(any(feature = "archive", feature = "outbox"))]
#[expect(unsafe_code, reason = "ic-cdk has no call with a ticket")]
fn perform(
    call: &Outgoing,
    ticket: u32,
    on_answer: Entry,
    on_trap: Option<Entry>,
) -> Result<(), Rejected> {
    // The IC traps if a call is given cycles that are not there.
    if call.cycles > ic_cdk::api::canister_liquid_cycle_balance() {
        return Err(Rejected {
            code: 0,
            message: format!(
                "the call could not be made: this canister can't spend {} cycles",
                call.cycles
            ),
        });
    }
    let ticket = ticket as usize;
    // SAFETY: these functions are safe to be called by the IC with any number, in this heap and in any other one of this module.
    unsafe {
        ic0::call_new(
            call.callee.as_slice(),
            &call.method,
            on_answer,
            ticket,
            on_answer,
            ticket,
        );
        if let Some(on_trap) = on_trap {
            ic0::call_on_cleanup(on_trap, ticket);
        }
    }
    ic0::call_data_append(&call.argument);
    if call.cycles > 0 {
        ic0::call_cycles_add128(call.cycles);
    }
    if let Some(seconds) = call.timeout {
        ic0::call_with_best_effort_response(seconds);
    }
    match ic0::call_perform() {
        0 => Ok(()),
        error => Err(Rejected {
            code: 0,
            message: format!("the call could not be made: {error}"),
        }),
    }
}

/// The answer that this message brings.
#[cfg(any(feature = "archive", feature = "outbox"))]
fn answer() -> Answer {
    match ic0::msg_reject_code() {
        0 => Ok(ic_cdk::api::msg_arg_data()),
        code => Err(Rejected {
            code,
            message: ic_cdk::api::msg_reject_msg(),
        }),
    }
}

#[cfg(feature = "archive")]
thread_local! {
    /// The first of the message that made the last call of a task, and how many it made after that.
    static LAST_TICKET: std::cell::Cell<(u32, u32)> = const { std::cell::Cell::new((0, 0)) };
}

/// No other call of a task has it that may be under way: the canister's version is another one in each message, and a message makes few such
/// calls.
#[cfg(feature = "archive")]
fn next_ticket() -> u32 {
    let version = (ic_cdk::api::canister_version() as u32) << 4;
    let (last, count) = LAST_TICKET.get();
    let count = if last == version { count + 1 } else { 0 };
    LAST_TICKET.set((version, count));
    version.wrapping_add(count)
}

/// What the IC calls with the answer to a task's call.
#[cfg(feature = "archive")]
extern "C" fn task_answered(ticket: usize) {
    if let Some(waiting) = tasks::take(ticket) {
        let answer = answer();
        // What it runs may be a method, which may begin tasks of ic-cdk.
        ic_cdk::futures::internals::in_executor_context(|| waiting.go_on(answer));
    }
}

/// What the IC calls when that has trapped: the task does not go on, and whatever it holds lets go.
#[cfg(feature = "archive")]
extern "C" fn task_trapped(ticket: usize) {
    drop(tasks::take(ticket));
}

/// What takes an answer, by its ticket.
#[cfg(feature = "outbox")]
pub(crate) type Deliver = fn(u32, Answer);

#[cfg(feature = "outbox")]
thread_local! {
    static ON_ANSWER: std::cell::Cell<Option<Deliver>> = const { std::cell::Cell::new(None) };
}

/// What the IC calls with the answer to an outcall.
#[cfg(feature = "outbox")]
extern "C" fn answered(ticket: usize) {
    // A heap that has opened no outbox yet can't take it. It is given up in time, as if it had been lost.
    if let (Some(deliver), Ok(ticket)) = (ON_ANSWER.get(), u32::try_from(ticket)) {
        deliver(ticket, answer());
    }
}
