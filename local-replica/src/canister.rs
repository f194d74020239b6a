//! One canister: code, memory, settings, queues and bookkeeping.

use std::collections::{BTreeMap, VecDeque};

use candid::Principal;
use ic_management_canister_types::{CanisterLogRecord, LogVisibility};
use pocket_ic::ErrorCode;

use crate::call_context::{Calls, Request, Response};
use crate::cycles::{self, limit};
use crate::engine::{Instance, Module, StableMemory, Trap};
use crate::errors::Reject;
use crate::topology::Subnet;

/// Bytes of log content that are kept.
const LOG_BYTES: usize = 4_096;
const STORAGE_CHARGE_INTERVAL_NS: u64 = 10_000_000_000;

/// Running, stopping or stopped.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Takes calls.
    Running,
    /// Waits for outstanding calls; holds who asked for the stop, and when.
    Stopping(Vec<(Request, u64)>),
    /// Takes no calls.
    Stopped,
}

/// What waits to be executed on a canister.
#[derive(Clone, Debug)]
pub enum Input {
    /// A call.
    Request(Request),
    /// The answer to a call it made.
    Response(Response),
    /// Its heartbeat is due.
    Heartbeat,
    /// Its global timer is due.
    GlobalTimer,
}

/// What `update_settings` changes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may manage the canister.
    pub controllers: Vec<Principal>,
    /// Kept and reported, without effect here.
    pub compute_allocation: u64,
    /// Kept and reported, without effect here.
    pub memory_allocation: u64,
    /// Seconds of storage that a canister keeps cycles for.
    pub freezing_threshold: u64,
    /// Kept and reported, without effect here.
    pub reserved_cycles_limit: u128,
    /// Who may read the log.
    pub log_visibility: LogVisibility,
    /// Kept and reported, without effect here.
    pub wasm_memory_limit: u64,
    /// Kept and reported, without effect here.
    pub wasm_memory_threshold: u64,
}

impl Settings {
    /// The IC's defaults.
    pub fn new(controllers: Vec<Principal>) -> Self {
        Self {
            controllers,
            compute_allocation: 0,
            memory_allocation: 0,
            freezing_threshold: 2_592_000,
            reserved_cycles_limit: 5_000_000_000_000,
            log_visibility: LogVisibility::Controllers,
            wasm_memory_limit: 3 << 30,
            wasm_memory_threshold: 0,
        }
    }
}

/// Installed code with its heap.
#[derive(Debug)]
pub struct Code {
    /// Heap, globals and table.
    pub instance: Instance,
    /// Size of the module as it was uploaded.
    pub wasm_len: usize,
}

/// A canister.
#[derive(Debug)]
pub struct Canister {
    /// Its principal.
    pub id: Principal,
    /// The subnet it is on.
    pub subnet: Principal,
    /// The subnet charges nothing.
    pub free: bool,
    /// The subnet has the limits for benchmarks.
    pub benchmarking: bool,
    /// Its settings.
    pub settings: Settings,
    /// Its balance.
    pub cycles: u128,
    /// Its status.
    pub status: Status,
    /// `ic0.canister_version`
    pub version: u64,
    /// An answer to a call from before an upgrade was taken, by a callback or a cleanup that didn't trap.
    pub(crate) has_taken_stray: bool,
    /// Installed code, if any.
    pub code: Option<Code>,
    /// Stable memory.
    pub stable: StableMemory,
    /// What `certified_data_set` was given last.
    pub certified_data: Vec<u8>,
    /// Deadline of the global timer in ns, 0 when off.
    pub global_timer: u64,
    /// Uploaded pieces of modules by hash.
    pub chunks: BTreeMap<Vec<u8>, Vec<u8>>,
    /// What waits to be executed, in order of arrival.
    pub inputs: VecDeque<Input>,
    /// Calls being served and waited for.
    pub calls: Calls,
    /// `debug_print` and traps.
    pub log: VecDeque<CanisterLogRecord>,
    /// Instructions of installations that later rounds have to make up for.
    installation_debit: u64,
    charged_until_ns: u64,
    log_bytes: usize,
    next_log_index: u64,
}

impl Canister {
    /// An empty canister.
    pub fn new(
        id: Principal,
        subnet: &Subnet,
        settings: Settings,
        cycles: u128,
        now_ns: u64,
    ) -> Self {
        Self {
            id,
            subnet: subnet.id,
            free: subnet.is_free(),
            benchmarking: subnet.is_benchmarking(),
            settings,
            cycles,
            status: Status::Running,
            version: 0,
            has_taken_stray: false,
            code: None,
            stable: StableMemory::default(),
            certified_data: Vec::new(),
            global_timer: 0,
            chunks: BTreeMap::new(),
            inputs: VecDeque::new(),
            calls: Calls::default(),
            log: VecDeque::new(),
            installation_debit: 0,
            charged_until_ns: now_ns,
            log_bytes: 0,
            next_log_index: 0,
        }
    }

    /// A copy of everything but the code and what waits in the queue.
    pub(crate) fn without_code(&self) -> Self {
        Self {
            id: self.id,
            subnet: self.subnet,
            free: self.free,
            benchmarking: self.benchmarking,
            settings: self.settings.clone(),
            cycles: self.cycles,
            status: self.status.clone(),
            version: self.version,
            has_taken_stray: self.has_taken_stray,
            code: None,
            stable: self.stable.clone(),
            certified_data: self.certified_data.clone(),
            global_timer: self.global_timer,
            chunks: self.chunks.clone(),
            inputs: VecDeque::new(),
            calls: self.calls.clone(),
            log: self.log.clone(),
            installation_debit: self.installation_debit,
            charged_until_ns: self.charged_until_ns,
            log_bytes: self.log_bytes,
            next_log_index: self.next_log_index,
        }
    }

    /// A copy of code, heap and stable memory.
    pub fn fork(&mut self) -> Result<(Option<Code>, StableMemory), Trap> {
        let code = match &mut self.code {
            Some(code) => Some(Code {
                instance: code.instance.fork()?,
                wasm_len: code.wasm_len,
            }),
            None => None,
        };
        Ok((code, self.stable.clone()))
    }

    /// The installed module.
    pub fn module(&self) -> Option<&Module> {
        self.code.as_ref().map(|code| code.instance.module())
    }

    /// `ic0.canister_status`
    pub fn status_number(&self) -> u32 {
        match self.status {
            Status::Running => 1,
            Status::Stopping(_) => 2,
            Status::Stopped => 3,
        }
    }

    /// Whether this principal may manage the canister.
    pub fn is_controller(&self, principal: Principal) -> bool {
        self.settings.controllers.contains(&principal)
    }

    /// Bytes of heap, stable memory, module and chunks.
    pub fn memory_size(&self) -> u64 {
        let code = self
            .code
            .as_ref()
            .map_or(0, |code| code.instance.heap_size() + code.wasm_len as u64);
        code + self.stable_size() + self.chunk_size()
    }

    /// Bytes of stable memory.
    pub fn stable_size(&self) -> u64 {
        self.stable.wasm_pages() * 65_536
    }

    /// Bytes of uploaded chunks.
    pub fn chunk_size(&self) -> u64 {
        self.chunks.values().map(|chunk| chunk.len() as u64).sum()
    }

    /// Cycles below which the canister is frozen.
    pub fn freezing_limit(&self) -> u128 {
        cycles::storage(
            self.memory_size(),
            u128::from(self.settings.freezing_threshold) * 1_000_000_000,
        )
    }

    /// What a message may use on this subnet.
    pub fn instruction_limit(&self, production: u64) -> u64 {
        if self.benchmarking {
            limit::BENCHMARKING
        } else {
            production
        }
    }

    /// What is set aside before a message runs; all but the used part comes back.
    pub fn prepayment(&self, instruction_limit: u64) -> u128 {
        if self.free {
            0
        } else {
            // A benchmarking limit would take more than canisters are created with.
            cycles::execution(instruction_limit.min(limit::INSTALL), 0)
        }
    }

    /// Takes a fee, or what is there of it.
    pub fn charge(&mut self, fee: u128) {
        if !self.free {
            self.cycles = self.cycles.saturating_sub(fee);
        }
    }

    /// Whether a fee can be paid without the canister freezing.
    pub fn can_pay(&self, fee: u128) -> Result<(), Reject> {
        let needed = fee.saturating_add(self.freezing_limit());
        if self.free || self.cycles >= needed {
            return Ok(());
        }
        Err(Reject::new(
            ErrorCode::CanisterOutOfCycles,
            format!(
                "Canister {} is out of cycles: please top up the canister with at least {} additional cycles",
                self.id,
                needed - self.cycles
            ),
        ))
    }

    /// Charges for storage, in steps of ten seconds as the IC does.
    pub fn charge_storage(&mut self, now_ns: u64) {
        let elapsed = now_ns.saturating_sub(self.charged_until_ns);
        if elapsed >= STORAGE_CHARGE_INTERVAL_NS {
            self.charge(cycles::storage(self.memory_size(), elapsed.into()));
            self.charged_until_ns = now_ns;
        }
    }

    /// Remembers the instructions of an installation.
    pub fn count_installation(&mut self, instructions: u64) {
        self.installation_debit = self.installation_debit.saturating_add(instructions);
    }

    /// Whether earlier installations were too much for the rounds since.
    pub fn installed_too_much(&self) -> bool {
        self.installation_debit > 0
    }

    /// At the end of a round.
    pub fn forgive_installations(&mut self) {
        self.installation_debit = self
            .installation_debit
            .saturating_sub(limit::INSTALL_PER_ROUND);
    }

    /// Refuses calls unless the canister is running.
    pub fn check_running(&self) -> Result<(), Reject> {
        match self.status {
            Status::Running => Ok(()),
            Status::Stopping(_) => Err(Reject::new(
                ErrorCode::CanisterStopping,
                format!("Canister {} is stopping", self.id),
            )),
            Status::Stopped => Err(Reject::new(
                ErrorCode::CanisterStopped,
                format!("Canister {} is stopped", self.id),
            )),
        }
    }

    /// Appends to the log, and forgets the oldest lines when it gets too long.
    pub fn append_log(&mut self, time_ns: u64, lines: Vec<String>) {
        for line in lines {
            let mut content = line.into_bytes();
            content.truncate(LOG_BYTES);
            self.log_bytes += content.len();
            self.log.push_back(CanisterLogRecord {
                idx: self.next_log_index,
                timestamp_nanos: time_ns,
                content,
            });
            self.next_log_index += 1;
            while self.log_bytes > LOG_BYTES {
                let dropped = self
                    .log
                    .pop_front()
                    .map_or(0, |record| record.content.len());
                self.log_bytes -= dropped;
            }
        }
    }

    /// Forgets the log.
    pub fn clear_log(&mut self) {
        self.log.clear();
        self.log_bytes = 0;
    }
}
