//! An archive against a map, with appends, repeats, merges in parts, and a new heap between any two of these.

use super::*;
use crate::Merged;
use proptest::prelude::*;
use std::collections::BTreeMap;

#[derive(Clone, Debug)]
enum Step {
    Append {
        entries: u64,
        seed: u64,
    },
    /// The last chunk comes again.
    Repeat,
    Merge {
        rows: u64,
    },
    NewHeap,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        16 => (0u64..8, any::<u64>()).prop_map(|(entries, seed)| Step::Append { entries, seed }),
        16 => (250u64..400, any::<u64>()).prop_map(|(entries, seed)| Step::Append { entries, seed }),
        3 => Just(Step::Repeat),
        8 => (1u64..1000).prop_map(|rows| Step::Merge { rows }),
        1 => Just(Step::Merge { rows: 100_000 }),
        4 => Just(Step::NewHeap),
    ];
    prop::collection::vec(step, 0..300)
}

/// Some are alike in front, as if someone had chosen them; some occur often.
fn some_id(numbers: &mut Numbers) -> Id {
    match numbers.below(10) {
        0 => (u128::MAX - u128::from(numbers.below(40))).to_be_bytes(),
        1 => (7 << 64 | u128::from(numbers.next())).to_be_bytes(),
        2 => id(numbers.below(50)),
        _ => id(numbers.below(100_000)),
    }
}

type Model = BTreeMap<Id, (Vec<u8>, Vec<u8>)>;

fn worth((entry, _): &(Vec<u8>, Vec<u8>)) -> (u8, u64, Vec<u8>) {
    let worth = match entry[22] & 3 {
        0 => 0,
        3 => 1,
        _ => 2,
    };
    let mut millis = [0; 8];
    millis[..6].copy_from_slice(&entry[16..22]);
    (worth, u64::from_le_bytes(millis), entry[22..].to_vec())
}

fn check(
    archive: &Archive<VectorMemory>,
    model: &Model,
    numbers: &mut Numbers,
    keeps_replies: bool,
) {
    let mut asked: Vec<_> = (0..20).map(|_| some_id(numbers)).collect();
    asked.extend(model.keys().skip(numbers.below(50) as usize).step_by(97));
    asked.push(asked[0]);
    let found = archive.look_up(Principal::anonymous(), &asked).unwrap();
    assert_eq!(
        found.position.entries,
        archive.status(0, 0).position.entries
    );
    for (id, found) in asked.iter().zip(found.found) {
        let found = found.map(|found| (found.entry.into_vec(), found.reply.map(ByteBuf::into_vec)));
        let expected = model.get(id).map(|(entry, reply)| {
            let has_reply = keeps_replies && entry[22] & 3 != 0;
            (entry.clone(), has_reply.then(|| reply.clone()))
        });
        assert_eq!(found, expected, "{id:?}");
    }
}

fn run(steps: Vec<Step>, seed: u64, keeps_replies: bool) {
    let memory = VectorMemory::default();
    let mut archive = Archive::install(memory.clone(), &install(keeps_replies)).unwrap();
    let mut model = Model::new();
    let mut last = None;
    let mut numbers = Numbers(seed);
    for step in steps {
        let position = archive.status(0, 0).position;
        match step {
            Step::Append { entries, seed } => {
                let mut numbers = Numbers(seed);
                let entries: Vec<_> = (0..entries)
                    .map(|_| {
                        let kept = if keeps_replies { numbers.below(4) } else { 0 };
                        let (id, millis) = (some_id(&mut numbers), numbers.below(3));
                        let entry = match keeps_replies {
                            true => entry::<FULL_BYTES>(id, millis, kept as u8).to_vec(),
                            false => entry::<SHORT_BYTES>(id, millis, kept as u8).to_vec(),
                        };
                        (
                            entry,
                            vec![numbers.next() as u8; numbers.below(40) as usize],
                        )
                    })
                    .collect();
                let append = chunk(position, &entries);
                let after = taken(archive.append(&append));
                assert_eq!(after, append.after);
                for it in entries {
                    let id = *it.0.first_chunk().unwrap();
                    if model.get(&id).is_none_or(|old| worth(old) <= worth(&it)) {
                        model.insert(id, it);
                    }
                }
                last = Some(append);
            }
            Step::Repeat => {
                if let Some(append) = &last {
                    assert_eq!(archive.append(append), Appended::Taken(position));
                }
            }
            Step::Merge { rows } => {
                let before = archive.has_to_merge();
                let merged = archive.merge(rows);
                assert_eq!(merged != Merged::Nothing, before);
            }
            Step::NewHeap => archive = Archive::open(memory.clone()).unwrap(),
        }
        check(&archive, &model, &mut numbers, keeps_replies);
    }
    while archive.has_to_merge() {
        archive.merge(777);
        check(&archive, &model, &mut numbers, keeps_replies);
    }
    let reopened = Archive::open(memory).unwrap();
    check(&reopened, &model, &mut numbers, keeps_replies);
    // All of them, at once.
    let all: Vec<_> = model.keys().copied().collect();
    let found = reopened
        .look_up(Principal::anonymous(), &all)
        .unwrap()
        .found;
    assert!(
        found.iter().zip(model.values()).all(|(found, (entry, _))| {
            found.as_ref().is_some_and(|found| *found.entry == *entry)
        })
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn it_knows_what_it_was_told(steps in steps(), seed: u64, keeps_replies: bool) {
        run(steps, seed, keeps_replies);
    }
}
