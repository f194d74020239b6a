//! A replica that goes on by itself, with a ledger on it, and clients.

use candid::{CandidType, Nat, Principal, Reserved, encode_args, encode_one};
use example_ledger::{
    init::{InitArgs, LedgerArg},
    types::{Account, TransferOnceArg},
};
use ic_agent::{Agent, Identity, identity::BasicIdentity};
use idempotency_agent::{Call, End, IcTransport, Journal, Key, Pace, Repeats, Reply, SafeAgent};
use integration_tests::{Canister, DURABLE_CANISTER, LEDGER, replica};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use std::{sync::Arc, time::Duration};

/// The canisters that are called.
#[derive(Clone, Copy)]
pub(crate) struct Canisters {
    pub(crate) ledger: Principal,
    /// Its method `work` is durable, and it says what became of calls.
    pub(crate) worker: Principal,
}

pub(crate) const CLIENTS: u8 = 8;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A replica with a ledger, on which each client has tokens.
pub(crate) struct World {
    replica: PocketIc,
    pub(crate) canisters: Canisters,
    /// Where the replica listens.
    pub(crate) url: String,
}

impl World {
    pub(crate) fn live() -> Self {
        let mut replica = replica();
        let initial_balances =
            (0..CLIENTS).map(|client| (account(principal(client)), Nat::from(1_000_000_000_u64)));
        let args = LedgerArg::Init(InitArgs {
            minting_account: account(Principal::management_canister()),
            token_name: "Token".into(),
            token_symbol: "T".into(),
            decimals: None,
            transfer_fee: Nat::from(1_u8),
            initial_balances: initial_balances.collect(),
            max_memo_length: None,
            archives: None,
            metadata: vec![],
        });
        let ledger = Canister::install(&replica, LEDGER, (args,)).id();
        let worker = Canister::install(&replica, DURABLE_CANISTER, ()).id();
        let url = replica.make_live(None).to_string();
        Self {
            replica,
            canisters: Canisters { ledger, worker },
            url,
        }
    }

    /// How many transfers there were, and how much work was done.
    pub(crate) fn executions(&self) -> u64 {
        let Canisters { ledger, worker } = self.canisters;
        let query = |canister, method| {
            let reply = self.replica.query_call(
                canister,
                Principal::anonymous(),
                method,
                encode_one(()).unwrap(),
            );
            reply.unwrap()
        };
        let transactions: Nat = candid::decode_one(&query(ledger, "transaction_count")).unwrap();
        let effects: Vec<(String, u64)> = candid::decode_one(&query(worker, "effects")).unwrap();
        let effects: u64 = effects.iter().map(|(_, count)| count).sum();
        u64::try_from(transactions.0).unwrap() - u64::from(CLIENTS) + effects
    }
}

/// What the worker does.
#[derive(CandidType)]
enum Act {
    Effect(String),
}

fn account(owner: Principal) -> Account {
    Account {
        owner,
        subaccount: None,
    }
}

fn identity(client: u8) -> BasicIdentity {
    BasicIdentity::from_raw_key(&[client + 1; 32])
}

pub(crate) fn principal(client: u8) -> Principal {
    identity(client).sender().unwrap()
}

/// Seconds instead of minutes, so that messages expire while the test runs.
pub(crate) const PACE: Pace = Pace {
    deadline: Duration::from_secs(30),
    lifetime: Duration::from_secs(4),
    poll: Duration::from_millis(300),
    resubmit: Duration::from_millis(900),
    messages: 64,
};

/// A client that reaches the replica at `url`, and knows its key.
pub(crate) async fn client<J: Journal>(
    number: u8,
    url: &str,
    root_key: Vec<u8>,
    journal: J,
) -> SafeAgent<IcTransport, J> {
    let transport =
        IcTransport::new(Agent::builder().with_url(url), Arc::new(identity(number))).unwrap();
    transport.agent().set_root_key(root_key);
    SafeAgent::new(transport.timeout(Duration::from_secs(5)), journal).pace(PACE)
}

pub(crate) async fn root_key(url: &str) -> Vec<u8> {
    let agent = Agent::builder().with_url(url).build().unwrap();
    agent.fetch_root_key().await.unwrap();
    agent.read_root_key()
}

/// A call of the ledger's own method, which says nothing of calls; of ICRC-1's; or of the worker, which does.
pub(crate) fn call<J: Journal>(
    agent: &SafeAgent<IcTransport, J>,
    canisters: Canisters,
    number: u64,
) -> Call<'_, IcTransport, J> {
    let Canisters { ledger, worker } = canisters;
    let key = Key::new(number.to_be_bytes());
    let to = Principal::from_slice(&number.to_be_bytes());
    match number % 3 {
        0 => {
            let transfer = agent.transfer(ledger, to.into(), 1_u8, key);
            // Both ways to look for it.
            match number % 2 {
                0 => transfer.transactions(),
                _ => transfer,
            }
        }
        1 => {
            let arg = TransferOnceArg {
                request_id: ByteBuf::from(key.as_bytes()),
                from_subaccount: None,
                to: account(to),
                amount: Nat::from(1_u8),
                fee: None,
                memo: None,
            };
            let call = agent.call(ledger, "transfer_once", encode_one(arg).unwrap(), key);
            call.idempotent(Repeats::Within(DAY)).outcomes(None)
        }
        _ => {
            let acts = [Act::Effect(number.to_string())];
            let arg = encode_args((ByteBuf::from(key.as_bytes()), &acts[..])).unwrap();
            agent
                .call(worker, "work", arg, key)
                .idempotent(Repeats::Within(DAY))
        }
    }
}

/// Whether a call was executed, if its end says so. Nothing speaks against it, so none is refused.
pub(crate) fn was_executed(end: &End) -> Option<bool> {
    match end {
        End::Replied(Reply::Block(_)) => Some(true),
        End::Replied(Reply::Bytes(reply)) => {
            let reply: Result<Reserved, Reserved> = candid::decode_one(reply).unwrap();
            assert!(reply.is_ok(), "nothing speaks against it");
            Some(true)
        }
        End::NeverRan(_) => Some(false),
        End::StillUnknown { .. } => None,
        end => panic!("a wrong claim: {end:?}"),
    }
}
