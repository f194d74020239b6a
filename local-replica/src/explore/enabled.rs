//! Which steps a state allows.

use candid::Principal;

use super::schedule::{FaultKind, Step};
use super::spec::{Spec, When};
use super::state::{Client, State};
use crate::call_context::Request;
use crate::canister::Status;
use crate::faults::Hook;

/// What a step works on, besides adding to what is on its way from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Canister(Principal),
    /// Anything: time, or the management canister.
    Everywhere,
}

/// Where a step works.
pub(super) fn place(step: &Step, spec: &Spec) -> Place {
    let id = match step {
        // Whether it can be delivered depends on all there is.
        Step::Message { message, .. } => spec.messages.get(*message).and_then(|it| match it.when {
            When::Later(_) => None,
            _ => Some(it.canister),
        }),
        Step::Request { to, .. } | Step::Response { to, .. } => Some(*to),
        Step::Timer { canister, .. }
        | Step::Start { canister }
        | Step::Refill { canister }
        | Step::LoseAnswer {
            caller: canister, ..
        }
        | Step::Upgrade { canister, .. }
        | Step::Stop { canister }
        | Step::Uninstall { canister }
        | Step::OutOfCycles { canister } => Some(*canister),
        Step::Time | Step::Clock { .. } => None,
    };
    match id {
        Some(id) if id != Principal::management_canister() => Place::Canister(id),
        _ => Place::Everywhere,
    }
}

/// Whether two steps that are possible in the same state lead to the same one in either order, and neither takes the
/// other's possibility away.
///
/// Steps on two canisters do: what one sends goes to the end of a queue, or to the answers on their way, which have no
/// order; the other takes from the front of a queue of its own. Not asked of two faults, which share the bound on their
/// number: one of them may be the last.
pub(super) fn commute(one: &Step, other: &Step, spec: &Spec) -> bool {
    match (place(one, spec), place(other, spec)) {
        (Place::Canister(one), Place::Canister(other)) => one != other,
        _ => false,
    }
}

impl State {
    /// Steps in which nothing goes wrong. None is left when nothing is queued and no time passes any more.
    pub(super) fn steps(&self, spec: &Spec) -> Vec<Step> {
        let fault = None;
        let mut steps: Vec<Step> = self
            .ready_messages(spec, false)
            .map(|message| Step::Message { message, fault })
            .collect();
        for (from, to) in self.requests.keys().copied() {
            let place = 0;
            steps.push(Step::Request {
                from,
                to,
                place,
                fault,
            });
        }
        for (to, callback) in self.responses.keys().copied() {
            let call = self.rank(to, callback);
            steps.push(Step::Response { to, call, fault });
        }
        for (canister, saved) in &self.canisters {
            let canister = *canister;
            if saved.canister.status != Status::Running && self.is_ours_to_start(canister) {
                steps.push(Step::Start { canister });
            }
            if self.drained.contains_key(&canister) {
                steps.push(Step::Refill { canister });
            }
            if self.is_timer_due(canister) {
                steps.push(Step::Timer { canister, fault });
            }
        }
        if steps.is_empty() {
            let late = self.ready_messages(spec, true);
            steps.extend(late.map(|message| Step::Message { message, fault }));
            let next = self.next_time();
            if self.time_left > 0 && next.is_some_and(|next| next <= spec.until_ns) {
                steps.push(Step::Time);
            }
        }
        steps
    }

    /// Steps in which something goes wrong.
    pub(super) fn faults(&self, spec: &Spec) -> Vec<Step> {
        let mut steps = Vec::new();
        self.message_faults(spec, &mut steps);
        self.request_faults(spec, &mut steps);
        self.answer_faults(spec, &mut steps);
        self.canister_faults(spec, &mut steps);
        if spec.allows(FaultKind::Clock) {
            let jumps = spec.clock_jumps.iter();
            steps.extend(jumps.map(|ns| Step::Clock { ns: *ns }));
        }
        steps
    }

    fn message_faults(&self, spec: &Spec, steps: &mut Vec<Step>) {
        use FaultKind::{LoseAnswer, LoseRequest, Trap};
        let messages = self.steps(spec).into_iter();
        let messages = messages.filter_map(|step| match step {
            Step::Message { message, .. } => Some(message),
            _ => None,
        });
        for message in messages {
            if !spec.concerns(spec.messages[message].canister) {
                continue;
            }
            for kind in [Trap, LoseRequest, LoseAnswer] {
                let fault = Some(kind);
                steps.extend(
                    spec.allows(kind)
                        .then_some(Step::Message { message, fault }),
                );
            }
        }
    }

    fn request_faults(&self, spec: &Spec, steps: &mut Vec<Step>) {
        for ((from, to), waiting) in &self.requests {
            let (from, to) = (*from, *to);
            if !spec.concerns(to) {
                continue;
            }
            for (place, request) in waiting.iter().enumerate() {
                let step = |kind| Step::Request {
                    from,
                    to,
                    place,
                    fault: Some(kind),
                };
                let traps = place == 0 && to != Principal::management_canister();
                let kinds = [
                    (FaultKind::Trap, traps),
                    (FaultKind::Refuse, true),
                    (FaultKind::LoseRequest, is_best_effort(request)),
                ];
                let kinds = kinds.into_iter().filter(|(_, possible)| *possible);
                let kinds = kinds
                    .map(|(kind, _)| kind)
                    .filter(|kind| spec.allows(*kind));
                steps.extend(kinds.map(step));
            }
        }
    }

    fn answer_faults(&self, spec: &Spec, steps: &mut Vec<Step>) {
        for (to, callback) in self.responses.keys().copied() {
            let call = self.rank(to, callback);
            let Some((_, callback)) = self.callback(to, call) else {
                continue;
            };
            let kinds = [
                (FaultKind::Trap, true),
                (FaultKind::CleanupTrap, callback.on_cleanup.is_some()),
            ];
            for (kind, possible) in kinds {
                if possible && spec.allows(kind) && spec.concerns(to) {
                    let fault = Some(kind);
                    steps.push(Step::Response { to, call, fault });
                }
            }
        }
        if !spec.allows(FaultKind::LoseAnswer) {
            return;
        }
        for (caller, saved) in &self.canisters {
            let callbacks = saved.canister.calls.callbacks().enumerate();
            for (call, (_, callback)) in callbacks {
                let lost = callback.deadline_ns != 0 && !callback.expired;
                if lost && spec.concerns(callback.callee) {
                    let caller = *caller;
                    steps.push(Step::LoseAnswer { caller, call });
                }
            }
        }
    }

    fn canister_faults(&self, spec: &Spec, steps: &mut Vec<Step>) {
        for (canister, saved) in &self.canisters {
            let (canister, running) = (*canister, self.is_running(*canister));
            if !spec.concerns(canister) {
                continue;
            }
            if spec.allows(FaultKind::TimerTrap) && self.is_timer_due(canister) {
                let fault = Some(FaultKind::TimerTrap);
                steps.push(Step::Timer { canister, fault });
            }
            if let Some(old) = saved.module() {
                for module in 0..=spec.upgrades(canister).len() {
                    let upgrade = |trap| Step::Upgrade {
                        canister,
                        module,
                        trap,
                    };
                    let new = spec
                        .upgrade(canister, module)
                        .map_or(old, |new| &new.module);
                    if spec.allows(FaultKind::Upgrade) {
                        steps.push(upgrade(None));
                    }
                    if spec.allows(FaultKind::UpgradeTrap) {
                        let hooks = [
                            (Hook::PreUpgrade, old.has_pre_upgrade()),
                            (Hook::Start, new.has_start()),
                            (Hook::PostUpgrade, new.has_post_upgrade()),
                        ];
                        let hooks = hooks.into_iter().filter(|(_, there)| *there);
                        steps.extend(hooks.map(|(hook, _)| upgrade(Some(hook))));
                    }
                }
            }
            let kinds = [
                (FaultKind::Stop, running, Step::Stop { canister }),
                (
                    FaultKind::Uninstall,
                    saved.has_code(),
                    Step::Uninstall { canister },
                ),
                (
                    FaultKind::OutOfCycles,
                    !saved.canister.free && !self.drained.contains_key(&canister),
                    Step::OutOfCycles { canister },
                ),
            ];
            let kinds = kinds
                .into_iter()
                .filter(|(kind, possible, _)| *possible && spec.allows(*kind));
            steps.extend(kinds.map(|(_, _, step)| step));
        }
    }

    /// The users' messages that can be delivered at any time, or those for which nothing else may be left to do.
    fn ready_messages(&self, spec: &Spec, later: bool) -> impl Iterator<Item = usize> {
        let is_ready = move |number: usize| {
            let when = spec.messages[number].when;
            self.clients[number] == Client::Waiting
                && self.has_happened(when)
                && matches!(when, When::Later(_)) == later
        };
        (0..spec.messages.len()).filter(move |number| is_ready(*number))
    }

    fn has_happened(&self, when: When) -> bool {
        let client = |number: usize| self.clients.get(number);
        match when {
            When::AtOnce => true,
            When::Answered(number) => matches!(client(number), Some(Client::Answered(_))),
            When::Rejected(number) => {
                matches!(client(number), Some(Client::Answered(answer)) if answer.is_err())
            }
            When::Lost(number) => matches!(client(number), Some(Client::Lost)),
            When::Over(number) | When::Later(number) => {
                matches!(client(number), Some(Client::Lost | Client::Answered(_)))
            }
        }
    }

    /// One that can't be paid for waits until it can.
    fn is_timer_due(&self, id: Principal) -> bool {
        let paid_for = !self.drained.contains_key(&id);
        paid_for && self.timer(id).is_some_and(|timer| timer <= self.time_ns)
    }

    /// When the timer of a running canister is due.
    fn timer(&self, id: Principal) -> Option<u64> {
        let saved = self.canisters.get(&id)?;
        let timer = saved.canister.global_timer;
        let fires = saved.module()?.has_global_timer() && self.is_running(id);
        (fires && timer != 0).then_some(timer)
    }

    /// Who asked the management canister for the stop has to ask it for the start, too.
    fn is_ours_to_start(&self, id: Principal) -> bool {
        self.stopped.contains(&id)
    }

    /// When the next timer is due or the next bounded wait ends.
    pub(super) fn next_time(&self) -> Option<u64> {
        let timers = self.canisters.keys().filter_map(|id| self.timer(*id));
        let callbacks = self.canisters.values();
        let callbacks = callbacks.flat_map(|saved| saved.canister.calls.callbacks());
        let waiting =
            callbacks.filter(|(_, callback)| callback.deadline_ns != 0 && !callback.expired);
        let deadlines = waiting.map(|(_, callback)| callback.deadline_ns);
        let later = timers.chain(deadlines).filter(|time| *time > self.time_ns);
        later.min()
    }
}

pub(super) fn is_best_effort(request: &Request) -> bool {
    request.deadline_ns != 0
}
