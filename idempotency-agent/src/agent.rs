//! Makes calls: carries out what the state machine says, and keeps the journal.

use crate::{
    clock::SubnetClock,
    end::{End, Reply},
    journal::{Entry, Journal, JournalError},
    ledger::{Ask, Blocks, Interface},
    machine::{Action, Event, Machine, Pace},
    request::{Key, Repeats, Request, Terms},
    transport::{Draft, Message, Transport, Trouble},
};
use candid::{Nat, Principal};
use futures_util::future::join_all;
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Asked, Outcome},
    safe_call::{
        Account, Subaccount, Transfer,
        search::{Found, search_in},
    },
};
use serde_bytes::ByteBuf;
use std::{collections::BTreeSet, fmt, pin::Pin, sync::Mutex, time::Duration};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, debug_span, info_span};

/// Makes calls to canisters that are retried until it is proved what became of them, or until their deadline.
pub struct SafeAgent<T, J> {
    transport: T,
    journal: J,
    pace: Pace,
    clock: Mutex<SubnetClock>,
    /// The calls that are being made.
    busy: Mutex<BTreeSet<Key>>,
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

type Watch<'a> = Box<dyn FnMut(Progress<'_>) + Send + 'a>;

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

    /// Calls a query as an update, for an answer that the subnet certifies. It may be asked as often as one likes, so the journal has none of it.
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
            match run.to_end(None).await {
                Ok(End::Replied(Reply::Bytes(reply))) => Ok(reply),
                Ok(end) => Err(Trouble::NoAnswer(format!("{method} ended in {end:?}"))),
                Err(error) => Err(Trouble::NoAnswer(format!("{method}: {error}"))),
            }
        };
        Box::pin(asked.instrument(span))
    }

    pub(crate) fn default_deadline(&self) -> Duration {
        self.pace.deadline
    }

    fn clock(&self) -> SubnetClock {
        *self
            .clock
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn learn(&self, clock: SubnetClock) {
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

/// A call that is about to be made. Nothing is assumed of its method but what is said here.
#[must_use = "it is made by `send`"]
pub struct Call<'a, T, J> {
    agent: &'a SafeAgent<T, J>,
    key: Key,
    what: What,
    pace: Pace,
    search: (Interface, u64),
    token: Option<CancellationToken>,
    watch: Option<Watch<'a>>,
}

enum What {
    New(New),
    Transfer(Principal, Transfer),
    Recorded,
}

struct New {
    canister: Principal,
    method: String,
    arg: Vec<u8>,
    terms: Terms,
}

impl<'a, T: Transport, J: Journal> Call<'a, T, J> {
    fn new(agent: &'a SafeAgent<T, J>, key: Key, what: What) -> Self {
        Self {
            agent,
            key,
            what,
            pace: agent.pace,
            search: (Interface::Icrc3, 1_000),
            token: None,
            watch: None,
        }
    }

    fn terms(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        if let What::New(new) = &mut self.what {
            change(&mut new.terms);
        }
        self
    }

    fn details(mut self, change: impl FnOnce(&mut Transfer)) -> Self {
        if let What::Transfer(_, transfer) = &mut self.what {
            change(transfer);
        }
        self
    }

    /// The method recognises a request that is sent again: `#[idempotent]`, with a key or number in the argument. The canister offers the
    /// query `idempotency_outcomes`; if not, see [`outcomes`](Self::outcomes).
    pub fn idempotent(self, repeats: Repeats) -> Self {
        self.terms(|terms| {
            terms.repeats = repeats;
            terms.outcomes = Some("idempotency_outcomes".into());
        })
    }

    /// The name of the query that says what became of a call of this method, or that there is none. Without it a call can end in
    /// `StillUnknown` that would else be settled.
    pub fn outcomes(self, method: Option<&str>) -> Self {
        self.terms(|terms| terms.outcomes = method.map(str::to_owned))
    }

    /// The method does not await, and does not reject after it has changed something: a call that it ended with a trap or reject has done
    /// nothing. It only matters without [`outcomes`](Self::outcomes).
    pub fn rejects_undo(self) -> Self {
        self.terms(|terms| terms.rejects_undo = true)
    }

    /// Of a transfer: the fee that the caller expects. With it, a change of the ledger's fee is told instead of paid.
    pub fn fee(self, fee: impl Into<Nat>) -> Self {
        self.details(|transfer| transfer.fee = Some(fee.into()))
    }

    /// Of a transfer: the caller's account that pays.
    pub fn from_subaccount(self, subaccount: Subaccount) -> Self {
        self.details(|transfer| transfer.from_subaccount = Some(subaccount))
    }

    /// Of a transfer: another memo than the key. With it, let no two transfers be equal that are made within one nanosecond.
    pub fn memo(self, memo: impl Into<Vec<u8>>) -> Self {
        self.details(|transfer| transfer.memo = memo.into())
    }

    /// Of a transfer: in how many of the ledger's last blocks to look for it, if no answer tells. Default: 1,000; each 100 cost an update.
    pub fn search(mut self, most_blocks: u64) -> Self {
        self.search.1 = most_blocks;
        self
    }

    /// Of a transfer: the ledger has no ICRC-3, but `transaction_count` and `get_transaction` as this project's example ledger has them. To
    /// look for the transfer costs an update for each of the last transactions, a hundred at a time.
    pub fn transactions(mut self) -> Self {
        self.search.0 = Interface::Transactions;
        self
    }

    /// How long to go on; see [`Pace::deadline`].
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.pace.deadline = deadline;
        self
    }

    /// Ends the call early, with what can be said then. It stays in the journal if that is `StillUnknown`. To drop the future is as good,
    /// but says nothing.
    pub fn cancelled_by(mut self, token: CancellationToken) -> Self {
        self.token = Some(token);
        self
    }

    /// Is told what is done and what is heard.
    pub fn on_progress(mut self, watch: impl FnMut(Progress<'_>) + Send + 'a) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// Makes the call.
    ///
    /// # Errors
    /// If it can't be made, or made on. Whatever was sent is in the journal, and the call goes on when it is made again.
    pub async fn send(self) -> Result<End, Error> {
        let span = info_span!("safe_call", key = %self.key);
        self.make().instrument(span).await
    }

    async fn make(mut self) -> Result<End, Error> {
        let agent = self.agent;
        let _busy = Busy::new(&agent.busy, &self.key)?;
        let sender = agent.transport.sender().map_err(Error::Signing)?;
        let recorded = agent.journal.get(&self.key)?;
        let new = match (self.what, &recorded) {
            (What::New(new), _) => Some(new),
            (What::Transfer(ledger, mut transfer), recorded) => {
                let before = recorded
                    .as_ref()
                    .and_then(|recorded| recorded.request.terms.ledger.as_ref());
                transfer.created_at = match before {
                    Some(before) => before.created_at,
                    None => agent.time(ledger).await?,
                };
                Some(New {
                    canister: ledger,
                    method: "icrc1_transfer".into(),
                    arg: transfer.encode()?,
                    terms: Terms {
                        repeats: Repeats::Dated,
                        ledger: Some(transfer),
                        ..Terms::PLAIN
                    },
                })
            }
            (What::Recorded, Some(_)) => None,
            (What::Recorded, None) => return Err(Error::NoSuchCall(self.key)),
        };
        let (request, messages) = match (recorded, new) {
            (Some(recorded), new) => {
                let request = recorded.request;
                let is_same = new.is_none_or(|new| {
                    (new.canister, &new.method, &new.arg)
                        == (request.canister, &request.method, &request.arg)
                });
                if !is_same || request.sender != sender {
                    return Err(Error::KeyReused(self.key));
                }
                if let Some(end) = recorded.end {
                    return Ok(end);
                }
                (request, recorded.messages)
            }
            (None, Some(new)) => {
                let request = Request {
                    key: self.key.clone(),
                    sender,
                    canister: new.canister,
                    method: new.method,
                    arg: new.arg,
                    terms: new.terms,
                };
                agent.journal.append(Entry::Request(request.clone()))?;
                (request, vec![])
            }
            (None, None) => return Err(Error::NoSuchCall(self.key)),
        };
        let now = agent.transport.elapsed();
        let machine = Machine::new(
            request.terms.clone(),
            messages,
            self.pace,
            agent.clock(),
            now,
        );
        let mut run = Run {
            agent,
            request: &request,
            machine,
            search: self.search,
            token: self.token.as_ref(),
            is_kept: true,
        };
        let end = run.to_end(self.watch.as_mut()).await?;
        if !matches!(end, End::StillUnknown { .. }) {
            let key = self.key;
            agent.journal.append(Entry::End {
                key,
                end: end.clone(),
            })?;
        }
        Ok(end)
    }
}

impl<T, J> fmt::Debug for Call<'_, T, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A key is one call's at a time.
struct Busy<'a>(&'a Mutex<BTreeSet<Key>>, Key);

impl<'a> Busy<'a> {
    fn new(busy: &'a Mutex<BTreeSet<Key>>, key: &Key) -> Result<Self, Error> {
        let mut keys = busy.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match keys.insert(key.clone()) {
            true => Ok(Self(busy, key.clone())),
            false => Err(Error::Busy(key.clone())),
        }
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .remove(&self.1);
    }
}

/// One call on its way.
struct Run<'r, 'a, T, J> {
    agent: &'a SafeAgent<T, J>,
    request: &'r Request,
    machine: Machine,
    /// How to read a ledger's blocks, and how many at most.
    search: (Interface, u64),
    token: Option<&'r CancellationToken>,
    /// Whether it is in the journal. Questions are not: they can be asked again.
    is_kept: bool,
}

impl<T: Transport, J: Journal> Run<'_, '_, T, J> {
    async fn to_end(&mut self, mut watch: Option<&mut Watch<'_>>) -> Result<End, Error> {
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
            Action::Ask(method) => self.ask(method).await.map(Event::Outcome),
            Action::Search => self.search().await,
            Action::Sign(_) | Action::End(_) => return None,
        };
        Some(event.unwrap_or_else(Event::Trouble))
    }

    /// Asks what became of the call.
    async fn ask(&self, method: String) -> Result<Result<Outcome, IdempotencyError>, Trouble> {
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
            candid::decode_one(&reply).map_err(unreadable)?;
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
