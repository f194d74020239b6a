//! Taking an archive into use, step by step: one that was given is asked how it is; one that this canister makes is created, installed, given up
//! by its controllers if the policy says so, and then asked.
//!
//! Each step stands in stable memory before its call is made, and its end after. A heap that goes in between leaves the step in doubt:
//!
//! | step in doubt | what the next heap does |
//! |---|---|
//! | create | counts an archive that may be lost, and creates another |
//! | install | installs it anew: nothing was sent to it yet |
//! | give up | does it again; if that is refused, sees whether it was done |
//! | ask | asks again |

use super::{
    handle::{Access, Archives, LOOKS_AFTER, UnderWay},
    policy::Source,
    records::{Archive, Making, State, Step},
    status::Problem,
    wire::{Install, Status, method},
};
use crate::{
    codec::decode,
    policy::Keep,
    runtime::{Outgoing, Rejected, Runtime},
    store::Damaged,
    time::Timestamp,
};
use candid::{CandidType, Nat, Principal};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInfoArgs, CanisterInfoResult, CanisterInstallMode, CanisterSettings,
    ChunkHash, CreateCanisterArgs, InstallChunkedCodeArgs, UpdateSettingsArgs,
};
use ic_stable_structures::Memory;
use serde_bytes::ByteBuf;

/// The IC's reject code of a call whose outcome is unknown.
const SYS_UNKNOWN: u32 = 6;

/// How long to wait for an archive's answer, in seconds.
const TIMEOUT: u32 = 60;

/// As in `ic-management-canister-types`, whose module is a `Vec<u8>`: that is encoded byte by byte.
#[derive(CandidType)]
struct InstallCodeArgs {
    mode: CanisterInstallMode,
    canister_id: Principal,
    wasm_module: ByteBuf,
    arg: ByteBuf,
    sender_canister_version: Option<u64>,
}

/// What is to be done.
enum Task {
    /// The next step, at once.
    Again,
    Failed(Problem),
    Call(Making, Outgoing),
}

/// Takes the next step; when to look again. `go_on` is told when that is earlier, as the step has ended.
pub(super) fn next(
    runtime: &impl Runtime,
    archives: &impl Access,
    keep: Keep,
    now: Timestamp,
    go_on: impl FnOnce(Timestamp) + 'static,
) -> Result<Timestamp, Damaged> {
    let task = archives.with(|archives| archives.next_step(runtime, keep, now))?;
    Ok(match task {
        Task::Again => now,
        Task::Failed(problem) => archives.with(|archives| archives.failed(problem, now)),
        Task::Call(making, call) => {
            let under_way = UnderWay::begin(archives);
            let (its, with) = (runtime.clone(), archives.clone());
            runtime.in_background(take(its, with, making, call, under_way, go_on));
            now.plus(LOOKS_AFTER)
        }
    })
}

async fn take<A: Access>(
    runtime: impl Runtime,
    archives: A,
    making: Making,
    call: Outgoing,
    under_way: UnderWay<A>,
    go_on: impl FnOnce(Timestamp),
) {
    let mut answer = runtime.call(call).await;
    if let (Step::IsSealed, Err(rejected)) = (making.step, &answer) {
        // Whoever is no controller any more is refused.
        let info = runtime.call(ask_for_info(making.canister)).await;
        answer = match is_sealed(info) {
            true => Ok(vec![]),
            false => Err(rejected.clone()),
        };
    }
    let now = runtime.time();
    drop(under_way);
    let owner = runtime.canister();
    let taken = archives.with(|archives| archives.has_taken(making, answer, owner, now));
    match taken {
        Ok(Ok(())) => go_on(now),
        Ok(Err(problem)) => {
            go_on(archives.with(|archives| archives.failed(problem, now)));
        }
        Err(Damaged) => {}
    }
}

pub(super) fn management(method: &str, argument: Vec<u8>, cycles: u128) -> Outgoing {
    Outgoing {
        callee: Principal::management_canister(),
        method: method.to_owned(),
        argument,
        cycles,
        timeout: None,
    }
}

/// Asks an archive how it is.
pub(super) fn ask(archive: Principal) -> Outgoing {
    Outgoing {
        callee: archive,
        method: method::STATUS.to_owned(),
        argument: candid::encode_args(()).unwrap_or_default(),
        cycles: 0,
        timeout: Some(TIMEOUT),
    }
}

fn ask_for_info(canister_id: Principal) -> Outgoing {
    let args = CanisterInfoArgs {
        canister_id,
        num_requested_changes: None,
    };
    management("canister_info", encode(&args), 0)
}

fn is_sealed(info: Result<Vec<u8>, Rejected>) -> bool {
    let info = info
        .ok()
        .and_then(|bytes| decode::<(CanisterInfoResult,)>(&bytes).ok());
    info.is_some_and(|(info,)| info.controllers.is_empty())
}

/// Each of these types can be encoded.
pub(super) fn encode(args: &impl CandidType) -> Vec<u8> {
    candid::encode_one(args).unwrap_or_default()
}

impl<M: Memory> Archives<M> {
    fn next_step(
        &self,
        runtime: &impl Runtime,
        keep: Keep,
        now: Timestamp,
    ) -> Result<Task, Damaged> {
        let mut contents = self.contents()?;
        let Some(found) = contents.making() else {
            if !contents.has_place() {
                let why = "there are 512 archives".to_owned();
                return Ok(Task::Failed(Problem::NotMade { why }));
            }
            let new = match &self.policy.source {
                Source::Given(canisters) => {
                    let is_known = |it: &&Principal| {
                        contents
                            .archives()
                            .iter()
                            .any(|known| known.canister == **it)
                    };
                    let Some(canister) = canisters.iter().find(|it| !is_known(it)) else {
                        return Ok(Task::Failed(Problem::NoArchive));
                    };
                    self.new_making(*canister, Step::IsAsked, keep, now)
                }
                Source::Embedded(_) | Source::Stored { .. } => {
                    self.new_making(Principal::anonymous(), Step::IsCreated, keep, now)
                }
            };
            contents.set_making(Some(new));
            return Ok(Task::Call(new, self.call_of(&new, runtime)));
        };
        // One that was given and is not any more.
        if let (Source::Given(canisters), false) = (&self.policy.source, found.is_made)
            && !canisters.contains(&found.canister)
        {
            contents.set_making(None);
            return Ok(Task::Again);
        }
        let (step, was_tried) = match found.step {
            Step::IsCreated => {
                contents.count_lost();
                contents.set_making(None);
                return Ok(Task::Again);
            }
            Step::WasCreated => (Step::IsInstalled, found.was_tried),
            Step::IsInstalled => (Step::IsInstalled, true),
            Step::WasInstalled if found.is_blackholed => (Step::IsSealed, found.was_tried),
            Step::WasInstalled => (Step::IsAsked, found.was_tried),
            same @ (Step::IsSealed | Step::IsAsked) => (same, found.was_tried),
        };
        let making = Making {
            step,
            was_tried,
            ..found
        };
        contents.set_making(Some(making));
        Ok(Task::Call(making, self.call_of(&making, runtime)))
    }

    fn new_making(&self, canister: Principal, step: Step, keep: Keep, now: Timestamp) -> Making {
        let module = self.module_hash();
        Making {
            canister,
            step,
            keeps_replies: keep != Keep::Ids,
            is_made: module.is_some(),
            is_blackholed: module.is_some() && self.policy.is_blackholed,
            was_tried: false,
            since: now,
            module: module.unwrap_or_default(),
        }
    }

    fn call_of(&self, making: &Making, runtime: &impl Runtime) -> Outgoing {
        let canister = runtime.canister();
        match making.step {
            Step::IsCreated | Step::WasCreated => {
                let others = self.policy.also_controlled_by.iter().copied();
                let args = CreateCanisterArgs {
                    settings: Some(CanisterSettings {
                        controllers: Some([canister].into_iter().chain(others).collect()),
                        ..CanisterSettings::default()
                    }),
                    sender_canister_version: None,
                };
                let cycles = self
                    .policy
                    .cycles
                    .saturating_add(runtime.cost_of_canister());
                management("create_canister", encode(&args), cycles)
            }
            Step::IsInstalled | Step::WasInstalled => {
                let install = Install {
                    owner: canister,
                    keeps_replies: making.keeps_replies,
                    capacity: self.policy.capacity,
                    capacity_bytes: self.policy.capacity_bytes,
                    cycles: Nat::from(self.policy.cycles),
                };
                // What may be there has no entries yet.
                let mode = match making.was_tried {
                    true => CanisterInstallMode::Reinstall,
                    false => CanisterInstallMode::Install,
                };
                self.install(making.canister, mode, encode(&install), canister)
            }
            Step::IsSealed => {
                let args = UpdateSettingsArgs {
                    canister_id: making.canister,
                    settings: CanisterSettings {
                        controllers: Some(vec![]),
                        ..CanisterSettings::default()
                    },
                    sender_canister_version: None,
                };
                management("update_settings", encode(&args), 0)
            }
            Step::IsAsked => ask(making.canister),
        }
    }

    /// The call that installs the policy's module.
    pub(super) fn install(
        &self,
        canister_id: Principal,
        mode: CanisterInstallMode,
        arg: Vec<u8>,
        this: Principal,
    ) -> Outgoing {
        match &self.policy.source {
            Source::Stored { hash, chunks } => {
                let chunks = chunks.iter().map(|hash| ChunkHash {
                    hash: hash.to_vec(),
                });
                let args = InstallChunkedCodeArgs {
                    mode,
                    target_canister: canister_id,
                    store_canister: Some(this),
                    chunk_hashes_list: chunks.collect(),
                    wasm_module_hash: hash.to_vec(),
                    arg,
                    sender_canister_version: None,
                };
                management("install_chunked_code", encode(&args), 0)
            }
            source => {
                let module = match source {
                    Source::Embedded(module) => module.to_vec(),
                    Source::Given(_) | Source::Stored { .. } => vec![],
                };
                let args = InstallCodeArgs {
                    mode,
                    canister_id,
                    wasm_module: ByteBuf::from(module),
                    arg: ByteBuf::from(arg),
                    sender_canister_version: None,
                };
                management("install_code", encode(&args), 0)
            }
        }
    }

    /// A step was answered. What is wrong, if it was not taken.
    fn has_taken(
        &self,
        making: Making,
        answer: Result<Vec<u8>, Rejected>,
        owner: Principal,
        now: Timestamp,
    ) -> Result<Result<(), Problem>, Damaged> {
        let mut contents = self.contents()?;
        let not_made = |rejected: Rejected| Problem::NotMade {
            why: format!("reject code {}: {}", rejected.code, rejected.message),
        };
        let next = match (making.step, answer) {
            (Step::IsCreated, Ok(bytes)) => match decode::<(CanisterIdRecord,)>(&bytes) {
                Ok((created,)) => Making {
                    canister: created.canister_id,
                    step: Step::WasCreated,
                    ..making
                },
                Err(error) => {
                    contents.count_lost();
                    contents.set_making(None);
                    let why = error.to_string();
                    return Ok(Err(Problem::NotMade { why }));
                }
            },
            (Step::IsCreated, Err(rejected)) => {
                if rejected.code == SYS_UNKNOWN {
                    contents.count_lost();
                }
                contents.set_making(None);
                return Ok(Err(not_made(rejected)));
            }
            (Step::IsInstalled, Ok(_)) => Making {
                step: Step::WasInstalled,
                ..making
            },
            (Step::IsSealed, Ok(_)) => Making {
                step: Step::IsAsked,
                ..making
            },
            (Step::IsAsked, Ok(bytes)) => {
                let archive = making.canister;
                let status = match decode::<(Status,)>(&bytes) {
                    Ok((status,)) => status,
                    Err(error) => {
                        let why = error.to_string();
                        return Ok(Err(Problem::Nonsense { archive, why }));
                    }
                };
                if status.owner != owner {
                    let owner = status.owner;
                    return Ok(Err(Problem::ForeignArchive { archive, owner }));
                }
                contents.add(Archive {
                    canister: archive,
                    state: State::Current,
                    keeps_replies: making.keeps_replies,
                    is_made: making.is_made,
                    is_blackholed: making.is_blackholed,
                    confirmed: status.position,
                    since: now,
                    module: making.module,
                    capacity: status.capacity,
                });
                contents.set_making(None);
                self.succeeded();
                return Ok(Ok(()));
            }
            // The step stays in doubt.
            (Step::IsAsked, Err(rejected)) => {
                let (archive, why) = (making.canister, rejected.message);
                return Ok(Err(Problem::Unreachable { archive, why }));
            }
            (_, Err(rejected)) => return Ok(Err(not_made(rejected))),
            (Step::WasCreated | Step::WasInstalled, Ok(_)) => making,
        };
        contents.set_making(Some(next));
        self.succeeded();
        Ok(Ok(()))
    }
}
