//! What a client makes of a proof: a pure function.

use super::{
    cbor,
    leaf::{Leaf, digest},
    top::{PARTITIONS, WATERMARK, label},
    watermark::Watermark,
};
use crate::{identity::Identity, outcome::Verdict, time::Timestamp};
use ic_certification::{HashTree, HashTreeNode, LookupResult, SubtreeLookupResult};
use std::fmt;

/// What a client asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question {
    /// [`Identity::new`] or [`Identity::of_number`], as the canister computes it: with the same endpoint name, scope, caller and key.
    pub identity: Identity,
    /// The request's `created_at`, if the method has one.
    pub created_at: Option<Timestamp>,
}

/// What was certified, and when: what is left of a certificate when an agent has verified it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertifiedData<'a> {
    /// The value at `canister/<id>/certified_data` in the certificate, for the canister that was asked.
    pub data: &'a [u8],
    /// The value at `time` in the certificate. It is for the caller to decide how old it may be.
    pub time: Timestamp,
}

/// What is proved of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Proven {
    /// It was executed, and its reply was the one that came with the proof.
    Done {
        /// The time at which it began.
        executed_at: Timestamp,
    },
    /// It was executed. No reply came with the proof: the canister does not have it any more, or never kept it.
    ReplyDropped {
        /// The time at which it began.
        executed_at: Timestamp,
    },
    /// It had begun and had not ended: it was running, or went on by itself, or its outcome was unknown.
    Begun {
        /// The time at which it began.
        since: Timestamp,
        /// That was so at this time.
        as_of: Timestamp,
    },
    /// It was executed, and its client has acknowledged the reply with `first_incomplete`.
    Acknowledged,
    /// It did not run by a time.
    Absent {
        /// The first instant of which that is said, if it is not said of all times before `as_of`: without a `created_at` it may have run
        /// before this, and be forgotten.
        from: Option<Timestamp>,
        /// The last instant of which that is said. No message runs after its `ingress_expiry`, so one that expired by then never runs.
        as_of: Timestamp,
        /// What follows. [`MayHaveRun`](Verdict::MayHaveRun) is: it never runs after the certificate's time, and whether it ran is not proved.
        verdict: Verdict,
    },
}

/// Why nothing is proved. Whoever answered is wrong or lies, but for [`NotCovered`](Self::NotCovered).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unproven {
    /// The witness is not a hash tree.
    NotATree,
    /// The witness is not of the certified data: it is of another canister, of another time, or was changed.
    OtherRoot,
    /// The certified data says nothing of this store.
    NoSuchStore,
    /// The witness leaves out what would say whether the request ran.
    Incomplete,
    /// What the tree says is not in a form that this version of the library knows.
    UnknownForm,
    /// The reply is not the one that was certified.
    OtherReply,
    /// The tree does not go back far enough: the request may have run before it was begun, or may be forgotten. Ask with an update call.
    NotCovered,
}

impl fmt::Display for Unproven {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotATree => "the witness is not a hash tree in CBOR",
            Self::OtherRoot => "the witness is not one of the certified data",
            Self::NoSuchStore => "the certified data says nothing of this store",
            Self::Incomplete => "the witness leaves out what would say whether the request ran",
            Self::UnknownForm => "the tree is of a form that is not known here",
            Self::OtherReply => "the reply is not the one that was certified",
            Self::NotCovered => {
                "the tree does not say whether the request ran before a time; ask with an update call"
            }
        })
    }
}

impl std::error::Error for Unproven {}

/// What a proof says of a request. `path` leads to the tree of the store: `["idempotency", label]` with the label that the canister gave
/// the store, and more before it where the canister says so. `reply` is the one that came with the proof.
///
/// It takes `certified` as true. The caller has verified the certificate that it is from: its signature by the IC's root key, that it is for
/// the canister that was asked, and that its time is not too long ago.
///
/// # Errors
/// [`Unproven`], and the answer says nothing.
pub fn verify(
    certified: CertifiedData<'_>,
    witness: &[u8],
    path: &[&[u8]],
    question: &Question,
    reply: Option<&[u8]>,
) -> Result<Proven, Unproven> {
    let whole = cbor::decode(witness).ok_or(Unproven::NotATree)?;
    if whole.digest() != certified.data {
        return Err(Unproven::OtherRoot);
    }
    let store = match whole.lookup_subtree(path.iter().copied()) {
        SubtreeLookupResult::Found(store) => store,
        SubtreeLookupResult::Absent => return Err(Unproven::NoSuchStore),
        SubtreeLookupResult::Unknown => return Err(Unproven::Incomplete),
    };
    let watermark = match store.lookup_path([WATERMARK]) {
        LookupResult::Found(bytes) => Watermark::read(bytes).ok_or(Unproven::UnknownForm)?,
        LookupResult::Unknown => return Err(Unproven::Incomplete),
        LookupResult::Absent | LookupResult::Error => return Err(Unproven::NoSuchStore),
    };
    let partitions = partitions(&store)?;
    let as_of = watermark.as_of(certified.time);
    for until in partitions.iter().flatten() {
        let leaf = match leaf_in(&store, *until, &question.identity)? {
            Sought::Found(leaf) => leaf,
            Sought::Absent | Sought::Hidden => continue,
        };
        match (leaf, reply) {
            (Leaf::Begun { since }, _) => return Ok(Proven::Begun { since, as_of }),
            (Leaf::Acknowledged, _) => return Ok(Proven::Acknowledged),
            (Leaf::Done { executed_at, .. } | Leaf::WithoutReply { executed_at }, None) => {
                return Ok(Proven::ReplyDropped { executed_at });
            }
            (Leaf::Done { executed_at, reply }, Some(shown)) if digest(shown) == reply => {
                return Ok(Proven::Done { executed_at });
            }
            (Leaf::Done { .. } | Leaf::WithoutReply { .. }, Some(_)) => {
                return Err(Unproven::OtherReply);
            }
            // It may have run later, and be in another partition.
            (Leaf::DidNothing, _) => {}
        }
    }
    let expiry = question.created_at.map(|it| watermark.expiry(it));
    is_nowhere(&store, &partitions, &question.identity, expiry)?;
    absent(&watermark, expiry, as_of)
}

/// What follows from a request's absence from all partitions in which it can be.
fn absent(
    watermark: &Watermark,
    expiry: Option<Timestamp>,
    as_of: Timestamp,
) -> Result<Proven, Unproven> {
    let Some(expiry) = expiry else {
        let from = watermark.complete_from();
        let verdict = Verdict::CanStillRun { until: None };
        return match from <= as_of {
            true => Ok(Proven::Absent {
                from: Some(from),
                as_of,
                verdict,
            }),
            false => Err(Unproven::NotCovered),
        };
    };
    let until = Some(expiry);
    let verdict = match (expiry < as_of, expiry > watermark.covered_after) {
        (true, true) => Verdict::NeverRan,
        (true, false) => Verdict::MayHaveRun,
        (false, true) => Verdict::CanStillRun { until },
        (false, false) => return Err(Unproven::NotCovered),
    };
    Ok(Proven::Absent {
        from: None,
        as_of,
        verdict,
    })
}

/// Whether each partition that can have a request is shown, and does not have it.
fn is_nowhere(
    store: &HashTree,
    partitions: &[Option<u64>],
    identity: &Identity,
    expiry: Option<Timestamp>,
) -> Result<(), Unproven> {
    // Its record would be in a partition that is kept for as long, or for longer.
    let can_have_it = |until: u64| expiry.is_none_or(|expiry| until >= expiry.as_nanos());
    for (place, until) in partitions.iter().enumerate() {
        let is_shown = match until {
            Some(until) if can_have_it(*until) => {
                !matches!(leaf_in(store, *until, identity)?, Sought::Hidden)
            }
            Some(_) => true,
            // Labels are in order: those that are left out here come before one that is too early.
            None => {
                let next = partitions[place..].iter().flatten().next();
                next.is_some_and(|next| !can_have_it(*next))
            }
        };
        if !is_shown {
            return Err(Unproven::Incomplete);
        }
    }
    Ok(())
}

/// What a tree says of a key.
enum Sought {
    Found(Leaf),
    Absent,
    /// It leaves out what would say it.
    Hidden,
}

fn leaf_in(store: &HashTree, until: u64, identity: &Identity) -> Result<Sought, Unproven> {
    let label = label(until);
    match store.lookup_path([PARTITIONS.as_bytes(), &label, identity.name()]) {
        LookupResult::Found(bytes) => {
            let leaf = Leaf::read(bytes).ok_or(Unproven::UnknownForm)?;
            Ok(Sought::Found(leaf))
        }
        LookupResult::Absent => Ok(Sought::Absent),
        LookupResult::Unknown => Ok(Sought::Hidden),
        LookupResult::Error => Err(Unproven::UnknownForm),
    }
}

/// The labels of all partitions in their order, and `None` where some are left out.
fn partitions(store: &HashTree) -> Result<Vec<Option<u64>>, Unproven> {
    let mut upper = vec![];
    flatten(store.as_ref(), &mut upper)?;
    let partitions = upper.iter().find_map(|part| match part {
        Some((label, below)) if *label == PARTITIONS.as_bytes() => Some(*below),
        _ => None,
    });
    let mut parts = vec![];
    flatten(partitions.ok_or(Unproven::Incomplete)?, &mut parts)?;
    let until = |part: Option<(&[u8], _)>| match part {
        Some((label, _)) => {
            let label = label.try_into().map_err(|_| Unproven::UnknownForm)?;
            Ok(Some(u64::from_be_bytes(label)))
        }
        None => Ok(None),
    };
    parts.into_iter().map(until).collect()
}

/// A label and what is below it; `None` for what is left out.
type Labeled<'a> = Option<(&'a [u8], &'a HashTreeNode)>;

/// What lies below the forks of a tree, in its order.
fn flatten<'a>(node: &'a HashTreeNode, into: &mut Vec<Labeled<'a>>) -> Result<(), Unproven> {
    match node {
        HashTreeNode::Fork(children) => {
            flatten(&children.0, into)?;
            flatten(&children.1, into)?;
        }
        HashTreeNode::Labeled(label, below) => into.push(Some((label.as_bytes(), below))),
        HashTreeNode::Pruned(_) => into.push(None),
        HashTreeNode::Empty() => {}
        HashTreeNode::Leaf(_) => return Err(Unproven::UnknownForm),
    }
    Ok(())
}
