//! A transfer in two steps, on a ledger that executes a transfer again when it is sent again.
//!
//! ```text
//! the caller's account ── amount + fee ──► the caller's account for this transfer ── amount ──► the receiver
//!                         deposit                                                   forward
//! ```
//!
//! The account in between is nobody else's and holds nothing else, so its balance says what became of each step: after the deposit it
//! is `amount + fee`, after the forwarding it is less. Each step is a call that is never sent under another request id unless it is
//! proved that it was not executed; and the balance is read only when no message of the step can be executed any more.
//!
//! Source: the IC's documentation on safe retries, "2-step transfers". It lets the client send the second step again and again; here
//! each attempt is settled by the balance before the next is made.

use crate::{
    End, Error, Journal, Key, Refusal, Reply, SafeAgent, Transport,
    journal::Recorded,
    reply,
    request::{Request, Terms},
    rules::plus,
};
use candid::{CandidType, Nat, Principal};
use idempotency_core::{
    Timestamp,
    safe_call::{Account, Subaccount, TransferError},
};
use serde::Deserialize;
use serde_bytes::ByteArray;
use sha2::{Digest, Sha256};
use std::{fmt, time::Duration};

/// The end of a transfer in two steps. All but the last are proved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum TwoStepEnd {
    /// The receiver has the amount.
    Transferred {
        /// The index of the second step's block. `None` if no answer told it: the balance in between shows that it was executed.
        block: Option<Nat>,
    },
    /// Nothing was transferred, and nothing will be.
    NotTransferred(Refusal),
    /// Nothing was transferred, and nothing will be: no message of the first step was executed.
    NeverRan,
    /// The amount lies in between, and the ledger does not forward it. Make the same transfer again when the cause is gone; if that is a
    /// change of the ledger's fee, it never is: transfer from there by other means.
    Stuck {
        /// The account in between.
        between: Account,
        /// Why the ledger refuses.
        error: TransferError,
    },
    /// It may have been executed in part. Make the same transfer again, with the same key and the same journal.
    StillUnknown {
        /// When that makes sense, by the ledger's clock.
        ask_again_after: Timestamp,
        /// What is known, for people.
        why: String,
    },
}

/// A transfer that is about to be made: [`SafeAgent::transfer_in_two_steps`].
#[must_use = "it is made by `send`"]
pub struct TwoStep<'a, T, J> {
    agent: &'a SafeAgent<T, J>,
    ledger: Principal,
    to: Account,
    amount: Nat,
    key: Key,
    from_subaccount: Option<Subaccount>,
    deadline: Duration,
}

/// ICRC-1's, without what ledgers recognise a transfer by.
#[derive(CandidType, Clone, Debug, Deserialize)]
struct TransferArg {
    from_subaccount: Option<ByteArray<32>>,
    to: Holder,
    amount: Nat,
    fee: Option<Nat>,
    memo: Option<Vec<u8>>,
    created_at_time: Option<u64>,
}

/// An account.
#[derive(CandidType, Clone, Debug, Deserialize)]
struct Holder {
    owner: Principal,
    subaccount: Option<ByteArray<32>>,
}

impl From<Account> for Holder {
    fn from(account: Account) -> Self {
        Self {
            owner: account.owner,
            subaccount: account.subaccount.map(ByteArray::new),
        }
    }
}

/// What became of one call of a step.
enum Part {
    Done(Nat),
    Refused(TransferError),
    /// It was not executed.
    Rejected(Refusal),
    NeverRan,
    /// No message of it can be executed any more; whether one was is not known.
    Over,
    /// It may still be executed.
    Open(Timestamp, String),
}

/// When to look again at what could not be read.
const PAUSE: Duration = Duration::from_secs(30);

impl<T: Transport, J: Journal> SafeAgent<T, J> {
    /// A transfer from the caller's default account by a ledger that has no deduplication, in two steps. It costs two fees, and an account
    /// of the caller's own in between that follows from the key: [`account_between`]. With an ICRC-1 ledger that has
    /// deduplication use [`transfer`](Self::transfer).
    ///
    /// The journal has the steps under keys of their own, which begin with this one.
    pub fn transfer_in_two_steps(
        &self,
        ledger: Principal,
        to: Account,
        amount: impl Into<Nat>,
        key: Key,
    ) -> TwoStep<'_, T, J> {
        TwoStep {
            agent: self,
            ledger,
            to,
            amount: amount.into(),
            key,
            from_subaccount: None,
            deadline: self.pace.deadline,
        }
    }
}

/// The account in between of this transfer. Leave it alone: what somebody else transfers to it may be forwarded, too, and what somebody
/// else takes from it counts as forwarded.
pub fn account_between(owner: Principal, key: &Key, to: &Account, amount: &Nat) -> Account {
    let amount = amount.0.to_bytes_be();
    let mut hash = Sha256::new().chain_update(b"idempotency: account between");
    for part in [
        key.as_bytes(),
        to.owner.as_slice(),
        &to.subaccount.unwrap_or_default(),
        &amount,
    ] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Account {
        owner,
        subaccount: Some(hash.finalize().into()),
    }
}

impl<T: Transport, J: Journal> TwoStep<'_, T, J> {
    /// The caller's account that pays.
    pub fn from_subaccount(mut self, subaccount: Subaccount) -> Self {
        self.from_subaccount = Some(subaccount);
        self
    }

    /// How long to go on. Default: that of the agent's [`Pace`](crate::Pace).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Makes the transfer, or goes on with it.
    ///
    /// # Errors
    /// If it can't be made, or made on. It goes on when it is made again. [`Error::KeyReused`] if the key is that of another transfer.
    pub async fn send(self) -> Result<TwoStepEnd, Error> {
        let owner = self.agent.transport().sender().map_err(Error::Signing)?;
        let between = account_between(owner, &self.key, &self.to, &self.amount);
        let until = self
            .agent
            .transport()
            .elapsed()
            .saturating_add(self.deadline);
        let fee = match self.agent.journal().get(&self.deposit_key())? {
            Some(recorded) => self.fee_of(&recorded)?,
            None => match self
                .ask(owner, "icrc1_fee", candid::encode_args(()), until)
                .await
            {
                Ok(fee) => fee,
                Err(why) => return self.unknown(why).await,
            },
        };
        let deposited = self.amount.clone() + fee.clone();
        // It is forwarded only after it was seen to be there.
        if self.agent.journal().get(&self.forward_key(1))?.is_none() {
            let deposit = TransferArg::new(self.from_subaccount, between, &deposited, &fee);
            match self.part(self.deposit_key(), &deposit, until).await? {
                Part::Done(_) => {}
                Part::Refused(error) => {
                    return Ok(TwoStepEnd::NotTransferred(Refusal::Ledger(error)));
                }
                Part::Rejected(refusal) => return Ok(TwoStepEnd::NotTransferred(refusal)),
                Part::NeverRan => return Ok(TwoStepEnd::NeverRan),
                Part::Open(ask_again_after, why) => {
                    return Ok(TwoStepEnd::StillUnknown {
                        ask_again_after,
                        why,
                    });
                }
                Part::Over => match self.balance(between, until).await {
                    Ok(balance) if balance >= deposited => {}
                    Ok(_) => return Ok(TwoStepEnd::NeverRan),
                    Err(why) => return self.unknown(why).await,
                },
            }
        }
        let forward = TransferArg::new(between.subaccount, self.to, &self.amount, &fee);
        self.forward(&forward, (between, &deposited), until).await
    }

    /// The second step. Each attempt is settled before the next is made.
    async fn forward(
        &self,
        forward: &TransferArg,
        (between, deposited): (Account, &Nat),
        until: Duration,
    ) -> Result<TwoStepEnd, Error> {
        let (agent, mut attempt) = (self.agent, self.next_attempt()?);
        loop {
            match self.part(self.forward_key(attempt), forward, until).await? {
                Part::Done(block) => return Ok(TwoStepEnd::Transferred { block: Some(block) }),
                Part::Open(ask_again_after, why) => {
                    return Ok(TwoStepEnd::StillUnknown {
                        ask_again_after,
                        why,
                    });
                }
                Part::Refused(TransferError::TemporarilyUnavailable)
                | Part::Rejected(_)
                | Part::NeverRan => {}
                Part::Refused(error) => return Ok(TwoStepEnd::Stuck { between, error }),
                Part::Over => match self.balance(between, until).await {
                    Ok(balance) if balance < *deposited => {
                        return Ok(TwoStepEnd::Transferred { block: None });
                    }
                    Ok(_) => {}
                    Err(why) => return self.unknown(why).await,
                },
            }
            attempt += 1;
            if agent.transport().elapsed().saturating_add(PAUSE) >= until {
                let why = "the amount lies in between, and is to be forwarded";
                return self.unknown(why.into()).await;
            }
            agent.transport().sleep(PAUSE).await;
        }
    }

    /// The last attempt of the second step, or the one after it if it was refused.
    fn next_attempt(&self) -> Result<u32, Error> {
        let recorded = |attempt| self.agent.journal().get(&self.forward_key(attempt));
        let mut attempt = 1;
        let Some(mut last) = recorded(attempt)? else {
            return Ok(attempt);
        };
        while let Some(next) = recorded(attempt + 1)? {
            (attempt, last) = (attempt + 1, next);
        }
        let was_refused = last
            .end
            .is_some_and(|end| !matches!(part_of(end), Some(Part::Done(_))));
        Ok(attempt + u32::from(was_refused))
    }

    /// One call of a step.
    async fn part(&self, key: Key, arg: &TransferArg, until: Duration) -> Result<Part, Error> {
        let remaining = until.saturating_sub(self.agent.transport().elapsed());
        let call = (self.agent).call(self.ledger, "icrc1_transfer", candid::encode_one(arg)?, key);
        Ok(match call.deadline(remaining).send().await? {
            End::StillUnknown {
                ask_again_after: Some(ask_again_after),
                why,
            } => Part::Open(ask_again_after, why),
            End::StillUnknown {
                ask_again_after: None,
                ..
            } => Part::Over,
            // An answer that can't be read is as good as none.
            end => part_of(end).unwrap_or(Part::Over),
        })
    }

    /// What the ledger's fee was when the transfer began.
    fn fee_of(&self, deposit: &Recorded) -> Result<Nat, Error> {
        let reused = || Error::KeyReused(self.key.clone());
        let TransferArg { amount, .. } =
            reply::decode(&deposit.request.arg).map_err(|_| reused())?;
        match amount >= self.amount {
            true => Ok(amount - self.amount.clone()),
            false => Err(reused()),
        }
    }

    /// The balance in between, by the subnet's word.
    async fn balance(&self, between: Account, until: Duration) -> Result<Nat, String> {
        let arg = candid::encode_one(Holder::from(between));
        self.ask(between.owner, "icrc1_balance_of", arg, until)
            .await
    }

    async fn ask(
        &self,
        sender: Principal,
        method: &str,
        arg: Result<Vec<u8>, candid::Error>,
        until: Duration,
    ) -> Result<Nat, String> {
        let unreadable = |error: candid::Error| format!("{method}: {error}");
        let request = Request {
            key: self.key.clone(),
            sender,
            canister: self.ledger,
            method: method.into(),
            arg: arg.map_err(unreadable)?,
            terms: Terms::PLAIN,
        };
        let remaining = until.saturating_sub(self.agent.transport().elapsed());
        let reply = self.agent.question(request, remaining).await;
        let reply = reply.map_err(|trouble| trouble.to_string())?;
        reply::decode(&reply).map_err(unreadable)
    }

    async fn unknown(&self, why: String) -> Result<TwoStepEnd, Error> {
        let ask_again_after = plus(self.agent.time(self.ledger).await?, PAUSE);
        Ok(TwoStepEnd::StillUnknown {
            ask_again_after,
            why,
        })
    }

    fn deposit_key(&self) -> Key {
        self.key.part("deposit")
    }

    fn forward_key(&self, attempt: u32) -> Key {
        self.key.part(&format!("forward {attempt}"))
    }
}

impl TransferArg {
    fn new(from_subaccount: Option<Subaccount>, to: Account, amount: &Nat, fee: &Nat) -> Self {
        Self {
            from_subaccount: from_subaccount.map(ByteArray::new),
            to: to.into(),
            amount: amount.clone(),
            // A fee that has changed is told, and not paid.
            fee: Some(fee.clone()),
            memo: None,
            created_at_time: None,
        }
    }
}

/// What an end proves. `None` if that is nothing.
fn part_of(end: End) -> Option<Part> {
    match end {
        End::Replied(Reply::Bytes(reply)) => match reply::decode(&reply).ok()? {
            Ok(block) => Some(Part::Done(block)),
            Err(error) => Some(Part::Refused(error)),
        },
        End::Replied(_) | End::StillUnknown { .. } => None,
        End::Rejected(refusal) => Some(Part::Rejected(refusal)),
        End::NeverRan(_) => Some(Part::NeverRan),
    }
}

impl<T, J> fmt::Debug for TwoStep<'_, T, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TwoStep")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
