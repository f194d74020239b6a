//! A ledger's blocks from the certified last one down to the first, most of them from its archive, as a plain agent reads them.

use super::setup::root_key;
use candid::{Nat, Principal, encode_args};
use example_ledger::{
    init::{ArchiveArgs, ArchiveSource, InitArgs, LedgerArg, UpgradeArgs},
    types::{Account, DataCertificate, TransferArg},
};
use ic_agent::{
    Agent, Certificate,
    hash_tree::{HashTree, LookupResult},
};
use ic_cbor::{CertificateToCbor as _, HashTreeToCbor as _};
use idempotency_archive::icrc3::{GetBlocksArg, GetBlocksResult, Value};
use idempotency_core::archive::wire::Install;
use integration_tests::{ARCHIVE, Canister, LEDGER, replica, user};
use pocket_ic::PocketIc;
use std::time::{Duration, SystemTime};

const TRANSFERS: u64 = 500;
const KEPT: u64 = 100;

fn account(owner: Principal) -> Account {
    Account {
        owner,
        subaccount: None,
    }
}

/// A ledger that has made its transfers, and its archive.
fn ledger(replica: &PocketIc) -> Canister<'_> {
    let init = InitArgs {
        token_name: "Test".into(),
        token_symbol: "TST".into(),
        decimals: None,
        transfer_fee: 1_u8.into(),
        minting_account: account(user(99)),
        initial_balances: vec![(account(user(1)), 1_000_000_u64.into())],
        metadata: vec![],
        max_memo_length: None,
        archives: None,
    };
    let ledger = Canister::install(replica, LEDGER, (LedgerArg::Init(init),));
    let install = Install {
        owner: ledger.id(),
        keeps_replies: true,
        capacity: 1_000_000,
        capacity_bytes: 1 << 30,
        cycles: 0_u8.into(),
    };
    let archive = Canister::install(replica, ARCHIVE, (install,));
    let changes = UpgradeArgs {
        archives: Some(ArchiveArgs {
            source: ArchiveSource::Canisters(vec![archive.id()]),
            keep: None,
            keep_blocks: KEPT,
        }),
        ..UpgradeArgs::default()
    };
    let upgraded = ledger.upgrade(LEDGER, (LedgerArg::Upgrade(Some(changes)),));
    upgraded.expect("it is upgraded");
    for number in 0..TRANSFERS {
        let arg = TransferArg {
            from_subaccount: None,
            to: account(user(2)),
            amount: number.into(),
            fee: None,
            memo: None,
            created_at_time: None,
        };
        ledger
            .update_raw(
                user(1),
                "icrc1_transfer",
                candid::encode_one(arg).expect("it encodes"),
            )
            .expect("it answers");
    }
    replica.advance_time(Duration::from_secs(11));
    (0..12).for_each(|_| replica.tick());
    ledger
}

/// The index and the hash of the last block, as the subnet certifies them.
async fn certified_tip(agent: &Agent, ledger: Principal) -> (u64, [u8; 32]) {
    let reply = agent.query(&ledger, "icrc3_get_tip_certificate");
    let arg = encode_args(()).expect("it encodes");
    let reply = reply.with_arg(arg).call().await.expect("it answers");
    let tip: Option<DataCertificate> = candid::decode_one(&reply).expect("it decodes");
    let tip = tip.expect("there are blocks");
    let certificate = Certificate::from_cbor(&tip.certificate).expect("a certificate");
    agent
        .verify(&certificate, ledger)
        .expect("the subnet signed it");
    let path = [b"canister", ledger.as_slice(), b"certified_data"];
    let LookupResult::Found(certified) = certificate.tree.lookup_path(path) else {
        panic!("the certificate is of the ledger");
    };
    let tree = HashTree::from_cbor(&tip.hash_tree).expect("a tree");
    assert_eq!(tree.digest(), certified);
    let leaf = |label: &str| match tree.lookup_path([label.as_bytes()]) {
        LookupResult::Found(bytes) => bytes.to_vec(),
        other => panic!("{label}: {other:?}"),
    };
    let index = Nat::decode(&mut &leaf("last_block_index")[..]).expect("LEB128");
    let hash = leaf("last_block_hash").try_into().expect("32 bytes");
    (u64::try_from(index.0).expect("not many"), hash)
}

async fn get_blocks(
    agent: &Agent,
    (canister, method): (Principal, &str),
    args: &[GetBlocksArg],
) -> GetBlocksResult {
    let arg = candid::encode_one(args).expect("it encodes");
    let reply = agent.query(&canister, method).with_arg(arg).call().await;
    candid::decode_one(&reply.expect("it answers")).expect("it decodes")
}

/// The block, and which canister has it.
async fn block(agent: &Agent, ledger: Principal, index: u64) -> (Value, Principal) {
    let arg = GetBlocksArg {
        start: index.into(),
        length: 1_u8.into(),
    };
    let mut from = ledger;
    let mut result = get_blocks(agent, (ledger, "icrc3_get_blocks"), &[arg]).await;
    if let [archived] = &result.archived_blocks[..] {
        let callback = &archived.callback.0;
        from = callback.principal;
        result = get_blocks(agent, (from, &callback.method), &archived.args).await;
    }
    let [block] = &result.blocks[..] else {
        panic!("block {index}: {result:?}");
    };
    assert_eq!(block.id, Nat::from(index));
    (block.block.clone(), from)
}

#[test]
fn each_block_is_proved_from_the_last_one_down() {
    let mut replica = replica();
    replica.set_time(SystemTime::now().into());
    let ledger = ledger(&replica).id();
    let url = replica.make_live(None).to_string();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let agent = Agent::builder().with_url(&url).build().expect("an agent");
        agent.set_root_key(root_key(&url).await);
        let (last, mut expected) = certified_tip(&agent, ledger).await;
        assert_eq!(last, TRANSFERS);
        let mut archived = 0;
        for index in (0..=last).rev() {
            let (block, from) = block(&agent, ledger, index).await;
            assert_eq!(block.hash(), expected, "block {index}");
            archived += u64::from(from != ledger);
            match block.get("phash") {
                Some(Value::Blob(parent)) => {
                    expected = parent[..].try_into().expect("a hash");
                }
                None => assert_eq!(index, 0),
                other => panic!("block {index}: {other:?}"),
            }
        }
        assert_eq!(archived, TRANSFERS + 1 - KEPT);
    });
}
