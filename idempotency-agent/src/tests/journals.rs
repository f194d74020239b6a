//! Journals: what is written is there, whatever happens in between, or the journal says that it is not.

use super::world::CANISTER;
use crate::{
    End, FileJournal, JournalError, Key, Message, Proof, Refusal, Reply, Request, Terms,
    TransferError,
    journal::{Entry, Journal},
};
use candid::{Nat, Principal};
use idempotency_core::{
    Timestamp,
    safe_call::{Account, Transfer},
};
use std::{fs, path::Path};

fn request(number: u8) -> Request {
    Request {
        key: Key::new([number]),
        sender: Principal::anonymous(),
        canister: CANISTER,
        method: "act".into(),
        arg: vec![number; 3],
        terms: Terms::PLAIN,
    }
}

fn message(number: u8) -> Message {
    Message {
        id: [number; 32],
        expiry: Timestamp::from_secs(7),
        bytes: vec![number; 5],
    }
}

fn ends() -> [End; 5] {
    [
        End::Replied(Reply::Bytes(b"reply".into())),
        End::Replied(Reply::Block(Nat::from(u128::MAX))),
        End::Replied(Reply::Dropped {
            executed_at: Timestamp::from_secs(1),
        }),
        End::Rejected(Refusal::Ledger(TransferError::BadFee {
            expected_fee: 10_u8.into(),
        })),
        End::NeverRan(Proof::Blocks),
    ]
}

/// Writes several calls, and looks at them through another instance.
fn keeps_what_is_written<J: Journal>(open: impl Fn() -> J) {
    let journal = open();
    let mut transfer = request(0);
    transfer.terms.ledger = Some(Transfer {
        from_subaccount: Some([3; 32]),
        to: Account::from(CANISTER),
        amount: Nat::from(u128::MAX) * 1_000_u64,
        fee: None,
        memo: vec![1, 2],
        created_at: Timestamp::from_nanos(u64::MAX),
    });
    let requests: Vec<Request> = [transfer].into_iter().chain((1..=5).map(request)).collect();
    for request in &requests {
        journal
            .append(Entry::Request(Box::new(request.clone())))
            .unwrap();
    }
    let key = |number: u8| Key::new([number]);
    for number in [7, 8] {
        let message = message(number);
        journal
            .append(Entry::Message {
                key: key(0),
                message,
            })
            .unwrap();
    }
    for (number, end) in (1..).zip(ends()) {
        journal
            .append(Entry::End {
                key: key(number),
                end,
            })
            .unwrap();
    }
    for entry in [
        Entry::Request(Box::new(request(0))),
        Entry::Message {
            key: key(1),
            message: message(1),
        },
        Entry::Message {
            key: key(9),
            message: message(1),
        },
        Entry::End {
            key: key(1),
            end: ends()[0].clone(),
        },
        Entry::End {
            key: key(0),
            end: End::StillUnknown {
                ask_again_after: None,
                why: String::new(),
            },
        },
        Entry::Forgotten { key: key(0) },
    ] {
        assert!(matches!(
            journal.append(entry),
            Err(JournalError::Refused(_))
        ));
    }
    journal.append(Entry::Forgotten { key: key(5) }).unwrap();
    drop(journal);
    for _ in 0..2 {
        let journal = open();
        assert_eq!(journal.open_calls().unwrap(), [key(0)]);
        let recorded = journal.get(&key(0)).unwrap().unwrap();
        assert_eq!((&recorded.request, recorded.end), (&requests[0], None));
        assert_eq!(recorded.messages, [message(7), message(8)]);
        for (number, end) in (1..5).zip(ends()) {
            assert_eq!(journal.get(&key(number)).unwrap().unwrap().end, Some(end));
        }
        assert_eq!(journal.get(&key(5)).unwrap(), None);
    }
    // A key that was forgotten is free.
    open().append(Entry::Request(Box::new(request(5)))).unwrap();
}

#[test]
fn a_file_keeps_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    keeps_what_is_written(|| FileJournal::open(folder.path().join("journal")).unwrap());
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_keeps_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    keeps_what_is_written(|| crate::SqliteJournal::open(folder.path().join("journal")).unwrap());
}

fn with_calls(path: &Path) -> Vec<u8> {
    let journal = FileJournal::open(path).unwrap();
    for number in 0..3 {
        journal
            .append(Entry::Request(Box::new(request(number))))
            .unwrap();
        let (key, message) = (Key::new([number]), message(number));
        journal.append(Entry::Message { key, message }).unwrap();
    }
    drop(journal);
    fs::read(path).unwrap()
}

/// Power fails while any byte is written: the whole lines before it are there, and the journal can be written to.
#[test]
fn a_torn_end_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let whole = with_calls(&path);
    let header = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for length in 0..header {
        // The first line is never written alone.
        fs::write(&path, &whole[..length]).unwrap();
        assert!(matches!(
            FileJournal::open(&path),
            Err(JournalError::Damaged(_))
        ));
    }
    for length in header..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let journal = FileJournal::open(&path).unwrap();
        let lines = whole[..length]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        let (calls, messages) = (lines / 2, lines.saturating_sub(1) / 2);
        let open = journal.open_calls().unwrap();
        assert_eq!(open.len(), calls, "{length} bytes");
        let count: usize = open
            .iter()
            .map(|key| journal.get(key).unwrap().unwrap().messages.len())
            .sum();
        assert_eq!(count, messages, "{length} bytes");
        if length % 50 == 0 {
            journal
                .append(Entry::Request(Box::new(request(9))))
                .unwrap();
            drop(journal);
            let journal = FileJournal::open(&path).unwrap();
            assert_eq!(journal.open_calls().unwrap().len(), calls + 1);
        }
    }
}

/// A byte that changed, or a line that is gone, is no journal: what is forgotten might be taken for what never ran.
#[test]
fn what_is_damaged_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let whole = with_calls(&path);
    let last = whole.iter().rposition(|byte| *byte == b'\n').unwrap();
    for at in (0..last).step_by(3) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = FileJournal::open(&path).unwrap_err();
        assert!(
            matches!(error, JournalError::Damaged(_)),
            "byte {at}: {error}"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes, "it is left as it is");
    }
    let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let third = second
        + whole[second..]
            .iter()
            .position(|byte| *byte == b'\n')
            .unwrap()
        + 1;
    fs::write(&path, [&whole[..second], &whole[third..]].concat()).unwrap();
    let error = FileJournal::open(&path).unwrap_err().to_string();
    assert!(error.contains("line 2: an entry of the call 00"), "{error}");
    fs::write(&path, "some text\n").unwrap();
    assert!(
        FileJournal::open(&path)
            .unwrap_err()
            .to_string()
            .contains("its first line is another")
    );
}

#[test]
fn a_file_is_one_processs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let first = FileJournal::open(&path).unwrap();
    assert!(matches!(
        FileJournal::open(&path),
        Err(JournalError::Locked)
    ));
    drop(first);
    FileJournal::open(&path).unwrap();
}

#[cfg(feature = "sqlite")]
#[test]
fn a_database_is_one_processs_and_no_other_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let first = crate::SqliteJournal::open(&path).unwrap();
    first.append(Entry::Request(Box::new(request(1)))).unwrap();
    assert!(matches!(
        crate::SqliteJournal::open(&path),
        Err(JournalError::Locked)
    ));
    drop(first);
    crate::SqliteJournal::open(&path).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[..16].copy_from_slice(b"no database here");
    fs::write(&path, bytes).unwrap();
    assert!(matches!(
        crate::SqliteJournal::open(&path),
        Err(JournalError::Damaged(_))
    ));
    let other = folder.path().join("other");
    rusqlite::Connection::open(&other)
        .unwrap()
        .execute_batch("CREATE TABLE mine (x)")
        .unwrap();
    assert!(matches!(
        crate::SqliteJournal::open(&other),
        Err(JournalError::Damaged(_))
    ));
}

/// What is forgotten does not fill the disk: the file is written anew, with what is needed.
#[test]
fn a_file_shrinks_when_it_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut lines = String::new();
    {
        // Not by 3,000 appends, each of which waits for the disk.
        let journal = FileJournal::open(&path).unwrap();
        journal
            .append(Entry::Request(Box::new(request(1))))
            .unwrap();
    }
    let mut write = |entry: Entry| {
        let body = serde_json::to_string(&entry).unwrap();
        lines += &format!("{:08x} {body}\n", crc32fast::hash(body.as_bytes()));
    };
    for _ in 0..1_000 {
        let key = Key::new([2]);
        write(Entry::Request(Box::new(request(2))));
        write(Entry::End {
            key: key.clone(),
            end: ends()[0].clone(),
        });
        write(Entry::Forgotten { key });
    }
    let mut text = fs::read_to_string(&path).unwrap();
    text += &lines;
    fs::write(&path, &text).unwrap();
    let journal = FileJournal::open(&path).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    journal
        .append(Entry::Request(Box::new(request(3))))
        .unwrap();
    drop(journal);
    let journal = FileJournal::open(&path).unwrap();
    assert_eq!(
        journal.open_calls().unwrap(),
        [Key::new([1]), Key::new([3])]
    );
}
