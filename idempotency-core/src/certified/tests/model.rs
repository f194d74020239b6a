//! A store that certifies, what the IC knows of it, and all that ever happened in it: against which each proof is held.

use super::naive;
use crate::{
    Policy, Store, Timestamp,
    admission::{self, Decision, Request, Ticket},
    certified::{
        leaf::Leaf,
        top,
        tree::Hash,
        verify::{CertifiedData, Proven, Question, Unproven, verify},
    },
    identity::{Fingerprint, Identity},
    outcome::Verdict,
    store::{Attempt, Batch, Origin, Reply},
};
use ic_stable_structures::VectorMemory;
use std::{cell::Cell, collections::BTreeMap, rc::Rc, time::Duration};

pub(super) const WINDOW: u64 = 1_000;
pub(super) const DRIFT: u64 = 10;

pub(super) fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

pub(super) fn policy() -> Policy {
    Policy::new()
        .window(Duration::from_nanos(WINDOW))
        .drift(Duration::from_nanos(DRIFT))
        .capacity(60)
        .certify(Duration::ZERO)
}

pub(super) fn identity(number: u64) -> Identity {
    let mut identity = [0; 24];
    identity.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..24]);
    // Some have much in common.
    if number.is_multiple_of(4) {
        identity[..16].fill(9);
    }
    Identity(identity)
}

/// One execution of a request.
#[derive(Clone, Debug)]
pub(super) struct Execution {
    pub(super) began: u64,
    /// When it ended, and with what.
    pub(super) ended: Option<(u64, End)>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum End {
    Reply(Vec<u8>),
    NoReply,
    DidNothing,
}

/// A proof's statement that is checked when all has happened.
#[derive(Debug)]
struct Claim {
    request: u64,
    proven: Proven,
    said: Said,
}

/// When something was said: after so many upgrades, and at what time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said {
    upgrades: usize,
    now: u64,
}

pub(super) struct World {
    pub(super) memory: VectorMemory,
    pub(super) policy: Policy,
    pub(super) store: Store<VectorMemory>,
    pub(super) now: u64,
    /// What the IC certifies.
    pub(super) certified: Hash,
    is_told: Rc<Cell<bool>>,
    pub(super) history: BTreeMap<u64, Vec<Execution>>,
    pub(super) created: BTreeMap<u64, Option<u64>>,
    /// Of this heap.
    running: Vec<(u64, Ticket, Attempt)>,
    claims: Vec<Claim>,
    /// When each was.
    upgrades: Vec<u64>,
}

impl World {
    pub(super) fn new(policy: Policy) -> Self {
        let memory = VectorMemory::default();
        let now = 1_000_000;
        let store = Store::open(memory.clone(), policy, at(now)).unwrap();
        let mut world = Self {
            memory,
            policy,
            store,
            now,
            certified: [0; 32],
            is_told: Rc::default(),
            history: BTreeMap::new(),
            created: BTreeMap::new(),
            running: vec![],
            claims: vec![],
            upgrades: vec![],
        };
        world.install();
        world
    }

    /// What `certified::install` does.
    fn install(&mut self) {
        let told = Rc::clone(&self.is_told);
        self.store
            .on_change("store", Box::new(move || told.set(true)));
        if self.policy.certify.is_some() {
            self.store.renew_tree(at(self.now)).unwrap();
            self.publish();
        }
    }

    /// An upgrade, with this policy.
    pub(super) fn reopen(&mut self, policy: Policy) {
        self.running.clear();
        self.upgrades.push(self.now);
        self.policy = policy;
        self.store = Store::open(self.memory.clone(), policy, at(self.now)).unwrap();
        self.install();
    }

    fn publish(&mut self) {
        self.certified = self.store.tree_root(at(self.now)).unwrap().unwrap();
    }

    /// A message has ended: what the first change in it makes the canister certify.
    fn end_message(&mut self) {
        if self.is_told.take() {
            self.publish();
        }
    }

    /// A batch; whether there is more.
    pub(super) fn batch(&mut self) -> bool {
        let batch = self.store.certify(at(self.now)).unwrap();
        if batch.is_some() {
            self.publish();
        }
        batch == Some(Batch::HasMore)
    }

    pub(super) fn batches(&mut self) {
        while self.batch() {}
    }

    pub(super) fn question(&self, number: u64) -> Question {
        let created_at = self.created.get(&number).copied().flatten();
        Question {
            identity: identity(number),
            created_at: created_at.map(at),
        }
    }

    fn request(&self, number: u64) -> Request {
        let Question {
            identity,
            created_at,
        } = self.question(number);
        Request {
            identity,
            fingerprint: Fingerprint::default(),
            created_at,
            sequence: None,
            scope: None,
        }
    }

    /// A request comes; whether it ran.
    pub(super) fn submit(&mut self, number: u64, reply: &[u8], is_async: bool) -> bool {
        let decision = admission::admit(&self.store, &self.request(number), at(self.now));
        let Decision::Execute(ticket) = decision else {
            self.end_message();
            return false;
        };
        let ended = match is_async {
            true => {
                let attempt = self.store.begin(&ticket, &Origin::NOWHERE).unwrap();
                self.running.push((number, ticket, attempt));
                None
            }
            false => {
                self.store.record(&ticket, reply).unwrap();
                Some((self.now, End::Reply(reply.to_vec())))
            }
        };
        let began = self.now;
        (self.history.entry(number).or_default()).push(Execution { began, ended });
        self.end_message();
        true
    }

    /// One of the running attempts ends.
    pub(super) fn end(&mut self, which: usize, end: End) {
        if self.running.is_empty() {
            return;
        }
        let (number, ticket, attempt) = self.running.remove(which % self.running.len());
        let now = at(self.now);
        let has_ended = match &end {
            End::Reply(reply) => {
                self.store
                    .complete(&ticket, attempt, Some(Reply::first(reply)), now)
            }
            End::NoReply => self.store.complete(&ticket, attempt, None, now),
            End::DidNothing => self.store.release(&ticket, attempt),
        };
        if has_ended.unwrap() {
            let execution = self.history.get_mut(&number).and_then(|it| it.last_mut());
            execution.unwrap().ended = Some((self.now, end));
        }
        self.end_message();
    }

    pub(super) fn interrupt(&mut self) {
        if let Some((_, ticket, attempt)) = self.running.pop() {
            self.store
                .interrupt(&ticket, attempt, at(self.now))
                .unwrap();
            self.end_message();
        }
    }

    pub(super) fn evict(&mut self) {
        self.store.evict(at(self.now), 3).unwrap();
        self.end_message();
    }

    /// The witness and the reply that a client gets, if there are any.
    pub(super) fn proof(&self, question: &Question) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let shown = self.store.proof(&question.identity, question.created_at);
        let shown = shown.ok().flatten()?;
        assert_eq!(
            shown.witness.digest(),
            self.certified,
            "an honest witness is of the root"
        );
        Some((super::super::cbor::encode(&shown.witness), shown.reply))
    }

    pub(super) fn data(&self) -> CertifiedData<'_> {
        CertifiedData {
            data: &self.certified,
            time: at(self.now),
        }
    }

    /// What is proved of a request; `None` if there is no witness now.
    pub(super) fn ask(&mut self, number: u64) -> Option<Result<Proven, Unproven>> {
        let question = self.question(number);
        let (witness, reply) = self.proof(&question)?;
        let mut proven = verify(self.data(), &witness, &[], &question, reply.as_deref());
        if proven == Err(Unproven::OtherReply) {
            // It has ended otherwise since: not so here.
            panic!("an honest reply is that of the leaf");
        }
        if let Ok(proven) = &mut proven {
            let proven = proven.clone();
            self.check(number, &proven);
            self.claims.push(Claim {
                request: number,
                proven,
                said: self.said(),
            });
        }
        Some(proven)
    }

    pub(super) fn said(&self) -> Said {
        Said {
            upgrades: self.upgrades.len(),
            now: self.now,
        }
    }

    /// Whether a statement is true by all that ever happened. Until when a request can run is as the policy was: an upgrade may let it run
    /// longer, if it is created after that.
    pub(super) fn is_true(
        &self,
        number: u64,
        (proven, said): (&Proven, Said),
        reply: Option<&[u8]>,
    ) -> bool {
        let created = self.created.get(&number).copied().flatten();
        let has_other_policy = (self.upgrades[said.upgrades..].iter())
            .any(|upgrade| created.is_some_and(|created| created > *upgrade));
        let none = vec![];
        let executions = self.history.get(&number).unwrap_or(&none);
        let did_something = |it: &&Execution| !matches!(&it.ended, Some((_, End::DidNothing)));
        match proven {
            Proven::Done { executed_at } => executions.iter().any(|it| {
                let is_reply = matches!(&it.ended, Some((_, End::Reply(own))) if Some(own.as_slice()) == reply);
                it.began == executed_at.as_nanos() && is_reply
            }),
            Proven::ReplyDropped { executed_at } => executions.iter().any(|it| {
                let has_ended = matches!(&it.ended, Some((_, End::Reply(_) | End::NoReply)));
                it.began == executed_at.as_nanos() && has_ended
            }),
            Proven::Begun { since, as_of } => executions.iter().any(|it| {
                let ended = it.ended.as_ref().map_or(u64::MAX, |(ended, _)| *ended);
                it.began == since.as_nanos() && ended > as_of.as_nanos()
            }),
            Proven::Acknowledged => false,
            Proven::Absent {
                from,
                as_of,
                verdict,
            } => {
                let (from, as_of) = (from.map_or(0, Timestamp::as_nanos), as_of.as_nanos());
                let ran = |from: u64, until: u64| {
                    let began = |it: &Execution| (from..=until).contains(&it.began);
                    // What did nothing may have been running then.
                    executions.iter().filter(did_something).any(began)
                };
                match verdict {
                    Verdict::CanStillRun { until } => {
                        let after = until.map_or(u64::MAX, |until| until.as_nanos() + 1);
                        let ran_late = after < u64::MAX && ran(after, u64::MAX);
                        !ran(from, as_of) && (has_other_policy || !ran_late)
                    }
                    Verdict::NeverRan => !ran(0, u64::MAX),
                    Verdict::MayHaveRun => !ran(said.now + 1, u64::MAX),
                }
            }
        }
    }

    fn check(&self, number: u64, proven: &Proven) {
        let question = self.question(number);
        let reply = self.proof(&question).and_then(|(_, reply)| reply);
        assert!(
            self.is_true(number, (proven, self.said()), reply.as_deref()),
            "of {number} at {}: {proven:?}, but {:?}",
            self.now,
            self.history.get(&number)
        );
    }

    /// What was proved then is still true, whatever has happened since.
    pub(super) fn check_claims(&self) {
        for Claim {
            request,
            proven,
            said,
        } in &self.claims
        {
            let said = (proven, *said);
            let replies = self.history.get(request).into_iter().flatten();
            let mut replies = replies.map(|it| match &it.ended {
                Some((_, End::Reply(reply))) => Some(reply.as_slice()),
                _ => None,
            });
            let is_true = match proven {
                Proven::Done { .. } => replies.any(|reply| self.is_true(*request, said, reply)),
                _ => self.is_true(*request, said, None),
            };
            assert!(
                is_true,
                "{proven:?} of {request}, but {:?}",
                self.history.get(request)
            );
        }
    }

    /// What is certified is the root of a tree that is built naively from all leaves.
    pub(super) fn check_against_naive(&self) {
        if self.store.gone_from_tree() > 0 {
            return;
        }
        let (partitions, watermark) = self.store.whole_tree();
        let parts: Vec<_> = partitions
            .into_iter()
            .map(|(until, leaves)| {
                assert!(
                    leaves
                        .iter()
                        .all(|(_, content)| Leaf::read(content).is_some())
                );
                let map: naive::Map = leaves.into_iter().collect();
                let until = until.to_be_bytes();
                let tree = ic_certification::labeled(until, naive::tree(&map));
                (until.to_vec(), tree)
            })
            .collect();
        let whole = top::tree(naive::forks(&parts), &watermark);
        assert_eq!(whole.digest(), self.certified);
    }
}
