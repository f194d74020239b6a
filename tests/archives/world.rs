//! The canister, its archives, and users that retry.

use candid::{CandidType, Decode, Encode, Principal, utils::ArgumentEncoder};
use idempotency_core::{
    IdempotencyError,
    archive::{Overview, wire},
    outcome::{Asked, Outcome},
};
use integration_tests::{ARCHIVE, ARCHIVED_CANISTER, replica, user};
use pocket_ic::{PocketIc, RejectResponse};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use sha2::{Digest as _, Sha256};
use std::{collections::BTreeMap, time::Duration};

pub(crate) use integration_tests::archived::{Answer, DIGESTS, Failure, IDS, REPLIES, Settings};

pub(crate) const DAY: u64 = 86_400;
const CYCLES: u128 = 1_000_000_000_000_000;

pub(crate) struct World {
    pub(crate) replica: PocketIc,
    pub(crate) canister: Principal,
    pub(crate) settings: Settings,
}

impl World {
    /// With so many archives, which the test controls.
    pub(crate) fn given(keep: u8, archives: usize) -> Self {
        Self::new(keep, archives, |_| ())
    }

    /// The canister makes its archives itself.
    pub(crate) fn making(keep: u8, change: impl FnOnce(&mut Settings)) -> Self {
        Self::new(keep, 0, change)
    }

    pub(crate) fn new(keep: u8, archives: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let replica = replica();
        let canister = replica.create_canister();
        replica.add_cycles(canister, CYCLES);
        let module = Sha256::digest(ARCHIVE.read()).to_vec();
        let mut settings = Settings {
            keep,
            window: DAY,
            capacity: 10_000,
            one_in: 1_024,
            archives: vec![],
            module: ByteBuf::from(module),
            archive_capacity: 1_000_000,
            is_forgotten: false,
        };
        change(&mut settings);
        for _ in 0..archives {
            let archive = replica.create_canister();
            replica.add_cycles(archive, CYCLES);
            let install = Self::install_of(canister, &settings);
            replica.install_canister(archive, ARCHIVE.read(), install, None);
            settings.archives.push(archive);
        }
        let arg = Encode!(&settings).expect("settings encode");
        replica.install_canister(canister, ARCHIVED_CANISTER.read(), arg, None);
        let world = Self {
            replica,
            canister,
            settings,
        };
        world.store(&[ARCHIVE.read()]);
        world
    }

    /// Puts modules into the canister's chunk store, if it makes archives. The client of PocketIC uses that when it installs the canister,
    /// and clears it.
    pub(crate) fn store(&self, modules: &[Vec<u8>]) {
        if self.settings.archives.is_empty() {
            for module in modules {
                let stored = (self.replica).upload_chunk(self.canister, None, module.clone());
                stored.expect("a chunk is stored");
            }
        }
    }

    fn install_of(owner: Principal, settings: &Settings) -> Vec<u8> {
        let install = wire::Install {
            owner,
            keeps_replies: settings.keep != IDS,
            capacity: settings.archive_capacity,
            capacity_bytes: 1 << 36,
            cycles: 1_000_000_000_000u64.into(),
        };
        Encode!(&install).expect("it encodes")
    }

    pub(crate) fn call(
        &self,
        sender: u8,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<Answer, RejectResponse> {
        let reply = self.update(sender, method, args)?;
        Ok(Decode!(&reply, Answer).expect("an answer"))
    }

    pub(crate) fn update(
        &self,
        sender: u8,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<Vec<u8>, RejectResponse> {
        let args = candid::encode_args(args).expect("arguments encode");
        (self.replica).update_call(self.canister, user(sender), method, args)
    }

    pub(crate) fn query<T: CandidType + for<'a> Deserialize<'a>>(
        &self,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> T {
        let args = candid::encode_args(args).expect("arguments encode");
        let reply = (self.replica).query_call(self.canister, user(1), method, args);
        candid::decode_one(&reply.expect("a query is answered")).expect("its answer decodes")
    }

    /// User 1 pays.
    pub(crate) fn pay(&self, key: u64) -> Answer {
        self.call(1, "pay", (key, 1u64)).expect("it answers")
    }

    /// How often was paid for each key.
    pub(crate) fn paid(&self) -> BTreeMap<u64, u64> {
        let mut all = BTreeMap::new();
        loop {
            let from = all.last_key_value().map_or(0, |(key, _)| key + 1);
            let part: Vec<(u64, u64)> = self.query("paid", (from, 10_000u64));
            if part.is_empty() {
                return all;
            }
            all.extend(part);
        }
    }

    pub(crate) fn overview(&self) -> Overview {
        let overview: Option<Overview> = self.query("overview", ());
        overview.expect("the archives' memory is sound")
    }

    /// Requests that archives have confirmed, and that wait for it.
    pub(crate) fn shipped(&self) -> (u64, u64) {
        let overview = self.overview();
        let confirmed = overview.archives.iter().map(|archive| archive.requests);
        (confirmed.sum(), overview.waiting)
    }

    /// Lets time pass, and so many rounds.
    pub(crate) fn pass(&self, seconds: u64, rounds: usize) {
        self.replica.advance_time(Duration::from_secs(seconds));
        for _ in 0..rounds {
            self.replica.tick();
            self.replica.advance_time(Duration::from_millis(500));
        }
    }

    /// Until all that has expired is with an archive.
    pub(crate) fn ship(&self) {
        self.pass(2 * DAY, 3);
        assert!(
            self.is_shipped(),
            "it is not shipped: {:?}",
            self.overview()
        );
    }

    /// Whether all that has expired is with an archive, after as long as the longest pause, in steps in which no call is late.
    pub(crate) fn is_shipped(&self) -> bool {
        (0..200).any(|_| {
            let is_shipped = self.overview().waiting == 0;
            if !is_shipped {
                self.pass(2, 6);
            }
            is_shipped
        })
    }

    pub(crate) fn archive(&self, number: usize) -> Principal {
        self.settings.archives[number]
    }

    pub(crate) fn archive_status(&self, archive: Principal) -> wire::Status {
        let none = candid::encode_args(()).expect("nothing encodes");
        let status = (self.replica).query_call(archive, self.canister, wire::method::STATUS, none);
        Decode!(&status.expect("it answers"), wire::Status).expect("a status")
    }

    pub(crate) fn upgrade(&self, settings: Option<&Settings>) -> Result<(), RejectResponse> {
        let arg = Encode!(&settings).expect("settings encode");
        let upgraded =
            (self.replica).upgrade_canister(self.canister, ARCHIVED_CANISTER.read(), arg, None);
        self.store(&[ARCHIVE.read()]);
        upgraded
    }

    pub(crate) fn wipe(&self, archive: Principal) {
        let install = Self::install_of(self.canister, &self.settings);
        (self.replica)
            .reinstall_canister(archive, ARCHIVE.read(), install, None)
            .expect("it is reinstalled");
    }

    /// What became of a payment, as the canister's update says that asks archives.
    pub(crate) fn outcome_ever(
        &self,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Result<Outcome, IdempotencyError> {
        let asked = asked(method, args);
        let reply = self.update(1, "idempotency_outcomes_ever", (vec![asked],));
        one_outcome(&reply.expect("it answers"))
    }
}

pub(crate) fn asked(method: &str, args: impl ArgumentEncoder) -> Asked {
    Asked {
        method: method.to_owned(),
        arg: ByteBuf::from(candid::encode_args(args).expect("arguments encode")),
    }
}

pub(crate) fn one_outcome(reply: &[u8]) -> Result<Outcome, IdempotencyError> {
    let outcomes = Decode!(reply, Vec<Result<Outcome, IdempotencyError>>);
    let mut outcomes = outcomes.expect("outcomes");
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

pub(crate) fn refusal(answer: Answer) -> IdempotencyError {
    match answer {
        Err(Failure::Idempotency(error)) => error,
        other => panic!("it is no refusal: {other:?}"),
    }
}

/// Whether it is the refusal of a request that only an archive could answer.
pub(crate) fn is_unreachable(answer: &Answer) -> bool {
    matches!(
        answer,
        Err(Failure::Idempotency(IdempotencyError::Other {
            code: 8,
            ..
        }))
    )
}
