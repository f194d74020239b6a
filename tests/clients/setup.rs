//! A replica that goes on by itself, with a ledger on it, and clients.

use candid::{Nat, Principal, encode_one};
use example_ledger::{
    errors::TransferOnceError,
    init::{InitArgs, LedgerArg},
    types::{Account, TransferOnceArg},
};
use ic_agent::{Agent, Identity, identity::BasicIdentity};
use idempotency_agent::{Call, End, IcTransport, Journal, Key, Pace, Repeats, SafeAgent};
use integration_tests::{Canister, LEDGER, replica};
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use std::{sync::Arc, time::Duration};

pub(crate) const CLIENTS: u8 = 8;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A replica with a ledger, on which each client has tokens.
pub(crate) struct World {
    replica: PocketIc,
    pub(crate) ledger: Principal,
    /// Where the replica listens.
    pub(crate) url: String,
}

impl World {
    pub(crate) fn live() -> Self {
        let mut replica = replica();
        let initial_balances = (0..CLIENTS).map(|client| (account(principal(client)), Nat::from(1_000_000_000_u64)));
        let args = LedgerArg::Init(InitArgs {
            minting_account: account(Principal::management_canister()),
            token_name: "Token".into(),
            token_symbol: "T".into(),
            decimals: None,
            transfer_fee: Nat::from(1_u8),
            initial_balances: initial_balances.collect(),
            max_memo_length: None,
            metadata: vec![],
        });
        let ledger = Canister::install(&replica, LEDGER, (args,)).id();
        let url = replica.make_live(None).to_string();
        Self { replica, ledger, url }
    }

    /// How many transfers there were.
    pub(crate) fn transfers(&self) -> u64 {
        let reply = self.replica.query_call(self.ledger, Principal::anonymous(), "transaction_count", encode_one(()).unwrap());
        let count: Nat = candid::decode_one(&reply.unwrap()).unwrap();
        u64::try_from(count.0).unwrap() - u64::from(CLIENTS)
    }
}

fn account(owner: Principal) -> Account {
    Account { owner, subaccount: None }
}

fn identity(client: u8) -> BasicIdentity {
    BasicIdentity::from_raw_key(&[client + 1; 32])
}

fn principal(client: u8) -> Principal {
    identity(client).sender().unwrap()
}

/// Seconds instead of minutes, so that messages expire while the test runs.
pub(crate) const PACE: Pace = Pace {
    deadline: Duration::from_secs(20),
    lifetime: Duration::from_secs(4),
    poll: Duration::from_millis(300),
    resubmit: Duration::from_millis(900),
    messages: 64,
};

/// A client that reaches the replica at `url`, and knows its key.
pub(crate) async fn client<J: Journal>(number: u8, url: &str, root_key: Vec<u8>, journal: J) -> SafeAgent<IcTransport, J> {
    let transport = IcTransport::new(Agent::builder().with_url(url), Arc::new(identity(number))).unwrap();
    transport.agent().set_root_key(root_key);
    SafeAgent::new(transport.timeout(Duration::from_secs(5)), journal).pace(PACE)
}

pub(crate) async fn root_key(url: &str) -> Vec<u8> {
    let agent = Agent::builder().with_url(url).build().unwrap();
    agent.fetch_root_key().await.unwrap();
    agent.read_root_key()
}

/// One transfer of one token, by the ledger's own method or by ICRC-1.
pub(crate) fn transfer<J: Journal>(agent: &SafeAgent<IcTransport, J>, ledger: Principal, number: u64) -> Call<'_, IcTransport, J> {
    let key = Key::new(number.to_be_bytes());
    let to = Principal::from_slice(&number.to_be_bytes());
    if number % 2 == 0 {
        return agent.transfer(ledger, to.into(), 1_u8, key);
    }
    let arg = TransferOnceArg {
        request_id: ByteBuf::from(key.as_bytes()),
        from_subaccount: None,
        to: account(to),
        amount: Nat::from(1_u8),
        fee: None,
        memo: None,
    };
    agent.call(ledger, "transfer_once", encode_one(arg).unwrap(), key).idempotent(Repeats::Within(DAY)).outcomes(None)
}

/// Whether a call ended with a transfer. Anything but `StillUnknown` has to be that: nothing speaks against one.
pub(crate) fn is_done(end: &End) -> bool {
    use idempotency_agent::Reply;
    match end {
        End::Replied(Reply::Block(_)) => true,
        End::Replied(Reply::Bytes(reply)) => {
            let reply: Result<Nat, TransferOnceError> = candid::decode_one(reply).unwrap();
            reply.unwrap();
            true
        }
        End::StillUnknown { .. } => false,
        end => panic!("a wrong claim: {end:?}"),
    }
}
