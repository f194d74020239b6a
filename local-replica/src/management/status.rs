//! What the management canister tells about a canister: status, metadata and log.

use candid::{Nat, Principal};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterMetadataArgs, CanisterMetadataResult, CanisterStatusResult,
    CanisterStatusType, FetchCanisterLogsArgs, FetchCanisterLogsResult, LogVisibility,
    MemoryMetrics, QueryStats,
};
use pocket_ic::ErrorCode;

use super::{Answer, decode, reply};
use crate::canister::Status;
use crate::cycles;
use crate::errors::Reject;
use crate::replica::Replica;

const DAY_NS: u128 = 86_400_000_000_000;

impl Replica {
    pub(super) fn canister_status(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let id = decode::<CanisterIdRecord>(payload)?.canister_id;
        // A canister may ask for its own status.
        let canister = if sender == id {
            self.canister(id)?
        } else {
            self.controlled(sender, id, "canister_status")?
        };
        let (heap, wasm) = canister.code.as_ref().map_or((0, 0), |code| {
            (code.instance.heap_size(), code.wasm_len as u64)
        });
        let memory = canister.memory_size();
        let none = || Nat::from(0_u8);
        let status = CanisterStatusResult {
            status: match canister.status {
                Status::Running => CanisterStatusType::Running,
                Status::Stopping(_) => CanisterStatusType::Stopping,
                Status::Stopped => CanisterStatusType::Stopped,
            },
            ready_for_migration: canister.status == Status::Stopped,
            version: canister.version,
            settings: canister.settings.report(),
            module_hash: canister.module().map(|module| module.hash().to_vec()),
            memory_size: memory.into(),
            memory_metrics: MemoryMetrics {
                wasm_memory_size: heap.into(),
                stable_memory_size: canister.stable_size().into(),
                global_memory_size: none(),
                wasm_binary_size: wasm.into(),
                custom_sections_size: none(),
                canister_history_size: none(),
                wasm_chunk_store_size: canister.chunk_size().into(),
                snapshots_size: none(),
                log_memory_store_size: none(),
            },
            cycles: canister.cycles.into(),
            reserved_cycles: none(),
            idle_cycles_burned_per_day: cycles::storage(memory, DAY_NS).into(),
            query_stats: QueryStats {
                num_calls_total: none(),
                num_instructions_total: none(),
                request_payload_bytes_total: none(),
                response_payload_bytes_total: none(),
            },
        };
        reply(&status).map(Some)
    }

    pub(super) fn canister_metadata(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let args: CanisterMetadataArgs = decode(payload)?;
        let canister = self.canister(args.canister_id)?;
        let metadata = canister
            .module()
            .and_then(|module| module.metadata().iter().find(|data| data.name == args.name))
            .filter(|data| data.public || canister.is_controller(sender));
        match metadata {
            Some(data) => reply(&CanisterMetadataResult {
                value: data.content.clone(),
            })
            .map(Some),
            None => Err(Reject::new(
                ErrorCode::CanisterRejectedMessage,
                format!("The canister metadata section {} is not found", args.name),
            )),
        }
    }

    pub(super) fn fetch_canister_logs(
        &mut self,
        sender: Principal,
        payload: &[u8],
    ) -> Result<Vec<u8>, Reject> {
        let args: FetchCanisterLogsArgs = decode(payload)?;
        if args.filter.is_some() {
            return Err(Reject::unsupported("filters on canister logs"));
        }
        let canister = self.canister(args.canister_id)?;
        let visible = canister.is_controller(sender)
            || match &canister.settings.log_visibility {
                LogVisibility::Public => true,
                LogVisibility::Controllers => false,
                LogVisibility::AllowedViewers(viewers) => viewers.contains(&sender),
            };
        if !visible {
            return Err(Reject::new(
                ErrorCode::CanisterRejectedMessage,
                format!("Caller {sender} is not allowed to access canister logs"),
            ));
        }
        reply(&FetchCanisterLogsResult {
            canister_log_records: canister.log.iter().cloned().collect(),
        })
    }
}
