//! Settings: reading them from arguments, and reporting them.

use candid::Nat;
use ic_management_canister_types::{
    CanisterSettings, DefiniteCanisterSettings, SnapshotVisibility, StatusVisibility,
};
use pocket_ic::ErrorCode;

use crate::canister::Settings;
use crate::errors::Reject;

const MAX_CONTROLLERS: usize = 10;
/// The IC's default size of a canister's log.
const LOG_MEMORY: u64 = 4_096;

impl Settings {
    /// Takes over what is given; nothing changes on an error.
    pub(super) fn update(&mut self, given: CanisterSettings) -> Result<(), Reject> {
        let mut new = self.clone();
        let missing = [
            (given.snapshot_visibility.is_some(), "snapshot_visibility"),
            (given.status_visibility.is_some(), "status_visibility"),
            (given.log_memory_limit.is_some(), "log_memory_limit"),
            (
                given.minimum_incoming_canister_call_cycles.is_some(),
                "minimum_incoming_canister_call_cycles",
            ),
        ];
        if given
            .environment_variables
            .is_some_and(|variables| !variables.is_empty())
        {
            return Err(Reject::unsupported("environment variables"));
        }
        if let Some((_, name)) = missing.into_iter().find(|(given, _)| *given) {
            return Err(Reject::unsupported(&format!("the setting {name}")));
        }
        if let Some(controllers) = given.controllers {
            if controllers.len() > MAX_CONTROLLERS {
                return Err(Reject::new(
                    ErrorCode::InvalidManagementPayload,
                    format!(
                        "Error decoding candid: controllers: {} elements exceed the maximum of {MAX_CONTROLLERS}",
                        controllers.len()
                    ),
                ));
            }
            new.controllers = controllers;
            new.controllers.sort_unstable();
            new.controllers.dedup();
        }
        set(
            &mut new.compute_allocation,
            "compute_allocation",
            given.compute_allocation,
            100,
        )?;
        set(
            &mut new.memory_allocation,
            "memory_allocation",
            given.memory_allocation,
            u64::MAX,
        )?;
        set(
            &mut new.freezing_threshold,
            "freezing_threshold",
            given.freezing_threshold,
            u64::MAX,
        )?;
        set(
            &mut new.wasm_memory_limit,
            "wasm_memory_limit",
            given.wasm_memory_limit,
            1 << 48,
        )?;
        set(
            &mut new.wasm_memory_threshold,
            "wasm_memory_threshold",
            given.wasm_memory_threshold,
            u64::MAX,
        )?;
        if let Some(limit) = given.reserved_cycles_limit {
            new.reserved_cycles_limit = to_u128(&limit, "reserved_cycles_limit")?;
        }
        if let Some(visibility) = given.log_visibility {
            new.log_visibility = visibility;
        }
        *self = new;
        Ok(())
    }

    /// As `canister_status` reports them.
    pub(super) fn report(&self) -> DefiniteCanisterSettings {
        DefiniteCanisterSettings {
            controllers: self.controllers.clone(),
            compute_allocation: self.compute_allocation.into(),
            memory_allocation: self.memory_allocation.into(),
            freezing_threshold: self.freezing_threshold.into(),
            reserved_cycles_limit: self.reserved_cycles_limit.into(),
            log_visibility: self.log_visibility.clone(),
            log_memory_limit: LOG_MEMORY.into(),
            minimum_incoming_canister_call_cycles: 0_u8.into(),
            snapshot_visibility: SnapshotVisibility::Controllers,
            status_visibility: StatusVisibility::Controllers,
            wasm_memory_limit: self.wasm_memory_limit.into(),
            wasm_memory_threshold: self.wasm_memory_threshold.into(),
            environment_variables: Vec::new(),
        }
    }
}

/// A natural number that has to fit into 128 bits.
pub(super) fn to_u128(value: &Nat, name: &str) -> Result<u128, Reject> {
    u128::try_from(value.0.clone()).map_err(|_| out_of_range(name, value))
}

fn set(target: &mut u64, name: &str, value: Option<Nat>, max: u64) -> Result<(), Reject> {
    if let Some(value) = value {
        *target = u64::try_from(value.0.clone())
            .ok()
            .filter(|value| *value <= max)
            .ok_or_else(|| out_of_range(name, &value))?;
    }
    Ok(())
}

fn out_of_range(name: &str, value: &Nat) -> Reject {
    Reject::new(
        ErrorCode::CanisterContractViolation,
        format!("{name}: {value} is out of range"),
    )
}
