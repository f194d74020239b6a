//! The client: which calls it makes, and what it knows for all of them.

use crate::{
    call::{Call, New, What},
    clock::SubnetClock,
    end::End,
    journal::{Journal, JournalError},
    machine::{Action, Event, Pace},
    request::{Key, Terms},
    transport::{Transport, Trouble},
};
use candid::{Nat, Principal};
use futures_util::future::join_all;
use idempotency_core::{
    Timestamp,
    safe_call::{Account, Transfer},
};
use std::{collections::BTreeSet, fmt, sync::Mutex};

/// Makes calls to canisters that are retried until it is proved what became of them, or until their deadline.
pub struct SafeAgent<T, J> {
    pub(crate) transport: T,
    pub(crate) journal: J,
    pub(crate) pace: Pace,
    clock: Mutex<SubnetClock>,
    /// The calls that are being made.
    pub(crate) busy: Mutex<BTreeSet<Key>>,
}

/// Why a call was not made, or not made on. If messages were sent, they are in the journal.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The journal can't be used, so nothing more was sent.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The message could not be signed, so it was not sent. If it is a call's first, nothing was.
    #[error("the message can't be signed: {0}")]
    Signing(String),
    /// The key is that of a call with another canister, method, argument or sender.
    #[error("the journal has another call with the key {0}")]
    KeyReused(Key),
    /// The call is being made.
    #[error("the call {0} is being made")]
    Busy(Key),
    /// The journal has no call with this key.
    #[error("the journal has no call with the key {0}")]
    NoSuchCall(Key),
    /// The subnet's time can't be read. Nothing was sent.
    #[error("the time of the canister's subnet can't be read: {0}")]
    NoTime(Trouble),
    /// The argument can't be encoded.
    #[error("the argument can't be encoded: {0}")]
    Argument(#[from] candid::Error),
}

/// How a call goes on, for whoever watches.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// What is done now.
    Doing(&'a Action),
    /// What was heard.
    Heard(&'a Event),
}

impl<T: Transport, J: Journal> SafeAgent<T, J> {
    /// Makes calls over `transport`, and keeps them in `journal`.
    pub fn new(transport: T, journal: J) -> Self {
        Self {
            transport,
            journal,
            pace: Pace::default(),
            clock: Mutex::default(),
            busy: Mutex::default(),
        }
    }

    /// How fast calls go on, and for how long.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Where calls are kept.
    pub fn journal(&self) -> &J {
        &self.journal
    }

    /// What calls go over.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// About the time of a canister's subnet, whatever the local clock says.
    ///
    /// # Errors
    /// If no certificate can be had.
    pub async fn time(&self, canister: Principal) -> Result<Timestamp, Error> {
        let now = self.transport.elapsed();
        if let Some(time) = self.clock().estimate(now) {
            return Ok(time);
        }
        let time = self.transport.time(canister).await.map_err(Error::NoTime)?;
        let mut clock = SubnetClock::default();
        clock.observe(time, self.transport.elapsed());
        self.learn(clock);
        Ok(time)
    }

    /// A new key for a call to a canister: a UUIDv7 that bears the time of its subnet.
    ///
    /// # Errors
    /// As [`time`](Self::time).
    pub async fn new_key(&self, canister: Principal) -> Result<Key, Error> {
        Ok(Key::at(self.time(canister).await?))
    }

    /// A call of a method with an argument in candid. If the journal has it, it goes on, or ends at once as it did.
    pub fn call(
        &self,
        canister: Principal,
        method: impl Into<String>,
        arg: impl Into<Vec<u8>>,
        key: Key,
    ) -> Call<'_, T, J> {
        let what = What::New(New {
            canister,
            method: method.into(),
            arg: arg.into(),
            terms: Terms::PLAIN,
        });
        Call::new(self, key, what)
    }

    /// A transfer by `icrc1_transfer` of a ledger, from the caller's default account. It ends in [`Reply::Block`](crate::Reply::Block) if
    /// it was executed. `created_at_time` is the time of the ledger's subnet when the call is first made, and the memo its key, which may
    /// have 32 bytes; each is fixed with the first attempt.
    pub fn transfer(
        &self,
        ledger: Principal,
        to: Account,
        amount: impl Into<Nat>,
        key: Key,
    ) -> Call<'_, T, J> {
        let transfer = Transfer {
            from_subaccount: None,
            to,
            amount: amount.into(),
            fee: None,
            memo: key.as_bytes().into(),
            created_at: Timestamp::default(),
        };
        Call::new(self, key, What::Transfer(ledger, transfer))
    }

    /// Goes on with the call of this key. See [`resume`](Self::resume).
    pub fn go_on(&self, key: Key) -> Call<'_, T, J> {
        Call::new(self, key, What::Recorded)
    }

    /// Goes on with all calls of the journal that have not ended, all at once. Each has its own result.
    ///
    /// # Errors
    /// If the journal can't be read.
    pub async fn resume(&self) -> Result<Vec<(Key, Result<End, Error>)>, Error> {
        let keys = self.journal.open_calls()?;
        let calls = keys.into_iter().map(|key| async {
            let end = self.go_on(key.clone()).send().await;
            (key, end)
        });
        Ok(join_all(calls).await)
    }

    pub(crate) fn clock(&self) -> SubnetClock {
        *self
            .clock
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub(crate) fn learn(&self, clock: SubnetClock) {
        self.clock
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .learn(clock);
    }
}

impl<T, J> fmt::Debug for SafeAgent<T, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SafeAgent")
            .field("pace", &self.pace)
            .finish_non_exhaustive()
    }
}
