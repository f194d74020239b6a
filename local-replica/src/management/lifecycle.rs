//! Creating, starting, stopping, topping up and deleting canisters.

use candid::Principal;
use ic_management_canister_types::{
    CanisterIdRecord, CanisterSettings, CreateCanisterArgs,
    ProvisionalCreateCanisterWithCyclesArgs, ProvisionalTopUpCanisterArgs, UpdateSettingsArgs,
};
use pocket_ic::ErrorCode;

use super::settings::to_u128;
use super::{Answer, decode, done, reply};
use crate::call_context::Request;
use crate::canister::{Canister, Input, Settings, Status};
use crate::cycles;
use crate::errors::{Help, Reject};
use crate::replica::Replica;

/// What a canister gets when the caller names no amount.
const DEFAULT_CYCLES: u128 = 100_000_000_000_000;

impl Replica {
    pub(super) fn provisional_create(
        &mut self,
        sender: Principal,
        subnet: Principal,
        payload: &[u8],
    ) -> Answer {
        let args: ProvisionalCreateCanisterWithCyclesArgs = decode(payload)?;
        let cycles = match args.amount {
            Some(amount) => to_u128(&amount, "amount")?,
            None => DEFAULT_CYCLES,
        };
        let id = match args.specified_id {
            Some(id) => self.check_specified_id(id, subnet)?,
            None => self.new_id(subnet)?,
        };
        self.create(sender, id, subnet, args.settings, cycles)
    }

    /// New canisters get their ids from the allocation range, so nobody may choose one from it.
    fn check_specified_id(&self, id: Principal, subnet: Principal) -> Result<Principal, Reject> {
        if self.topology.allocates(subnet, id) {
            return Err(Reject::from_management(
                ErrorCode::InvalidManagementPayload,
                format_args!(
                    "The `specified_id` {id} is invalid because it belongs to the canister allocation ranges of the \
                     test environment."
                ),
                Help::User {
                    advice: "Use a `specified_id` that matches a canister ID on the ICP mainnet and a test \
                             environment that supports canister creation with `specified_id` (e.g., PocketIC).",
                    section: "",
                },
            ));
        }
        if self.canisters.contains_key(&id) {
            return Err(Reject::from_management(
                ErrorCode::CanisterAlreadyInstalled,
                format_args!("Canister {id} is already installed."),
                Help::Internal,
            ));
        }
        Ok(id)
    }

    pub(super) fn create_from_canister(
        &mut self,
        sender: Principal,
        subnet: Principal,
        payload: &[u8],
        cycles: &mut u128,
    ) -> Answer {
        let args: CreateCanisterArgs = if payload.is_empty() {
            CreateCanisterArgs::default()
        } else {
            decode(payload)?
        };
        let free = self
            .topology
            .by_id(subnet)
            .is_some_and(|subnet| subnet.is_free());
        let fee = if free { 0 } else { cycles::CREATE_CANISTER };
        if *cycles < fee {
            return Err(Reject::from_management(
                ErrorCode::InsufficientCyclesForCreateCanister,
                format_args!(
                    "Creating a canister requires a fee of {fee} that is deducted from the canister's initial balance \
                     but only {cycles} cycles were received with the create_canister request."
                ),
                Help::User {
                    advice: "Try sending more cycles with the request.",
                    section: "create-canister-not-enough-cycles",
                },
            ));
        }
        let id = self.new_id(subnet)?;
        let answer = self.create(sender, id, subnet, args.settings, *cycles - fee)?;
        *cycles = 0;
        Ok(answer)
    }

    fn new_id(&mut self, subnet: Principal) -> Result<Principal, Reject> {
        let canisters = &self.canisters;
        self.topology
            .next_canister_id(subnet, |id| canisters.contains_key(&id))
            .ok_or_else(|| {
                Reject::new(
                    ErrorCode::SubnetOversubscribed,
                    "No more canister ids are left on this subnet",
                )
            })
    }

    fn create(
        &mut self,
        sender: Principal,
        id: Principal,
        subnet: Principal,
        given: Option<CanisterSettings>,
        cycles: u128,
    ) -> Answer {
        // A canister id given by the caller decides on the subnet.
        let hosting = self.topology.of_canister(id);
        let hosting = hosting
            .filter(|hosting| hosting.id == subnet)
            .ok_or_else(|| {
                Reject::from_management(
                    ErrorCode::CanisterNotHostedBySubnet,
                    format_args!(
                        "Unsuccessful validation of specified ID: Specified CanisterId {id} is not hosted by subnet \
                         {subnet}."
                    ),
                    Help::Internal,
                )
            })?;
        let mut settings = Settings::new(vec![sender]);
        if let Some(given) = given {
            settings.update(given)?;
        }
        let canister = Canister::new(id, hosting, settings, cycles, self.time_ns);
        self.canisters.insert(id, canister);
        reply(&CanisterIdRecord { canister_id: id }).map(Some)
    }

    pub(super) fn provisional_top_up(&mut self, payload: &[u8]) -> Answer {
        let args: ProvisionalTopUpCanisterArgs = decode(payload)?;
        let amount = to_u128(&args.amount, "amount")?;
        let canister = self.canister(args.canister_id)?;
        canister.cycles = canister.cycles.saturating_add(amount);
        done(Ok(()))
    }

    pub(super) fn deposit_cycles(&mut self, payload: &[u8], cycles: &mut u128) -> Answer {
        let args: CanisterIdRecord = decode(payload)?;
        let canister = self.canister(args.canister_id)?;
        canister.cycles = canister.cycles.saturating_add(std::mem::take(cycles));
        done(Ok(()))
    }

    pub(super) fn update_settings(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let args: UpdateSettingsArgs = decode(payload)?;
        let canister = self.controlled(sender, args.canister_id, "update_settings")?;
        canister.settings.update(args.settings)?;
        canister.version += 1;
        done(Ok(()))
    }

    pub(super) fn start_canister(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let args: CanisterIdRecord = decode(payload)?;
        let canister = self.controlled(sender, args.canister_id, "start_canister")?;
        let before = std::mem::replace(&mut canister.status, Status::Running);
        if before != Status::Running {
            canister.version += 1;
        }
        if let Status::Stopping(waiting) = before {
            for (request, _) in waiting {
                let reject = Reject::new(
                    ErrorCode::CanisterStoppingCancelled,
                    format!("Canister {}'s stop request was cancelled", args.canister_id),
                );
                self.respond(request.origin, Err(reject), request.cycles);
            }
        }
        done(Ok(()))
    }

    /// The answer comes when nothing is outstanding any more.
    pub(super) fn stop_canister(&mut self, request: Request) -> Answer {
        let args: CanisterIdRecord = decode(&request.payload)?;
        let now_ns = self.time_ns;
        let canister = self.controlled(request.sender, args.canister_id, "stop_canister")?;
        match &mut canister.status {
            Status::Stopped => return done(Ok(())),
            Status::Stopping(waiting) => waiting.push((request, now_ns)),
            Status::Running => {
                canister.status = Status::Stopping(vec![(request, now_ns)]);
                canister.version += 1;
            }
        }
        Ok(None)
    }

    pub(super) fn delete_canister(&mut self, sender: Principal, payload: &[u8]) -> Answer {
        let id = decode::<CanisterIdRecord>(payload)?.canister_id;
        let canister = self.controlled(sender, id, "delete_canister")?;
        if canister.status != Status::Stopped {
            return Err(Reject::from_management(
                ErrorCode::CanisterNotStopped,
                format_args!("Canister {id} must be stopped before it is deleted."),
                Help::User {
                    advice: "Stop the canister before deleting it.",
                    section: "delete-canister-not-stopped",
                },
            ));
        }
        let inputs = self
            .canisters
            .remove(&id)
            .map(|canister| canister.inputs)
            .unwrap_or_default();
        for input in inputs {
            if let Input::Request(request) = input {
                let reject = Reject::canister_not_found(id);
                self.respond(request.origin, Err(reject), request.cycles);
            }
        }
        done(Ok(()))
    }
}
