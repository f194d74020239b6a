//! Carries out what the state machine says, and writes to the journal before anything is sent.

use crate::{
    agent::{Error, Progress, SafeAgent},
    end::{End, Reply},
    journal::{Entry, Journal},
    ledger::{Ask, Blocks, Interface},
    machine::{Action, Event, Machine, Pace},
    reply,
    request::{Request, Terms},
    transport::{Draft, Message, Transport, Trouble},
};
use candid::Principal;
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Asked, Outcome},
    safe_call::search::{Found, search_in},
};
use serde_bytes::ByteBuf;
use std::{pin::Pin, time::Duration};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span};

/// Is told how a call goes on.
pub(crate) type Watch<'a> = Box<dyn FnMut(Progress<'_>) + Send + 'a>;

/// One call on its way.
pub(crate) struct Run<'r, 'a, T, J> {
    pub(crate) agent: &'a SafeAgent<T, J>,
    pub(crate) request: &'r Request,
    pub(crate) machine: Machine,
    /// How to read a ledger's blocks, and how many at most.
    pub(crate) search: (Interface, u64),
    pub(crate) token: Option<&'r CancellationToken>,
    /// Whether it is in the journal. Questions are not: they can be asked again.
    pub(crate) is_kept: bool,
}

impl<T: Transport, J: Journal> Run<'_, '_, T, J> {
    pub(crate) async fn finish(&mut self, mut watch: Option<&mut Watch<'_>>) -> Result<End, Error> {
        loop {
            let transport = &self.agent.transport;
            if self.token.is_some_and(CancellationToken::is_cancelled) {
                self.machine.stop(transport.elapsed());
            }
            let action = self.machine.next(transport.elapsed());
            debug!(?action);
            if let Some(watch) = &mut watch {
                watch(Progress::Doing(&action));
            }
            let event = match action {
                Action::End(end) => return Ok(end),
                Action::Sign(expiry) => Some(Event::Signed(self.sign(expiry)?)),
                action => {
                    let token = self.token.cloned();
                    let doing = self.carry_out(action);
                    match token {
                        Some(token) => token.run_until_cancelled(doing).await.flatten(),
                        None => doing.await,
                    }
                }
            };
            let Some(event) = event else { continue };
            debug!(?event);
            if let Some(watch) = &mut watch {
                watch(Progress::Heard(&event));
            }
            let now = self.agent.transport.elapsed();
            self.machine.event(event, now);
            self.agent.learn(self.machine.clock());
        }
    }

    /// The message is in the journal before anything of it is sent.
    fn sign(&self, expiry: Timestamp) -> Result<Message, Error> {
        let message = (self.agent.transport)
            .sign(Draft {
                canister: self.request.canister,
                method: &self.request.method,
                arg: &self.request.arg,
                expiry,
            })
            .map_err(Error::Signing)?;
        if self.is_kept {
            let (key, message) = (self.request.key.clone(), message.clone());
            self.agent.journal.append(Entry::Message { key, message })?;
        }
        Ok(message)
    }

    /// What was heard, if anything.
    async fn carry_out(&self, action: Action) -> Option<Event> {
        let Self { agent, request, .. } = self;
        let transport = &agent.transport;
        let event = match action {
            Action::Wait(time) => {
                transport.sleep(time).await;
                return None;
            }
            Action::ReadTime => transport.time(request.canister).await.map(Event::Time),
            Action::Submit(message) => transport
                .submit(request.canister, &message)
                .await
                .map(Event::Submitted),
            Action::Poll(message, expiry) => {
                let status = transport.status(request.canister, &message, expiry).await;
                status.map(|(status, time)| Event::Status(status, time))
            }
            Action::Ask(method) => self.ask_outcome(method).await.map(Event::Outcome),
            Action::Search => self.search().await,
            Action::Sign(_) | Action::End(_) => return None,
        };
        Some(event.unwrap_or_else(Event::Trouble))
    }

    /// Asks what became of the call.
    async fn ask_outcome(
        &self,
        method: String,
    ) -> Result<Result<Outcome, IdempotencyError>, Trouble> {
        let asked = Asked {
            method: self.request.method.clone(),
            arg: ByteBuf::from(self.request.arg.clone()),
        };
        let unreadable = |error: candid::Error| Trouble::NoAnswer(format!("{method}: {error}"));
        let arg = candid::encode_one([asked]).map_err(unreadable)?;
        let reply = self
            .question(self.request.canister, method.clone(), arg)
            .await?;
        let mut answers: Vec<Result<Outcome, IdempotencyError>> =
            reply::decode(&reply).map_err(unreadable)?;
        match (answers.pop(), answers.is_empty()) {
            (Some(answer), true) => Ok(answer),
            _ => Err(Trouble::NoAnswer(format!(
                "{method} gave another number of answers than one"
            ))),
        }
    }

    /// Looks for the transfer.
    async fn search(&self) -> Result<Event, Trouble> {
        let request = self.request;
        let Some(transfer) = &request.terms.ledger else {
            return Ok(Event::Found(Found::CantTell));
        };
        let (ledger, caller) = (request.canister, request.sender);
        let (interface, most) = self.search;
        let mut source = Blocks {
            asker: self,
            interface,
            key: &request.key,
        };
        let found = search_in(&mut source, ledger, &transfer.into(), caller, most).await;
        Ok(Event::Found(found))
    }

    /// A question of this call, for no longer than the call goes on.
    fn question(&self, canister: Principal, method: String, arg: Vec<u8>) -> Answer<'_> {
        let now = self.agent.transport.elapsed();
        let deadline = self.machine.deadline().saturating_sub(now);
        let request = Request {
            key: self.request.key.clone(),
            sender: self.request.sender,
            canister,
            method,
            arg,
            terms: Terms::PLAIN,
        };
        self.agent.question(request, deadline)
    }
}

impl<T: Transport, J: Journal> SafeAgent<T, J> {
    /// Calls a query as an update, for an answer that the subnet certifies. It may be asked as often as one likes, so the journal has none
    /// of it.
    pub(crate) fn question(&self, request: Request, deadline: Duration) -> Answer<'_> {
        let span = debug_span!("question", method = request.method);
        let asked = async move {
            let pace = Pace {
                // One message of its own.
                deadline: deadline.min(self.pace.lifetime),
                ..self.pace
            };
            let now = self.transport.elapsed();
            let mut run = Run {
                agent: self,
                request: &request,
                machine: Machine::new(Terms::PLAIN, vec![], pace, self.clock(), now),
                search: (Interface::Icrc3, 0),
                token: None,
                is_kept: false,
            };
            let method = &request.method;
            match run.finish(None).await {
                Ok(End::Replied(Reply::Bytes(reply))) => Ok(reply),
                Ok(end) => Err(Trouble::NoAnswer(format!("{method} ended in {end:?}"))),
                Err(error) => Err(Trouble::NoAnswer(format!("{method}: {error}"))),
            }
        };
        Box::pin(asked.instrument(span))
    }
}

/// In a box, as a question is a call that has questions.
pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Trouble>> + Send + 'a>>;

impl<T: Transport, J: Journal> Ask for Run<'_, '_, T, J> {
    async fn ask(
        &self,
        canister: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> Result<Vec<u8>, Trouble> {
        self.question(canister, method.to_owned(), arg).await
    }
}
