//! The canisters around: archives that do what `wire` says, and the management canister.

use super::{ic::Answer, world::CANISTER};
use crate::{
    archive::{
        entry::{Entry, Id, Kept, sent_bytes},
        packed::{Stretch, stretches},
        wire::{Append, Appended, Found, Install, LookedUp, Position, Status, method},
    },
    runtime::{Outgoing, Rejected},
};
use candid::{CandidType, Nat, Principal};
use ic_management_canister_types::{
    CanisterIdRecord, CanisterInfoArgs, CanisterInfoResult, CanisterInstallMode as Mode,
    UpdateSettingsArgs,
};
use serde::Deserialize;
use serde_bytes::{ByteArray, ByteBuf};
use std::collections::BTreeMap;

/// An archive canister.
#[derive(Clone, Debug)]
pub(crate) struct Canister {
    pub(super) owner: Option<Principal>,
    capacity: u64,
    keeps_replies: bool,
    pub(super) position: Position,
    pub(super) entries: BTreeMap<Id, (Entry, Option<Vec<u8>>)>,
    pub(crate) is_stopped: bool,
    /// It has lost what it had confirmed.
    pub(super) has_lost: bool,
    pub(super) installs: u32,
    pub(super) controllers: Vec<Principal>,
    /// Cycles that it says it lacks, and those that it was given.
    pub(super) lacking: u128,
    pub(super) given: u128,
    /// It is out of cycles.
    pub(super) is_frozen: bool,
}

impl Canister {
    fn new() -> Self {
        Self {
            owner: None,
            capacity: 0,
            keeps_replies: false,
            position: Position::default(),
            entries: BTreeMap::new(),
            is_stopped: false,
            has_lost: false,
            installs: 0,
            controllers: vec![CANISTER],
            lacking: 0,
            given: 0,
            is_frozen: false,
        }
    }

    pub(super) fn given(capacity: u64, keeps_replies: bool) -> Self {
        Self {
            owner: Some(CANISTER),
            capacity,
            keeps_replies,
            installs: 1,
            ..Self::new()
        }
    }

    /// It is installed anew.
    pub(crate) fn reinstall(&mut self) {
        self.has_lost |= !self.entries.is_empty();
        self.entries.clear();
        self.position = Position::default();
    }

    /// It takes no more.
    pub(super) fn close(&mut self) {
        self.capacity = self.entries.len() as u64;
    }

    fn append(&mut self, append: &Append) -> Appended {
        let after = append.after;
        if self.position == after {
            return Appended::Taken(after);
        }
        let count = append.count(self.keeps_replies) as u64;
        if self.entries.len() as u64 + count > self.capacity {
            return Appended::Full(self.position);
        }
        if self.position != append.from {
            return Appended::OutOfPlace(self.position);
        }
        let Some(entries) = entries_of(append, self.keeps_replies) else {
            return Appended::Malformed("these are no entries".to_owned());
        };
        let mut replies = append.replies.as_slice();
        for entry in entries {
            let reply = (entry.kept != Kept::Nothing).then(|| {
                let (length, rest) = replies.split_first_chunk().unwrap();
                let (reply, rest) = rest.split_at(u32::from_le_bytes(*length) as usize);
                replies = rest;
                reply.to_vec()
            });
            if reply.is_some() && !self.keeps_replies {
                return Appended::Malformed("no replies are kept".to_owned());
            }
            self.entries.insert(entry.id, (entry, reply));
        }
        assert!(replies.is_empty());
        self.position = after;
        Appended::Taken(after)
    }

    fn look_up(&self, archive: Principal, ids: &[ByteArray<16>]) -> LookedUp {
        let found = ids.iter().map(|id| {
            let mut known = id.into_array();
            if !self.keeps_replies {
                known[..3].fill(0);
            }
            let (mut entry, reply) = self.entries.get(&known)?.clone();
            entry.id = id.into_array();
            Some(Found {
                entry: ByteBuf::from(match self.keeps_replies {
                    true => entry.full().to_vec(),
                    false => entry.short().to_vec(),
                }),
                reply: reply.map(ByteBuf::from),
            })
        });
        LookedUp {
            archive,
            asked: ids.to_vec(),
            position: self.position,
            found: found.collect(),
        }
    }

    /// What it replies.
    fn call(&mut self, call: &Outgoing) -> Answer {
        let none = Rejected {
            code: 5,
            message: "it is stopped, or there is no module".to_owned(),
        };
        let Some(owner) = self.owner.filter(|_| !self.is_stopped) else {
            return Err(none);
        };
        if self.is_frozen {
            return Err(rejected(2, "out of cycles"));
        }
        let encoded = match call.method.as_str() {
            method::APPEND => {
                candid::encode_one(self.append(&candid::decode_one(&call.argument).unwrap()))
            }
            method::LOOK_UP => {
                let ids: Vec<ByteArray<16>> = candid::decode_one(&call.argument).unwrap();
                candid::encode_one(self.look_up(call.callee, &ids))
            }
            method::STATUS => candid::encode_one(Status {
                owner,
                position: self.position,
                capacity: self.capacity,
                bytes: 0,
                runs: 0,
                cycles: Nat::from(7u8),
                lacking_cycles: Nat::from(self.lacking),
            }),
            other => unreachable!("{other}"),
        };
        Ok(encoded.unwrap())
    }
}

/// The entries of a chunk, if it is one. Of short ones the first bytes of the ids are zeros.
fn entries_of(append: &Append, keeps_replies: bool) -> Option<Vec<Entry>> {
    let mut sent = append.entries.chunks(sent_bytes(keeps_replies)).peekable();
    sent.peek()?;
    let mut entries = vec![];
    for Stretch { count, head } in stretches(&append.times, append.count(keeps_replies))? {
        for _ in 0..count {
            let (first, second) = sent.next()?.split_at_checked(16)?;
            let id = &[&[0; 3], &first[3..]].concat();
            let (id, digests) = match keeps_replies {
                true => (first, second),
                false => (&id[..], &first[..3]),
            };
            entries.push(Entry::from_bytes(&[id, &head.bytes(), digests].concat())?);
        }
    }
    sent.next().is_none().then_some(entries)
}

#[derive(CandidType, Deserialize)]
struct InstallCode {
    canister_id: Principal,
    mode: Mode,
    wasm_module: ByteBuf,
    arg: ByteBuf,
}

/// The other canisters, and the management canister.
#[derive(Clone, Debug, Default)]
pub(crate) struct Others {
    pub(crate) canisters: BTreeMap<Principal, Canister>,
    made: u8,
    pub(super) has_deleted: bool,
    /// The management canister refuses.
    pub(super) makes_none: bool,
}

impl Others {
    pub(crate) fn call(&mut self, call: &Outgoing) -> Answer {
        if call.callee != Principal::management_canister() {
            return match self.canisters.get_mut(&call.callee) {
                Some(canister) => canister.call(call),
                None => Err(rejected(3, "no such canister")),
            };
        }
        if self.makes_none {
            return Err(rejected(4, "not now"));
        }
        match call.method.as_str() {
            "create_canister" => {
                self.made += 1;
                let canister_id = Principal::from_slice(&[1, self.made]);
                self.canisters.insert(canister_id, Canister::new());
                Ok(candid::encode_one(CanisterIdRecord { canister_id }).unwrap())
            }
            "install_code" => {
                let args: InstallCode = candid::decode_one(&call.argument).unwrap();
                let canister = self.canisters.get_mut(&args.canister_id).unwrap();
                match args.mode {
                    Mode::Install if canister.owner.is_some() => {
                        return Err(rejected(5, "there is a module"));
                    }
                    Mode::Upgrade(_) => {
                        canister.installs += 1;
                        return Ok(candid::encode_args(()).unwrap());
                    }
                    Mode::Install | Mode::Reinstall => {}
                }
                let install: Install = candid::decode_one(&args.arg).unwrap();
                assert!(!args.wasm_module.is_empty());
                *canister = Canister {
                    installs: canister.installs + 1,
                    controllers: canister.controllers.clone(),
                    owner: Some(install.owner),
                    capacity: install.capacity,
                    keeps_replies: install.keeps_replies,
                    ..Canister::new()
                };
                Ok(candid::encode_args(()).unwrap())
            }
            "update_settings" => {
                let args: UpdateSettingsArgs = candid::decode_one(&call.argument).unwrap();
                let canister = self.canisters.get_mut(&args.canister_id).unwrap();
                if !canister.controllers.contains(&CANISTER) {
                    return Err(rejected(5, "only controllers"));
                }
                canister.controllers = args.settings.controllers.unwrap();
                Ok(candid::encode_args(()).unwrap())
            }
            "canister_info" => {
                let args: CanisterInfoArgs = candid::decode_one(&call.argument).unwrap();
                let info = CanisterInfoResult {
                    total_num_changes: 0,
                    recent_changes: vec![],
                    module_hash: None,
                    controllers: self.canisters[&args.canister_id].controllers.clone(),
                };
                Ok(candid::encode_one(info).unwrap())
            }
            "deposit_cycles" => {
                let of: CanisterIdRecord = candid::decode_one(&call.argument).unwrap();
                let Some(canister) = self.canisters.get_mut(&of.canister_id) else {
                    return Err(rejected(3, "no such canister"));
                };
                canister.given += call.cycles;
                canister.lacking = canister.lacking.saturating_sub(call.cycles);
                canister.is_frozen = false;
                Ok(candid::encode_args(()).unwrap())
            }
            other => unreachable!("{other}"),
        }
    }
}

pub(crate) fn rejected(code: u32, message: &str) -> Rejected {
    Rejected {
        code,
        message: message.to_owned(),
    }
}
