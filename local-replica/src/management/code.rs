//! Installing, upgrading and uninstalling code.

use candid::Principal;
use ic_management_canister_types::{
    CanisterInstallMode, InstallCodeArgs, UninstallCodeArgs, WasmMemoryPersistence,
};
use pocket_ic::ErrorCode;

use super::{Answer, decode, done, empty_reply};
use crate::canister::{Canister, Code};
use crate::cycles::{self, limit};
use crate::engine::{Entry, Instance, Module, StableMemory, Trap, TrapAt};
use crate::errors::{Help, Reject};
use crate::execution::Input;
use crate::faults::Hook;
use crate::replica::Replica;

/// One `install_code`.
pub(crate) struct Installation {
    pub(crate) sender: Principal,
    pub(crate) canister: Principal,
    pub(crate) mode: CanisterInstallMode,
    pub(crate) wasm: Vec<u8>,
    pub(crate) arg: Vec<u8>,
}

/// Whether code was replaced, and what an upgrade took away or failed to put in place.
type Replaced = (Result<(), Reject>, Option<Code>);

/// What an installation puts in place.
pub(crate) struct NewCode {
    pub(crate) module: Module,
    /// A fresh instance of it, if there is one already.
    pub(crate) instance: Option<Instance>,
    pub(crate) wasm_len: usize,
    pub(crate) mode: CanisterInstallMode,
    pub(crate) arg: Vec<u8>,
}

/// The steps of one installation share an instruction limit and are charged together.
struct Steps {
    time_ns: u64,
    sender: Principal,
    /// The step that traps for no reason, once it has used so many instructions, or at its end.
    trap: Option<(Entry, u64)>,
    /// Code that an upgrade took away, or failed to put in place.
    removed: Option<Code>,
    limit: u64,
    instructions: u64,
    dirty_heap_pages: u64,
}

impl Replica {
    pub(super) fn install_code(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let args: InstallCodeArgs = decode(payload)?;
        done(self.install(Installation {
            sender,
            canister: args.canister_id,
            mode: args.mode,
            wasm: args.wasm_module,
            arg: args.arg,
        }))
    }

    pub(crate) fn install(&mut self, installation: Installation) -> Result<(), Reject> {
        let time_ns = self.time_ns;
        let limited = self.limits_installations;
        let id = installation.canister;
        let sender = installation.sender;
        let canister = self.controlled(sender, id, "install_code")?;
        check_mode(canister, &installation.mode)?;
        if limited && canister.installed_too_much() {
            return Err(Reject::from_management(
                ErrorCode::CanisterInstallCodeRateLimited,
                format_args!(
                    "Canister {id} is rate limited because it executed too many instructions in the previous \
                     install_code messages. Please retry installation after several minutes."
                ),
                Help::User {
                    advice: "Retry the installation at a later time.",
                    section: "install-code-rate-limited",
                },
            ));
        }
        let limit = canister.instruction_limit(limit::INSTALL);
        canister.can_pay(canister.prepayment(limit))?;
        let module = Module::compile(&installation.wasm)
            .map_err(|error| Reject::invalid_wasm(id, &error))?;
        let new = NewCode {
            module,
            instance: None,
            wasm_len: installation.wasm.len(),
            mode: installation.mode,
            arg: installation.arg,
        };
        replace_code(canister, time_ns, sender, new, None).0
    }

    /// Upgrades a canister to the module it has, as its first controller would.
    pub fn upgrade_to_same_code(&mut self, id: Principal) -> Result<(), Reject> {
        let new = self.same_code(id)?;
        self.upgrade_canister(id, new, None)?.0
    }

    /// As [`upgrade_to_same_code`](Self::upgrade_to_same_code), but a hook traps once it has used so many instructions, or at its end.
    pub(crate) fn fail_to_upgrade(
        &mut self,
        id: Principal,
        hook: Hook,
        instruction: u64,
    ) -> Result<(), Reject> {
        let new = self.same_code(id)?;
        let module = &new.module;
        let has_hook = match hook {
            Hook::PreUpgrade => module.has_pre_upgrade(),
            Hook::Start => module.has_start(),
            Hook::PostUpgrade => module.has_post_upgrade(),
        };
        if !has_hook {
            let text = format!("the module has no such hook: {hook}");
            return Err(Reject::plain(ErrorCode::CanisterMethodNotFound, text));
        }
        let trap = Some((hook.into(), instruction));
        // That it failed is what was asked for.
        self.upgrade_canister(id, new, trap).map(drop)
    }

    fn same_code(&mut self, id: Principal) -> Result<NewCode, Reject> {
        let canister = self.canister(id)?;
        let Some(code) = &canister.code else {
            return Err(Reject::no_wasm_module(id));
        };
        Ok(NewCode {
            module: code.instance.module().clone(),
            instance: None,
            wasm_len: code.wasm_len,
            mode: CanisterInstallMode::Upgrade(None),
            arg: empty_reply(),
        })
    }

    /// Upgrades a canister as its first controller would; the step named by `trap` traps after so many instructions, or at its end.
    /// Answers whether it succeeded, and the code that isn't the canister's any more, or didn't become it.
    pub(crate) fn upgrade_canister(
        &mut self,
        id: Principal,
        new: NewCode,
        trap: Option<(Entry, u64)>,
    ) -> Result<Replaced, Reject> {
        let time_ns = self.time_ns;
        let canister = self.canister(id)?;
        let limit = canister.instruction_limit(limit::INSTALL);
        canister.can_pay(canister.prepayment(limit))?;
        let sender = canister.settings.controllers.first().copied();
        let sender = sender.unwrap_or(Principal::management_canister());
        Ok(replace_code(canister, time_ns, sender, new, trap))
    }

    pub(super) fn uninstall_code(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let id = decode::<UninstallCodeArgs>(payload)?.canister_id;
        self.controlled(sender, id, "uninstall_code")?;
        done(self.uninstall(id))
    }

    /// Removes code and memory, and answers whoever waits for the canister.
    pub(crate) fn uninstall(&mut self, id: Principal) -> Result<(), Reject> {
        let canister = self.canister(id)?;
        canister.code = None;
        canister.stable = StableMemory::default();
        canister.chunks.clear();
        canister.certified_data.clear();
        canister.global_timer = 0;
        canister.clear_log();
        canister.version += 1;
        for context in canister.calls.abandon() {
            let reject = Reject::plain(
                ErrorCode::CanisterRejectedMessage,
                "Canister has been uninstalled.",
            );
            self.respond(context.origin, Err(reject), context.cycles_available);
        }
        Ok(())
    }
}

fn check_mode(canister: &Canister, mode: &CanisterInstallMode) -> Result<(), Reject> {
    let id = canister.id;
    match mode {
        CanisterInstallMode::Install if canister.code.is_some() => Err(Reject::from_management(
            ErrorCode::CanisterNonEmpty,
            format_args!(
                "Canister {id} cannot be installed because the canister is not empty. Try installing with \
                 mode='reinstall' instead."
            ),
            Help::User {
                advice: "Check that you want to overwrite the canister and, if so, use mode='reinstall'.",
                section: "canister-not-empty",
            },
        )),
        CanisterInstallMode::Upgrade(_) if canister.code.is_none() => {
            Err(Reject::no_wasm_module(id))
        }
        CanisterInstallMode::Upgrade(Some(flags))
            if flags.wasm_memory_persistence == Some(WasmMemoryPersistence::Keep) =>
        {
            Err(Reject::unsupported("upgrades that keep the heap"))
        }
        _ => Ok(()),
    }
}

/// Runs the steps of an installation, and charges for them.
fn replace_code(
    canister: &mut Canister,
    time_ns: u64,
    sender: Principal,
    new: NewCode,
    trap: Option<(Entry, u64)>,
) -> Replaced {
    let mut steps = Steps {
        time_ns,
        sender,
        limit: canister.instruction_limit(limit::INSTALL),
        trap,
        removed: None,
        instructions: new.module.compilation_instructions(),
        dirty_heap_pages: 0,
    };
    let result = steps.run(canister, new);
    canister.charge(cycles::execution(
        steps.instructions,
        steps.dirty_heap_pages,
    ));
    // Without a limit nobody asks.
    canister.count_installation(steps.instructions);
    if result.is_ok() {
        canister.version += 1;
    }
    let result = result.map_err(|trap| Reject::from_trap(canister.id, &trap, steps.limit));
    (result, steps.removed)
}

impl Steps {
    fn run(&mut self, canister: &mut Canister, new: NewCode) -> Result<(), Trap> {
        let NewCode {
            module,
            instance,
            wasm_len,
            mode,
            arg,
        } = new;
        let module = &module;
        let instance = match instance {
            Some(instance) => instance,
            None => Instance::new(module)?,
        };
        let new = Code { instance, wasm_len };
        match mode {
            CanisterInstallMode::Install | CanisterInstallMode::Reinstall => {
                let old_code = canister.code.replace(new);
                let old_stable = std::mem::take(&mut canister.stable);
                let old_certified_data = std::mem::take(&mut canister.certified_data);
                let old_timer = std::mem::take(&mut canister.global_timer);
                let result = self.start_with(canister, module.has_init(), Entry::Init, arg);
                if result.is_err() {
                    canister.code = old_code;
                    canister.stable = old_stable;
                    canister.certified_data = old_certified_data;
                    canister.global_timer = old_timer;
                }
                result
            }
            CanisterInstallMode::Upgrade(flags) => {
                let skip = flags.and_then(|flags| flags.skip_pre_upgrade) == Some(true);
                self.upgrade(canister, module, new, arg, skip)
            }
        }
    }

    fn upgrade(
        &mut self,
        canister: &mut Canister,
        module: &Module,
        new: Code,
        arg: Vec<u8>,
        skip_pre_upgrade: bool,
    ) -> Result<(), Trap> {
        let has_pre_upgrade = canister.module().is_some_and(Module::has_pre_upgrade);
        let certified_data = canister.certified_data.clone();
        let timer = canister.global_timer;
        // All steps succeed or fail together. The engine never keeps what pre_upgrade does to the heap.
        canister.stable.begin();
        if has_pre_upgrade && !skip_pre_upgrade {
            let result = self.step(canister, Entry::PreUpgrade, Vec::new());
            if result.is_err() {
                canister.stable.revert();
                canister.certified_data = certified_data;
                self.removed = Some(new);
                return result;
            }
        }
        canister.global_timer = 0;
        let old = canister.code.replace(new);
        let result = self.start_with(canister, module.has_post_upgrade(), Entry::PostUpgrade, arg);
        if result.is_err() {
            self.removed = std::mem::replace(&mut canister.code, old);
            canister.stable.revert();
            canister.certified_data = certified_data;
            canister.global_timer = timer;
        } else {
            self.removed = old;
            canister.stable.keep();
            canister.calls.begin_heap();
            canister.has_taken_stray = false;
        }
        result
    }

    fn start_with(
        &mut self,
        canister: &mut Canister,
        has_hook: bool,
        hook: Entry,
        arg: Vec<u8>,
    ) -> Result<(), Trap> {
        if canister.module().is_some_and(Module::has_start) {
            self.step(canister, Entry::Start, Vec::new())?;
        }
        if has_hook {
            self.step(canister, hook, arg)?;
        }
        Ok(())
    }

    fn step(&mut self, canister: &mut Canister, entry: Entry, arg: Vec<u8>) -> Result<(), Trap> {
        let trap = self.trap.as_ref().filter(|(step, _)| *step == entry);
        let trap = trap.map(|(_, instruction)| TrapAt::Instruction(*instruction));
        let input = Input {
            trap_at: trap,
            sender: self.sender,
            payload: arg,
            ..Input::new(entry, self.limit.saturating_sub(self.instructions))
        };
        let execution = canister.execute(self.time_ns, input);
        self.instructions += execution.instructions;
        self.dirty_heap_pages += execution.dirty_heap_pages;
        canister.append_log(self.time_ns, execution.log);
        execution.result?;
        if trap.is_some() {
            let end = TrapAt::Instruction(execution.instructions);
            return Err(Trap::Injected(end));
        }
        canister.cycles = canister.cycles.saturating_sub(execution.cycles_burned);
        if let Some(deadline) = execution.global_timer {
            canister.global_timer = deadline;
        }
        if let Some(data) = execution.certified_data {
            canister.certified_data = data;
        }
        Ok(())
    }
}
