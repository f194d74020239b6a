//! A network that answers as a test says.

use crate::{
    Draft, Key, MemoryJournal, Message, SafeAgent, Status, Submitted, Transport, Trouble,
    rules::plus,
};
use candid::Principal;
use idempotency_core::Timestamp;
use std::{sync::Mutex, time::Duration};

pub(super) const START: Timestamp = Timestamp::from_secs(1_700_000_000);

/// What a network answers at a time.
pub(super) type Answers<T> = Box<dyn Fn(&Message, Timestamp) -> Result<T, Trouble> + Send + Sync>;

/// A network that answers as a test says. Time passes where the client waits.
pub(super) struct Scripted {
    pub(super) signs: bool,
    pub(super) submit: Answers<Submitted>,
    pub(super) status: Answers<Status>,
    pub(super) has_time: bool,
    pub(super) state: Mutex<(Duration, Vec<[u8; 32]>, u8)>,
}

impl Default for Scripted {
    fn default() -> Self {
        Self {
            signs: true,
            submit: Box::new(|_, _| Ok(Submitted::Accepted)),
            status: Box::new(|_, _| Ok(Status::Absent)),
            has_time: true,
            state: Mutex::default(),
        }
    }
}

impl Scripted {
    pub(super) fn now(&self) -> Timestamp {
        plus(START, self.elapsed())
    }

    pub(super) fn sent(&self) -> Vec<[u8; 32]> {
        self.state.lock().unwrap().1.clone()
    }
}

impl Transport for Scripted {
    fn sender(&self) -> Result<Principal, String> {
        Ok(Principal::anonymous())
    }

    fn sign(&self, draft: Draft<'_>) -> Result<Message, String> {
        if !self.signs {
            return Err("the key is not there".into());
        }
        let mut state = self.state.lock().unwrap();
        state.2 = state.2.wrapping_add(1);
        // So that scripts can tell questions from calls.
        let bytes = [draft.method.as_bytes(), b"\0", draft.arg].concat();
        Ok(Message {
            id: [state.2; 32],
            expiry: draft.expiry,
            bytes,
        })
    }

    async fn submit(&self, _: Principal, message: &Message) -> Result<Submitted, Trouble> {
        self.state.lock().unwrap().1.push(message.id);
        (self.submit)(message, self.now())
    }

    async fn status(
        &self,
        _: Principal,
        message: &Message,
        _: Timestamp,
    ) -> Result<(Status, Timestamp), Trouble> {
        Ok(((self.status)(message, self.now())?, self.now()))
    }

    async fn time(&self, _: Principal) -> Result<Timestamp, Trouble> {
        match self.has_time {
            true => Ok(self.now()),
            false => Err(Trouble::Unreachable("no route".into())),
        }
    }

    fn elapsed(&self) -> Duration {
        self.state.lock().unwrap().0
    }

    async fn sleep(&self, time: Duration) {
        self.state.lock().unwrap().0 += time;
    }
}

pub(super) fn agent(transport: Scripted) -> SafeAgent<Scripted, MemoryJournal> {
    SafeAgent::new(transport, MemoryJournal::default())
}

pub(super) fn key() -> Key {
    Key::new([1])
}
