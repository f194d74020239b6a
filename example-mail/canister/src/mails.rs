//! What the canister keeps: its gateway, its mails, and what became of them.

use crate::letter::Letter;
use candid::{CandidType, Principal};
use ic_stable_structures::{
    DefaultMemoryImpl, StableBTreeMap, StableCell, Storable,
    memory_manager::{MemoryId, MemoryManager, VirtualMemory},
    storable::Bound,
};
use idempotency_core::outbox::MessageId;
use serde::Deserialize;
use std::{borrow::Cow, cell::RefCell};

pub(crate) type Memory = VirtualMemory<DefaultMemoryImpl>;

/// A mail has the number of its message in the outbox.
pub(crate) type MailId = MessageId;

/// So many mails are kept: as many as `send_mail` takes in a day, so the oldest one has ended.
const KEPT: u64 = 100_000;

thread_local! {
    static MEMORY: MemoryManager<DefaultMemoryImpl> = MemoryManager::init(DefaultMemoryImpl::default());

    static GATEWAY: RefCell<StableCell<Gateway, Memory>> =
        RefCell::new(StableCell::init(memory(0), Gateway::default()));

    static MAILS: RefCell<StableBTreeMap<u64, Mail, Memory>> =
        RefCell::new(StableBTreeMap::init(memory(1)));

    static TOTALS: RefCell<StableCell<Totals, Memory>> =
        RefCell::new(StableCell::init(memory(2), Totals::default()));
}

pub(crate) fn memory(id: u8) -> Memory {
    MEMORY.with(|memory| memory.get(MemoryId::new(id)))
}

/// What sends the mails.
#[derive(CandidType, Clone, Debug, Default, Deserialize)]
pub(crate) struct Gateway {
    /// Where it takes mails: `https://…/send`.
    pub(crate) url: String,
    /// By which it knows this canister. Those who run the subnet's nodes can read it.
    pub(crate) token: String,
    /// Whether all replicas ask for each mail, so that the gateway can wait for several of them.
    pub(crate) is_replicated: bool,
}

impl Gateway {
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        if !self.url.starts_with("https://") {
            return Err("the gateway's URL must begin with https://");
        }
        if self.token.is_empty() || !self.token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("the gateway's token must be visible ASCII");
        }
        Ok(())
    }
}

/// A mail.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub(crate) struct Mail {
    /// Who sent it.
    pub(crate) sender: Principal,
    pub(crate) to: String,
    pub(crate) subject: String,
    /// When `send_mail` took it, in nanoseconds since the UNIX epoch.
    pub(crate) queued_at: u64,
    pub(crate) state: State,
}

/// What became of a mail. Times are in nanoseconds since the UNIX epoch.
#[derive(CandidType, Clone, Debug, Deserialize)]
pub(crate) enum State {
    /// It is on its way, and will end in one of the other states.
    Queued,
    /// A mail server has taken it.
    Sent {
        /// Its header `Message-ID`.
        message_id: String,
        /// When the canister knew.
        at: u64,
    },
    /// It was not sent, and won't be.
    Failed { reason: String, at: u64 },
    /// It may have been sent. An operator can look.
    Unknown { reason: String, at: u64 },
}

/// How often mails have ended, and how. One that is sent once more can end twice.
#[derive(CandidType, Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Totals {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
    pub(crate) unknown: u64,
}

impl Mail {
    pub(crate) fn queued(sender: Principal, letter: Letter, queued_at: u64) -> Self {
        Self {
            sender,
            to: letter.to,
            subject: letter.subject,
            queued_at,
            state: State::Queued,
        }
    }
}

pub(crate) fn gateway() -> Gateway {
    GATEWAY.with_borrow(|gateway| gateway.get().clone())
}

pub(crate) fn set_gateway(gateway: &Gateway) {
    GATEWAY.with_borrow_mut(|cell| cell.set(gateway.clone()));
}

pub(crate) fn add(id: MailId, mail: Mail) {
    MAILS.with_borrow_mut(|mails| {
        mails.insert(id.as_u64(), mail);
        if mails.len() > KEPT {
            mails.pop_first();
        }
    });
}

pub(crate) fn get(id: MailId) -> Option<Mail> {
    MAILS.with_borrow(|mails| mails.get(&id.as_u64()))
}

/// It has ended.
pub(crate) fn end(id: MailId, state: State) {
    let mut totals = totals();
    match state {
        State::Queued => {}
        State::Sent { .. } => totals.sent += 1,
        State::Failed { .. } => totals.failed += 1,
        State::Unknown { .. } => totals.unknown += 1,
    }
    TOTALS.with_borrow_mut(|cell| cell.set(totals));
    set_state(id, state);
}

/// It is on its way once more.
pub(crate) fn queue_again(id: MailId) {
    set_state(id, State::Queued);
}

/// One that is kept no more has no state.
fn set_state(id: MailId, state: State) {
    if let Some(mail) = get(id) {
        let mail = Mail { state, ..mail };
        MAILS.with_borrow_mut(|mails| mails.insert(id.as_u64(), mail));
    }
}

pub(crate) fn totals() -> Totals {
    TOTALS.with_borrow(|totals| *totals.get())
}

/// As candid: a later version may add fields that are `opt`.
macro_rules! stored_as_candid {
    ($($type:ty),*) => {$(
        impl Storable for $type {
            const BOUND: Bound = Bound::Unbounded;

            fn to_bytes(&self) -> Cow<'_, [u8]> {
                Cow::Owned(candid::encode_one(self).expect("it encodes"))
            }

            fn into_bytes(self) -> Vec<u8> {
                self.to_bytes().into_owned()
            }

            fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
                candid::decode_one(&bytes).expect("it was encoded as such")
            }
        }
    )*};
}

stored_as_candid!(Gateway, Mail, Totals);
