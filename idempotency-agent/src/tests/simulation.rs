//! Whatever the network does, and whenever the client is killed: nothing is executed twice, and each end is true.

use super::{
    net::Net,
    world::{Arg, CANISTER, Does, Faults, MINUTE, SECOND, WINDOW, World},
};
use crate::{
    End, Key, MemoryJournal, Pace, Repeats, Reply, SafeAgent,
    journal::{Entry, Journal, JournalError, Recorded},
    rules::{BROKEN, Rule},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    calls: u32,
    executed: u32,
    replied: u32,
    rejected: u32,
    never_ran: u32,
    unknown: u32,
    kills: u32,
    messages: u32,
    found_late: u32,
    wrong: Vec<String>,
}

/// A client may be killed with each of its waits: then the future never ends.
pub(super) fn unless_killed<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// A journal that outlives its clients. A bad one says that a message is durable before it is.
#[derive(Default)]
struct Disk {
    journal: MemoryJournal,
    is_bad: bool,
    pending: Mutex<Option<Entry>>,
}

impl Disk {
    fn flush(&self) {
        if let Some(entry) = self.pending.lock().unwrap().take() {
            self.journal.append(entry).unwrap();
        }
    }
}

impl Journal for Disk {
    fn append(&self, entry: Entry) -> Result<(), JournalError> {
        self.flush();
        match entry {
            Entry::Message { .. } if self.is_bad => *self.pending.lock().unwrap() = Some(entry),
            entry => self.journal.append(entry)?,
        }
        Ok(())
    }

    fn get(&self, key: &Key) -> Result<Option<Recorded>, JournalError> {
        self.journal.get(key)
    }

    fn open_calls(&self) -> Result<Vec<Key>, JournalError> {
        self.journal.open_calls()
    }
}

fn run(seed: u64, faults: Faults, calls: u64, is_bad: bool, tally: &mut Tally) {
    let world = Arc::new(Mutex::new(World::new(seed, faults)));
    let has_archives = seed % 3 == 1;
    world.lock().unwrap().archives = has_archives.then(BTreeMap::new);
    let net = Net(world.clone());
    let disk = Disk {
        is_bad,
        ..Disk::default()
    };
    let mut ends: BTreeMap<u64, (Arg, End)> = BTreeMap::new();
    let mut others = BTreeSet::new();
    for key in 0..calls {
        let (arg, repeats, has_outcomes) = {
            let mut world = net.world();
            let does = Does::ALL[world.rng.usize(..Does::ALL.len())];
            let remembered = [
                None,
                Some(None),
                Some(Some(world.now)),
                Some(Some(world.now)),
            ][world.rng.usize(..4)];
            let repeats = match remembered {
                None => Repeats::Never,
                Some(None) => Repeats::Within(Duration::from_nanos(WINDOW)),
                Some(Some(_)) => Repeats::Dated,
            };
            (
                Arg {
                    key,
                    does,
                    remembered,
                },
                repeats,
                world.rng.u8(..4) > 0,
            )
        };
        {
            // Another client has made the same request, and will not tell.
            let mut world = net.world();
            if arg.does == Does::Await
                && matches!(arg.remembered, Some(Some(_)))
                && world.happens(20)
            {
                world.another_sends(arg);
                others.insert(key);
            }
        }
        let named = Key::new(key.to_le_bytes());
        // The client is started anew until the call has ended, or it has had enough.
        for _ in 0..6 {
            let agent = SafeAgent::new(net.clone(), &disk).pace(pace(&net));
            let mut call = agent.call(CANISTER, "act", arg.encode(), named.clone());
            if repeats != Repeats::Never {
                call = call.idempotent(repeats);
                if has_archives {
                    call = call.outcomes_ever(Some("idempotency_outcomes_ever"));
                }
                if !has_outcomes {
                    call = call.outcomes(None);
                }
            }
            match unless_killed(call.send()) {
                Some(end) => {
                    let end = end.unwrap();
                    let is_over = !matches!(
                        end,
                        End::StillUnknown {
                            ask_again_after: Some(_),
                            ..
                        }
                    );
                    ends.insert(key, (arg, end));
                    if is_over {
                        break;
                    }
                }
                None => {
                    tally.kills += 1;
                    // What it had not written is lost.
                    disk.pending.lock().unwrap().take();
                }
            }
            let mut world = net.world();
            let pause = [SECOND, MINUTE, 40 * MINUTE][world.rng.usize(..3)];
            let pause = world.rng.u64(..pause);
            world.pass(pause);
        }
        disk.flush();
        let recorded = disk.journal.get(&named).unwrap();
        tally.messages += recorded.map_or(0, |recorded| recorded.messages.len() as u32);
    }
    let mut world = net.world();
    // Whatever is on its way arrives.
    world.pass(120 * MINUTE);
    tally.calls += calls as u32;
    tally.found_late += world.found_late;
    for key in 0..calls {
        let effects = world.effects.get(&key).copied().unwrap_or(0);
        tally.executed += u32::from(effects > 0);
        if effects > 1 {
            tally.wrong.push(format!(
                "seed {seed}: {key} was executed {effects} times: {:?}",
                ends.get(&key)
            ));
        }
        let Some((arg, end)) = ends.get(&key) else {
            tally.unknown += 1;
            continue;
        };
        let is_true = match end {
            End::Replied(Reply::Bytes(reply)) => {
                tally.replied += 1;
                // A refusal of the library is for the caller to read. That it is in progress is no end.
                Some(reply) == world.replies.get(&key)
                    || (arg.remembered.is_some() && is_refusal(reply))
            }
            End::Replied(_) => false,
            End::Rejected(_) => {
                tally.rejected += 1;
                effects == 0 || others.contains(&key)
            }
            End::NeverRan(_) => {
                tally.never_ran += 1;
                effects == 0 || others.contains(&key)
            }
            End::StillUnknown { .. } => {
                tally.unknown += 1;
                true
            }
        };
        if !is_true {
            tally.wrong.push(format!(
                "seed {seed}: {key}, {arg:?}, {effects} effects, ended in {end:?}"
            ));
        }
    }
}

/// Clients are more or less patient.
fn pace(net: &Net) -> Pace {
    let mut world = net.world();
    Pace {
        deadline: Duration::from_nanos(world.rng.u64(MINUTE..12 * MINUTE)),
        messages: [1, 2, 64][world.rng.usize(..3)],
        ..Pace::default()
    }
}

/// `OutcomeUnknown` and `TooOld`: the library's words about a request that it does not execute.
fn is_refusal(reply: &[u8]) -> bool {
    use idempotency_core::IdempotencyError as E;
    matches!(
        candid::decode_one::<Result<u64, E>>(reply),
        Ok(Err(E::OutcomeUnknown { .. } | E::TooOld))
    )
}

fn faults(seed: u64) -> Faults {
    let bad = Faults {
        lost: 25,
        late: 20,
        twice: 20,
        lie: 15,
        blocked: 2,
        jump: 3,
        killed: 10,
    };
    match seed % 5 {
        0 => bad,
        // Nearly nothing gets through.
        1 => Faults {
            lost: 60,
            late: 50,
            blocked: 5,
            ..bad
        },
        // Everything is late, and clocks are not to be trusted.
        2 => Faults {
            lost: 5,
            late: 100,
            twice: 0,
            blocked: 0,
            jump: 20,
            killed: 2,
            ..bad
        },
        3 => Faults { killed: 60, ..bad },
        _ => Faults {
            lost: 2,
            late: 2,
            twice: 5,
            lie: 2,
            blocked: 0,
            jump: 1,
            killed: 0,
        },
    }
}

#[test]
fn nothing_is_executed_twice_and_each_end_is_true() {
    let mut tally = Tally::default();
    for seed in 0..600 {
        run(seed, faults(seed), 50, false, &mut tally);
    }
    let wrong = std::mem::take(&mut tally.wrong);
    println!("{tally:?}");
    assert_eq!(wrong.first(), None, "{} wrong", wrong.len());
    // The run is one in which each kind of end happens often.
    assert!(
        tally.kills > 1_000 && tally.replied > 5_000 && tally.rejected > 500,
        "{tally:?}"
    );
    assert!(tally.never_ran > 300 && tally.unknown > 300, "{tally:?}");
    assert!(tally.found_late > 30, "{tally:?}");
}

/// Each rule is one that a wrong claim would follow from, if it were broken.
#[test]
fn each_broken_rule_is_noticed() {
    let rules = [
        Rule::SubnetTime,
        Rule::AbsenceProvesNothing,
        Rule::RejectAfterAwait,
        Rule::OnlyCertified,
        Rule::AsOf,
        Rule::Forgotten,
        Rule::MayHaveRun,
        Rule::InProgress,
    ];
    for rule in rules {
        let seeds = first_wrong(Some(rule), false);
        println!("{rule:?} is noticed with seed {seeds:?}");
        assert!(seeds.is_some(), "{rule:?} can be broken unnoticed");
    }
}

/// A client that sends before its journal is durable forgets messages that can run.
#[test]
fn a_journal_that_is_written_late_is_noticed() {
    assert!(first_wrong(None, true).is_some());
}

fn first_wrong(rule: Option<Rule>, is_bad: bool) -> Option<u64> {
    BROKEN.set(rule);
    let wrong = (0..400).find(|seed| {
        let mut tally = Tally::default();
        run(*seed, faults(*seed), 50, is_bad, &mut tally);
        !tally.wrong.is_empty()
    });
    BROKEN.set(None);
    wrong
}
