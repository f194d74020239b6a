//! Transfers of ledgers: `Duplicate` is success, a refusal after a doubt is none, and blocks tell what answers don't.

use super::{
    scripted::{Scripted, agent, key},
    world::CANISTER,
};
use crate::{
    Account, End, MemoryJournal, Message, Pace, Proof, Refusal, Reject, Reply, SafeAgent, Status,
    Submitted, TransferError, Transport, Trouble,
    journal::Journal,
    ledger::{Operation, Transaction},
    rules::{BROKEN, Rule},
};
use candid::{Nat, Principal, encode_one};
use futures_util::FutureExt;
use idempotency_core::{
    Timestamp,
    safe_call::search::{ArchivedBlocks, Block, GetBlocks, GetBlocksArgs, GetBlocksResult},
};
use serde_bytes::ByteBuf;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

type Agent = SafeAgent<Scripted, MemoryJournal>;

const TO: Principal = Principal::from_slice(&[5]);

fn answer(result: Result<u64, TransferError>) -> Result<Submitted, Trouble> {
    let reply = encode_one(result.map(Nat::from)).unwrap();
    Ok(Submitted::Certified(Status::Replied(reply)))
}

fn made(agent: &Agent, with_icrc3: bool) -> End {
    let call = agent.transfer(CANISTER, Account::from(TO), 7_u8, key());
    let call = if with_icrc3 {
        call
    } else {
        call.transactions()
    };
    call.send()
        .now_or_never()
        .expect("it only waits for the script")
        .unwrap()
}

/// The ledger's log. Before the transfer in question are blocks of long before.
#[derive(Clone, Default)]
struct Log {
    /// When the transfer was created, if its block is there.
    transfer: Arc<Mutex<Option<Timestamp>>>,
    /// The blocks are in an archive, which can't be read.
    is_archived: bool,
}

impl Log {
    fn transactions(&self) -> Vec<Transaction> {
        let account = Account::from;
        let of = |created_at: Option<Timestamp>, at: Timestamp| Transaction {
            operation: Operation::Transfer {
                from: account(Principal::anonymous()),
                to: account(TO),
                amount: 7_u8.into(),
                fee: 1_u8.into(),
                spender: None,
            },
            timestamp: at.as_nanos(),
            created_at_time: created_at.map(Timestamp::as_nanos),
            memo: Some(ByteBuf::from(key().as_bytes())),
        };
        let early = Timestamp::from_secs(1_600_000_000);
        let mint = Transaction {
            operation: Operation::Mint {
                to: account(TO),
                amount: 7_u8.into(),
            },
            ..of(None, early)
        };
        let made = *self.transfer.lock().unwrap();
        let made = made.map(|created_at| of(Some(created_at), created_at));
        // The same transfer of another time is another.
        [mint, of(Some(early), early)]
            .into_iter()
            .chain(made)
            .collect()
    }

    fn ask(&self, message: &Message) -> Option<Result<Submitted, Trouble>> {
        let end = message.bytes.iter().position(|byte| *byte == 0).unwrap();
        let (method, arg) = (&message.bytes[..end], &message.bytes[end + 1..]);
        let mut log = self.transactions();
        let reply = match method {
            b"icrc1_transfer" => return None,
            b"transaction_count" => encode_one(Nat::from(log.len())),
            b"get_transaction" => {
                let index: Nat = candid::decode_one(arg).unwrap();
                let index = usize::try_from(&index.0).unwrap();
                encode_one((index < log.len()).then(|| log.remove(index)))
            }
            b"icrc3_get_blocks" => {
                let ranges: Vec<GetBlocksArgs> = candid::decode_one(arg).unwrap();
                let log_length = Nat::from(log.len());
                let archived = ranges.first().map(|range| ArchivedBlocks {
                    args: vec![range.clone()],
                    callback: GetBlocks(candid::Func {
                        principal: Principal::from_slice(&[8]),
                        method: "archived".into(),
                    }),
                });
                let blocks = (0_u64..).zip(log).map(|(id, transaction)| Block {
                    id: id.into(),
                    block: transaction.into(),
                });
                encode_one(GetBlocksResult {
                    log_length,
                    blocks: blocks.filter(|_| !self.is_archived).collect(),
                    archived_blocks: archived.filter(|_| self.is_archived).into_iter().collect(),
                })
            }
            _ => {
                return Some(Ok(Submitted::Certified(Status::Rejected(Reject {
                    code: 5,
                    message: "no".into(),
                    error_code: None,
                }))));
            }
        };
        Some(Ok(Submitted::Certified(Status::Replied(reply.unwrap()))))
    }
}

#[test]
fn a_block_or_a_duplicate_is_success() {
    for result in [
        Ok(3),
        Err(TransferError::Duplicate {
            duplicate_of: 3_u8.into(),
        }),
    ] {
        let agent = agent(Scripted {
            submit: Box::new(move |_, _| answer(result.clone())),
            ..Scripted::default()
        });
        assert_eq!(made(&agent, true), End::Replied(Reply::Block(3_u8.into())));
    }
}

#[test]
fn a_refusal_of_the_only_message_is_one() {
    for error in [
        TransferError::TooOld,
        TransferError::BadFee {
            expected_fee: 2_u8.into(),
        },
    ] {
        let end = End::Rejected(Refusal::Ledger(error.clone()));
        let agent = agent(Scripted {
            submit: Box::new(move |_, _| answer(Err(error.clone()))),
            ..Scripted::default()
        });
        assert_eq!(made(&agent, true), end);
        assert_eq!(agent.transport().sent().len(), 1);
    }
    // A ledger that is too busy is asked again, in another message.
    let agent = agent(Scripted {
        submit: Box::new(|message, _| match message.id[0] {
            1..=3 => answer(Err(TransferError::TemporarilyUnavailable)),
            _ => answer(Ok(3)),
        }),
        ..Scripted::default()
    });
    assert_eq!(made(&agent, true), End::Replied(Reply::Block(3_u8.into())));
    assert_eq!(agent.transport().sent().len(), 4);
}

/// The first message is lost, or its answer is; the second is refused.
fn refused_after_a_doubt(log: Log) -> Agent {
    agent(Scripted {
        submit: Box::new(move |message, _| match log.ask(message) {
            Some(reply) => reply,
            None if message.id == [1; 32] => Err(Trouble::Unreachable("reset".into())),
            None => answer(Err(TransferError::BadFee {
                expected_fee: 2_u8.into(),
            })),
        }),
        ..Scripted::default()
    })
}

#[test]
fn a_refusal_after_a_doubt_is_settled_by_the_blocks() {
    let refused = End::Rejected(Refusal::Ledger(TransferError::BadFee {
        expected_fee: 2_u8.into(),
    }));
    for with_icrc3 in [true, false] {
        assert_eq!(
            made(&refused_after_a_doubt(Log::default()), with_icrc3),
            refused
        );
        // It was executed.
        let log = Log::default();
        let agent = refused_after_a_doubt(log.clone());
        *log.transfer.lock().unwrap() = Some(agent.transport().now());
        assert_eq!(
            made(&agent, with_icrc3),
            End::Replied(Reply::Block(2_u8.into()))
        );
        // Without the rule it would be taken for refused.
        BROKEN.set(Some(Rule::LedgerRefusal));
        let agent = refused_after_a_doubt(log);
        assert_eq!(made(&agent, with_icrc3), refused);
        BROKEN.set(None);
    }
}

#[test]
fn an_archive_that_cannot_be_read_leaves_the_doubt() {
    let log = Log {
        is_archived: true,
        ..Log::default()
    };
    let end = made(&refused_after_a_doubt(log), true);
    assert!(
        matches!(
            end,
            End::StillUnknown {
                ask_again_after: None,
                ..
            }
        ),
        "{end:?}"
    );
}

/// The client is away until the ledger's window has passed.
#[test]
fn after_the_window_the_blocks_tell() {
    for is_there in [false, true] {
        let log = Log::default();
        let asked = log.clone();
        let agent = agent(Scripted {
            submit: Box::new(move |message, _| {
                asked
                    .ask(message)
                    .unwrap_or(Err(Trouble::Unreachable("reset".into())))
            }),
            ..Scripted::default()
        })
        .pace(Pace {
            deadline: Duration::from_secs(100),
            ..Pace::default()
        });
        let end = made(&agent, true);
        assert!(
            matches!(
                end,
                End::StillUnknown {
                    ask_again_after: Some(_),
                    ..
                }
            ),
            "{end:?}"
        );
        let created_at = |agent: &Agent| {
            let recorded = agent.journal().get(&key()).unwrap().unwrap();
            recorded.request.terms.ledger.unwrap().created_at
        };
        let first = created_at(&agent);
        if is_there {
            *log.transfer.lock().unwrap() = Some(first);
        }
        agent
            .transport()
            .sleep(Duration::from_secs(25 * 60 * 60))
            .now_or_never();
        let end = made(&agent, true);
        match is_there {
            true => assert_eq!(end, End::Replied(Reply::Block(2_u8.into()))),
            false => assert_eq!(end, End::NeverRan(Proof::Blocks)),
        }
        assert_eq!(
            created_at(&agent),
            first,
            "it is fixed with the first attempt"
        );
        // Another amount is another transfer.
        let other = agent.transfer(CANISTER, Account::from(TO), 8_u8, key());
        assert!(other.send().now_or_never().unwrap().is_err());
    }
}
