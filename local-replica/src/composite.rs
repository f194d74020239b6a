//! Queries, and composite queries: those that call other queries.
//!
//! A query is executed at once, with everything it calls, and leaves no trace. A composite one works on a copy of its
//! canister's state, for its callbacks to see what it did. What it calls, on its own canister too, sees the state of the
//! last round.

use std::collections::VecDeque;

use candid::Principal;
use pocket_ic::ErrorCode;

use crate::call_context::{CallContext, Origin};
use crate::canister::{Canister, Code};
use crate::cycles::limit;
use crate::engine::{DataCertificate, Entry, OutgoingCall, Response, StableMemory};
use crate::errors::Reject;
use crate::execution::{CLEANUP_PERCENT, Input};
use crate::replica::Replica;

/// Composite queries that call one another.
const MAX_DEPTH: usize = 6;

/// A query that someone asks for.
#[derive(Clone, Debug)]
pub(crate) struct QueryCall {
    pub(crate) sender: Principal,
    pub(crate) receiver: Principal,
    pub(crate) method: String,
    pub(crate) payload: Vec<u8>,
    /// For users only: canisters would have no use for it.
    pub(crate) data_certificate: Option<DataCertificate>,
}

/// What a query and all that it calls may use together.
#[derive(Debug)]
pub(crate) struct QueryTree {
    depth: usize,
    instructions_left: u64,
}

impl Default for QueryTree {
    fn default() -> Self {
        Self {
            depth: 0,
            instructions_left: limit::QUERY_TREE,
        }
    }
}

impl QueryTree {
    /// What the next message may use.
    fn limit(&self, canister: &Canister) -> Result<u64, Reject> {
        if canister.benchmarking {
            return Ok(limit::BENCHMARKING);
        }
        match self.instructions_left.min(limit::QUERY) {
            0 => Err(Reject::new(
                ErrorCode::QueryCallGraphTotalInstructionLimitExceeded,
                format!(
                    "The query and its calls exceeded the limit of {} instructions.",
                    limit::QUERY_TREE
                ),
            )),
            limit => Ok(limit),
        }
    }

    fn count(&mut self, instructions: u64) {
        self.instructions_left = self.instructions_left.saturating_sub(instructions);
    }
}

/// A composite query that is being executed.
struct Evaluation {
    id: Principal,
    code: Option<Code>,
    stable: StableMemory,
    context: CallContext,
    /// Calls made and not yet executed.
    calls: VecDeque<OutgoingCall>,
    response: Option<Response>,
}

impl Evaluation {
    /// Puts the copy in the canister's place, and back.
    fn swap(&mut self, canister: &mut Canister) {
        std::mem::swap(&mut self.code, &mut canister.code);
        std::mem::swap(&mut self.stable, &mut canister.stable);
    }
}

impl Replica {
    /// Executes a query and everything it calls.
    pub(crate) fn evaluate(
        &mut self,
        call: QueryCall,
        tree: &mut QueryTree,
    ) -> Result<Vec<u8>, Reject> {
        let id = call.receiver;
        let canister = self.canister(id)?;
        canister.check_running()?;
        let module = canister
            .module()
            .ok_or_else(|| Reject::no_wasm_module(id))?;
        let composite = module.has_composite_query(&call.method);
        if !composite && !module.has_query(&call.method) {
            return Err(Reject::method_not_found(id, "query", &call.method));
        }
        canister.can_pay(0)?;
        let response = if composite {
            self.evaluate_composite(call, tree)?
        } else {
            self.evaluate_plain(call, tree)?
        };
        match response {
            Some(Response::Reply(bytes)) => Ok(bytes),
            Some(Response::Reject(text)) => {
                Err(Reject::plain(ErrorCode::CanisterRejectedMessage, text))
            }
            None => Err(Reject::did_not_reply(id)),
        }
    }

    fn evaluate_plain(
        &mut self,
        call: QueryCall,
        tree: &mut QueryTree,
    ) -> Result<Option<Response>, Reject> {
        let time_ns = self.round_time_ns;
        let id = call.receiver;
        let canister = self.canister(id)?;
        let limit = tree.limit(canister)?;
        let entry = Entry::Query {
            name: call.method,
            replicated: false,
        };
        let input = Input {
            sender: call.sender,
            payload: call.payload,
            data_certificate: call.data_certificate,
            ..Input::new(entry, limit)
        };
        let execution = canister.execute(time_ns, input);
        tree.count(execution.instructions);
        execution
            .result
            .map_err(|trap| Reject::from_trap(id, &trap, limit))?;
        Ok(execution.response)
    }

    fn evaluate_composite(
        &mut self,
        call: QueryCall,
        tree: &mut QueryTree,
    ) -> Result<Option<Response>, Reject> {
        if tree.depth == MAX_DEPTH {
            return Err(Reject::new(
                ErrorCode::QueryCallGraphTooDeep,
                format!("Composite queries call one another more than {MAX_DEPTH} deep."),
            ));
        }
        let id = call.receiver;
        let canister = self.canister(id)?;
        let limit = tree.limit(canister)?;
        let (code, stable) = canister
            .fork()
            .map_err(|trap| Reject::from_trap(id, &trap, limit))?;
        let mut evaluation = Evaluation {
            id,
            code,
            stable,
            context: CallContext {
                origin: Origin::System,
                sender: call.sender,
                deadline_ns: 0,
                cycles_available: 0,
                instructions: 0,
                responded: false,
                deleted: false,
                outstanding: 0,
            },
            calls: VecDeque::new(),
            response: None,
        };
        let entry = Entry::Query {
            name: call.method,
            replicated: false,
        };
        let input = Input {
            payload: call.payload,
            data_certificate: call.data_certificate,
            ..Input::new(entry, limit)
        };
        self.execute_part(&mut evaluation, input, tree)?;
        tree.depth += 1;
        let result = self.execute_calls(&mut evaluation, tree);
        tree.depth -= 1;
        result.map(|()| evaluation.response)
    }

    /// Executes the calls that a composite query has made, and its callbacks, until it has answered or traps.
    fn execute_calls(
        &mut self,
        evaluation: &mut Evaluation,
        tree: &mut QueryTree,
    ) -> Result<(), Reject> {
        let mut last = Ok(());
        while evaluation.response.is_none()
            && let Some(call) = evaluation.calls.pop_front()
        {
            last = self.execute_call(evaluation, call, tree);
        }
        // An earlier callback may trap: the others can still answer.
        last
    }

    fn execute_call(
        &mut self,
        evaluation: &mut Evaluation,
        call: OutgoingCall,
        tree: &mut QueryTree,
    ) -> Result<(), Reject> {
        let id = evaluation.id;
        let subnet = self.canister(id)?.subnet;
        let reachable = self
            .canisters
            .get(&call.callee)
            .is_some_and(|callee| callee.subnet == subnet);
        let result = if reachable {
            let call = QueryCall {
                sender: id,
                receiver: call.callee,
                method: call.method,
                payload: call.payload,
                data_certificate: None,
            };
            self.evaluate(call, tree)
        } else {
            Err(Reject::canister_not_found(call.callee))
        };
        let limit = tree.limit(self.canister(id)?)?;
        let for_cleanup = limit / 100 * CLEANUP_PERCENT;
        let input = match result {
            Ok(reply) => Input {
                payload: reply,
                ..Input::new(Entry::Reply(call.on_reply), limit - for_cleanup)
            },
            Err(reject) => {
                let reject = match reject.error {
                    ErrorCode::CanisterDidNotReply => Reject::no_response(),
                    _ => reject,
                };
                Input {
                    reject: Some(reject.for_canister()),
                    ..Input::new(Entry::Reject(call.on_reject), limit - for_cleanup)
                }
            }
        };
        let Err(reject) = self.execute_part(evaluation, input, tree) else {
            return Ok(());
        };
        let Some(closure) = call.on_cleanup else {
            return Err(reject);
        };
        let input = Input::new(Entry::Cleanup(closure), for_cleanup);
        match self.execute_part(evaluation, input, tree) {
            Ok(()) => Err(reject),
            Err(cleanup) => Err(reject.with_cleanup(&cleanup)),
        }
    }

    /// Executes one message of a composite query.
    fn execute_part(
        &mut self,
        evaluation: &mut Evaluation,
        input: Input,
        tree: &mut QueryTree,
    ) -> Result<(), Reject> {
        let time_ns = self.round_time_ns;
        let limit = input.limit;
        let input = Input {
            sender: evaluation.context.sender,
            context: Some(evaluation.context.clone()),
            composite: true,
            ..input
        };
        let canister = self.canister(evaluation.id)?;
        evaluation.swap(canister);
        let execution = canister.execute(time_ns, input);
        evaluation.swap(canister);
        tree.count(execution.instructions);
        evaluation.context.instructions += execution.instructions;
        execution
            .result
            .map_err(|trap| Reject::from_trap(evaluation.id, &trap, limit))?;
        evaluation.calls.extend(execution.calls);
        evaluation.response = execution.response;
        Ok(())
    }
}
