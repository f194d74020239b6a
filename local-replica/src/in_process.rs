//! An instance inside the test's own process, without HTTP: for tests of very many messages.

use candid::{CandidType, Principal};
pub use ic_management_canister_types::CanisterInstallMode;
use ic_management_canister_types::{
    CanisterIdRecord, InstallCodeArgs, ProvisionalCreateCanisterWithCyclesArgs,
};
use pocket_ic::common::rest::{
    ExtendedSubnetConfigSet, InstanceConfig, RawCanisterCall, RawEffectivePrincipal, SubnetSpec,
};

use crate::errors::{ApiError, Reject};
use crate::management::Installation;
use crate::replica::Replica;

/// Longer modules don't fit into a message with their argument.
const LONG_MODULE: usize = 1_900_000;
/// Rounds that an update call takes at most.
const UPDATE_ROUNDS: usize = 100;

/// Why a call has no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not a call the server would take.
    #[error("{}", .0.message)]
    Refused(ApiError),
    /// Rejected by the canister or the system.
    #[error("{}", .0.message)]
    Rejected(Reject),
    /// Not answered in a hundred rounds: the answer is lost, or the canister waits for something.
    #[error("no answer yet")]
    NoAnswer,
}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Error::Refused(error)
    }
}

impl From<Reject> for Error {
    fn from(reject: Reject) -> Self {
        Error::Rejected(reject)
    }
}

/// An ingress message that was sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MessageId(Vec<u8>);

/// An instance with one application subnet. A test that panics prints the faults it met. `replica` has everything else: rounds, time, faults, canisters.
#[derive(Debug)]
pub struct InProcess {
    /// The instance.
    pub replica: Replica,
}

impl Default for InProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl InProcess {
    /// An empty instance.
    pub fn new() -> Self {
        let config = InstanceConfig {
            subnet_config_set: ExtendedSubnetConfigSet {
                application: vec![SubnetSpec::default()],
                ..Default::default()
            },
            http_gateway_config: None,
            state_dir: None,
            icp_config: None,
            log_level: None,
            bitcoind_addr: None,
            dogecoind_addr: None,
            icp_features: None,
            incomplete_state: None,
            initial_time: None,
            mainnet_nns_subnet_id: None,
            disable_ingress_validation: None,
        };
        let replica = Replica::new(&config).expect("one application subnet is a valid instance");
        Self { replica }
    }

    /// A canister without code.
    pub fn create_canister(
        &mut self,
        controller: Principal,
        cycles: u128,
    ) -> Result<Principal, Error> {
        let args = ProvisionalCreateCanisterWithCyclesArgs {
            amount: Some(cycles.into()),
            ..Default::default()
        };
        let method = "provisional_create_canister_with_cycles";
        let reply = self.manage(controller, method, &args)?;
        Ok(crate::management::decode::<CanisterIdRecord>(&reply)?.canister_id)
    }

    /// Installs, reinstalls or upgrades. A module too long for a message is installed at once, as if it were in a chunk store.
    pub fn install(
        &mut self,
        controller: Principal,
        canister: Principal,
        mode: CanisterInstallMode,
        wasm: Vec<u8>,
        arg: Vec<u8>,
    ) -> Result<(), Error> {
        if wasm.len() > LONG_MODULE {
            let installation = Installation {
                sender: controller,
                canister,
                mode,
                wasm,
                arg,
            };
            return Ok(self.replica.install(installation)?);
        }
        let args = InstallCodeArgs {
            mode,
            canister_id: canister,
            wasm_module: wasm,
            arg,
            sender_canister_version: None,
        };
        self.manage(controller, "install_code", &args).map(drop)
    }

    /// A call to the management canister, carried out at once.
    fn manage(
        &mut self,
        sender: Principal,
        method: &str,
        args: &impl CandidType,
    ) -> Result<Vec<u8>, Error> {
        let payload = crate::management::reply(args)?;
        let management = Principal::management_canister();
        self.update(sender, management, method, payload)
    }

    /// Sends an update call without executing it.
    pub fn send(
        &mut self,
        sender: Principal,
        canister: Principal,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<MessageId, Error> {
        let call = call(sender, canister, method, payload);
        Ok(MessageId(self.replica.submit(call)??))
    }

    /// The answer of a message, once; from then on the instance knows nothing of it, and needs no memory for it.
    pub fn take_answer(&mut self, message: &MessageId) -> Option<Result<Vec<u8>, Reject>> {
        let answer = self.replica.ingress.result(&message.0).flatten();
        if answer.is_some() {
            self.forget(message);
        }
        answer
    }

    /// Gives up waiting for an answer. The message is executed all the same.
    pub fn forget(&mut self, message: &MessageId) {
        self.replica.ingress.forget(&message.0);
    }

    /// An update call, with as many rounds as it takes.
    pub fn update(
        &mut self,
        sender: Principal,
        canister: Principal,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let message = self.send(sender, canister, method, payload)?;
        for _ in 0..UPDATE_ROUNDS {
            self.replica.round();
            if let Some(answer) = self.take_answer(&message) {
                return Ok(answer?);
            }
        }
        self.forget(&message);
        Err(Error::NoAnswer)
    }

    /// A query call.
    pub fn query(
        &mut self,
        sender: Principal,
        canister: Principal,
        method: &str,
        payload: Vec<u8>,
    ) -> Result<Vec<u8>, Error> {
        let call = call(sender, canister, method, payload);
        Ok(self.replica.query(call)??)
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        let report = self.replica.faults.report();
        if std::thread::panicking() && !report.applied.0.is_empty() {
            eprintln!("local-replica: {report}");
        }
    }
}

fn call(sender: Principal, canister: Principal, method: &str, payload: Vec<u8>) -> RawCanisterCall {
    RawCanisterCall {
        sender: sender.as_slice().to_vec(),
        canister_id: canister.as_slice().to_vec(),
        effective_principal: RawEffectivePrincipal::None,
        method: method.to_owned(),
        payload,
        sender_info: None,
    }
}
