//! Executing what waits in a canister's queue, and applying what came of it.

use candid::Principal;
use pocket_ic::ErrorCode;

use crate::call_context::{CallContext, Callback, Origin, Request, Response};
use crate::canister::Canister;
use crate::cycles::{self, limit};
use crate::engine::{self, DataCertificate, Entry, Execution, Message, Trap, TrapAt};
use crate::errors::Reject;
use crate::replica::{Outgoing, Replica};

/// Best-effort calls wait at most this long.
const MAX_WAIT_SECONDS: u32 = 300;
const SECOND_NS: u64 = 1_000_000_000;
/// Share of a callback's instructions that is kept back for its cleanup.
pub(crate) const CLEANUP_PERCENT: u64 = 5;

/// What a message is given besides the canister it runs on.
#[derive(Debug)]
pub struct Input {
    /// What to run.
    pub entry: Entry,
    /// Most instructions it may use.
    pub limit: u64,
    /// `msg_caller`
    pub sender: Principal,
    /// Method under inspection.
    pub method: String,
    /// Argument or reply.
    pub payload: Vec<u8>,
    /// Reject code and text, in a reject callback.
    pub reject: Option<(u32, String)>,
    /// Cycles refunded by the callee.
    pub refund: u128,
    /// The call being served.
    pub context: Option<CallContext>,
    /// Part of a composite query.
    pub composite: bool,
    /// For a query that a user asks for.
    pub data_certificate: Option<DataCertificate>,
    /// Where to trap for no reason.
    pub trap_at: Option<TrapAt>,
}

impl Input {
    /// A message sent by nobody, with nothing in it.
    pub fn new(entry: Entry, limit: u64) -> Self {
        Self {
            entry,
            limit,
            sender: Principal::management_canister(),
            method: String::new(),
            payload: Vec::new(),
            reject: None,
            refund: 0,
            context: None,
            composite: false,
            data_certificate: None,
            trap_at: None,
        }
    }
}

impl Canister {
    /// Runs a message. State is committed or undone by the engine; everything else is up to the caller.
    pub fn execute(&mut self, time_ns: u64, input: Input) -> Execution {
        let free_of_charge = input.composite
            || matches!(
                input.entry,
                Entry::Query {
                    replicated: false,
                    ..
                } | Entry::InspectMessage
            );
        let prepayment = if free_of_charge {
            0
        } else {
            self.prepayment(input.limit)
        };
        let context = input.context.as_ref();
        let message = Message {
            canister_id: self.id,
            subnet_id: self.subnet,
            caller: input.sender,
            method_name: input.method,
            payload: input.payload,
            reject: input.reject,
            deadline_ns: context.map_or(0, |context| context.deadline_ns),
            time_ns,
            cycles_balance: self.cycles.saturating_sub(prepayment),
            global_timer_ns: self.global_timer,
            cycles_frozen: if self.free { 0 } else { self.freezing_limit() },
            cycles_available: context.map_or(0, |context| context.cycles_available),
            cycles_refunded: input.refund,
            canister_version: self.version,
            canister_status: self.status_number(),
            controllers: self.settings.controllers.clone(),
            instruction_limit: input.limit,
            call_context_instructions: context.map_or(0, |context| context.instructions),
            already_replied: context.is_some_and(|context| context.responded),
            composite: input.composite,
            data_certificate: input.data_certificate,
            trap_at: input.trap_at,
            entry: input.entry,
        };
        let Some(code) = &mut self.code else {
            return undone(Trap::Contract("the canister has no Wasm module".to_owned()));
        };
        code.instance.execute(&mut self.stable, &message)
    }

    /// Runs a message that the canister pays for.
    pub fn execute_charged(&mut self, time_ns: u64, input: Input) -> Execution {
        let is_query = matches!(input.entry, Entry::Query { .. });
        let mut execution = self.execute(time_ns, input);
        self.charge(cycles::execution(
            execution.instructions,
            execution.dirty_heap_pages,
        ));
        self.append_log(time_ns, std::mem::take(&mut execution.log));
        if execution.result.is_ok() {
            self.cycles = self
                .cycles
                .saturating_add(execution.cycles_accepted)
                .saturating_sub(execution.cycles_burned);
            if let Some(deadline) = execution.global_timer {
                self.global_timer = deadline;
            }
            if let Some(data) = execution.certified_data.take() {
                self.certified_data = data;
            }
            if !is_query {
                self.version += 1;
            }
        }
        execution
    }

    /// Turns a call the canister made into a request, and pays for it.
    fn send(&mut self, time_ns: u64, context: u64, call: engine::OutgoingCall) -> Request {
        let deadline_ns = call.timeout_seconds.map_or(0, |seconds| {
            // Deadlines are in whole seconds on the IC.
            (time_ns / SECOND_NS + u64::from(seconds.min(MAX_WAIT_SECONDS)))
                .saturating_mul(SECOND_NS)
        });
        self.charge(cycles::request(&call.method, call.payload.len()));
        self.cycles = self.cycles.saturating_sub(call.cycles);
        let callback = self.calls.register(Callback {
            context,
            callee: call.callee,
            method: call.method.as_str().into(),
            on_reply: call.on_reply,
            on_reject: call.on_reject,
            on_cleanup: call.on_cleanup,
            deadline_ns,
            expired: false,
        });
        Request {
            origin: Origin::Canister {
                id: self.id,
                callback,
            },
            sender: self.id,
            receiver: call.callee,
            method: call.method,
            payload: call.payload,
            cycles: call.cycles,
            deadline_ns,
        }
    }
}

fn undone(trap: Trap) -> Execution {
    Execution {
        result: Err(trap),
        response: None,
        calls: Vec::new(),
        cycles_accepted: 0,
        cycles_burned: 0,
        certified_data: None,
        global_timer: None,
        accepted: false,
        instructions: 0,
        dirty_heap_pages: 0,
        log: Vec::new(),
    }
}

impl Replica {
    /// Executes a call; answers the instructions used.
    pub fn execute_request(&mut self, request: Request) -> u64 {
        // The caller has stopped waiting; what it doesn't wait for is not started.
        if request.deadline_ns != 0 && request.deadline_ns <= self.time_ns {
            return 0;
        }
        let context = CallContext {
            origin: request.origin,
            sender: request.sender,
            deadline_ns: request.deadline_ns,
            cycles_available: request.cycles,
            instructions: 0,
            responded: false,
            deleted: false,
            outstanding: 0,
        };
        match self.entry_of(request.receiver, &request.method) {
            Ok((entry, limit)) => {
                self.run_first(request.receiver, entry, limit, request.payload, context)
            }
            Err(reject) => {
                self.respond(context.origin, Err(reject), context.cycles_available);
                0
            }
        }
    }

    /// Executes a heartbeat or timer; answers the instructions used.
    pub fn execute_task(&mut self, id: Principal, entry: Entry) -> u64 {
        let Some(canister) = self.canisters.get(&id) else {
            return 0;
        };
        let limit = canister.instruction_limit(limit::UPDATE);
        if canister.can_pay(canister.prepayment(limit)).is_err() {
            // The timer goes off when it runs, so this one is tried again in each round.
            if let (Entry::GlobalTimer, Some(canister)) = (&entry, self.canisters.get_mut(&id)) {
                canister.global_timer = self.time_ns;
            }
            return 0;
        }
        let context = CallContext {
            origin: Origin::System,
            sender: Principal::management_canister(),
            deadline_ns: 0,
            cycles_available: 0,
            instructions: 0,
            responded: true,
            deleted: false,
            outstanding: 0,
        };
        self.run_first(id, entry, limit, Vec::new(), context)
    }

    /// Executes the callback for an answer; answers the instructions used.
    pub fn execute_response(&mut self, id: Principal, response: Response) -> u64 {
        let time_ns = self.time_ns;
        let Some(canister) = self.canisters.get_mut(&id) else {
            return 0;
        };
        canister.cycles = canister.cycles.saturating_add(response.refund);
        let is_stray = canister.calls.is_of_earlier_heap(response.callback);
        let Some(callback) = canister.calls.take_callback(response.callback) else {
            return 0;
        };
        let Some(context) = canister.calls.context(callback.context) else {
            return 0;
        };
        let context = context.clone();
        if context.deleted {
            self.finish(id, callback.context, None);
            return 0;
        }
        let limit = canister.instruction_limit(limit::UPDATE);
        let sender = context.sender;
        let (entry, payload, reject) = match response.result {
            Ok(reply) => (Entry::Reply(callback.on_reply), reply, None),
            Err(reject) => {
                let reject = Some(reject.for_canister());
                (Entry::Reject(callback.on_reject), Vec::new(), reject)
            }
        };
        let input = Input {
            sender,
            payload,
            reject,
            refund: response.refund,
            context: Some(context.clone()),
            trap_at: self.faults.trap_at(),
            ..Input::new(entry, limit - limit / 100 * CLEANUP_PERCENT)
        };
        let execution = canister.execute_charged(time_ns, input);
        canister.has_taken_stray |= is_stray && execution.result.is_ok();
        let mut instructions = execution.instructions;
        let trap = self.apply(id, callback.context, execution);
        let Some(trap) = trap else {
            self.finish(id, callback.context, None);
            return instructions;
        };
        let mut reject = Reject::from_trap(id, &trap, limit);
        if callback.on_cleanup.is_some() {
            self.disturb_cleanup(id);
        }
        if let (Some(closure), Some(canister)) = (callback.on_cleanup, self.canisters.get_mut(&id))
        {
            let input = Input {
                sender,
                context: Some(context),
                trap_at: self.faults.trap_at(),
                ..Input::new(Entry::Cleanup(closure), limit.saturating_sub(instructions))
            };
            let cleanup = canister.execute_charged(time_ns, input);
            canister.has_taken_stray |= is_stray && cleanup.result.is_ok();
            instructions += cleanup.instructions;
            if let Some(trap) = self.apply(id, callback.context, cleanup) {
                reject = reject.with_cleanup(&Reject::from_trap(id, &trap, limit));
            }
        }
        self.finish(id, callback.context, Some(reject));
        instructions
    }

    fn entry_of(&mut self, id: Principal, method: &str) -> Result<(Entry, u64), Reject> {
        let canister = self.canister(id)?;
        canister.check_running()?;
        let module = canister
            .module()
            .ok_or_else(|| Reject::no_wasm_module(id))?;
        let name = method.to_owned();
        let (entry, limit) = if module.has_update(method) {
            (Entry::Update(name), limit::UPDATE)
        } else if module.has_query(method) {
            let replicated = true;
            (Entry::Query { name, replicated }, limit::QUERY)
        } else if module.has_composite_query(method) {
            return Err(Reject::new(
                ErrorCode::CompositeQueryCalledInReplicatedMode,
                "Composite query cannot be called in replicated mode",
            ));
        } else {
            return Err(Reject::method_not_found(id, "update", method));
        };
        let limit = canister.instruction_limit(limit);
        canister.can_pay(canister.prepayment(limit))?;
        Ok((entry, limit))
    }

    /// Runs the first message of a new call context.
    fn run_first(
        &mut self,
        id: Principal,
        entry: Entry,
        limit: u64,
        payload: Vec<u8>,
        context: CallContext,
    ) -> u64 {
        let time_ns = self.time_ns;
        let Some(canister) = self.canisters.get_mut(&id) else {
            return 0;
        };
        let input = Input {
            sender: context.sender,
            payload,
            context: Some(context.clone()),
            trap_at: self.faults.trap_at(),
            ..Input::new(entry, limit)
        };
        let context = canister.calls.open(context);
        let execution = canister.execute_charged(time_ns, input);
        let instructions = execution.instructions;
        let trap = self.apply(id, context, execution);
        let reject = trap.map(|trap| Reject::from_trap(id, &trap, limit));
        self.finish(id, context, reject);
        instructions
    }

    /// Sends the calls and the answer of a message, or answers its trap. The context isn't finished yet.
    fn apply(&mut self, id: Principal, context_id: u64, execution: Execution) -> Option<Trap> {
        let time_ns = self.time_ns;
        let canister = self.canisters.get_mut(&id)?;
        let context = canister.calls.context(context_id)?;
        context.instructions +=
            execution.instructions + cycles::DIRTY_PAGE_INSTRUCTIONS * execution.dirty_heap_pages;
        if let Err(trap) = execution.result {
            if matches!(trap, Trap::Injected(_)) {
                self.faults.trapped(id);
            }
            return Some(trap);
        }
        context.cycles_available = context
            .cycles_available
            .saturating_sub(execution.cycles_accepted);
        let answer = execution.response.map(|response| {
            context.responded = true;
            let refund = std::mem::take(&mut context.cycles_available);
            (context.origin.clone(), response, refund)
        });
        for call in execution.calls {
            let request = canister.send(time_ns, context_id, call);
            self.outbox.push_back(Outgoing::Request(request));
        }
        if let Some((origin, response, refund)) = answer {
            let result = match response {
                engine::Response::Reply(bytes) => Ok(bytes),
                engine::Response::Reject(text) => {
                    Err(Reject::plain(ErrorCode::CanisterRejectedMessage, text))
                }
            };
            self.respond(origin, result, refund);
        }
        None
    }

    /// Ends a context that waits for nothing any more, and answers its caller if nobody did.
    fn finish(&mut self, id: Principal, context_id: u64, error: Option<Reject>) {
        let Some(canister) = self.canisters.get_mut(&id) else {
            return;
        };
        match canister.calls.context(context_id) {
            Some(context) if context.outstanding == 0 => {}
            _ => return,
        }
        let Some(context) = canister.calls.close(context_id) else {
            return;
        };
        if !context.responded {
            let reject = error.unwrap_or_else(|| match context.origin {
                Origin::Canister { .. } => Reject::no_response(),
                _ => Reject::did_not_reply(id),
            });
            self.respond(context.origin, Err(reject), context.cycles_available);
        }
    }
}
