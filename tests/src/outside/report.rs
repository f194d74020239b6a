//! What was sent, lost and delivered.

use std::fmt::{self, Display, Formatter};

/// What was sent, lost and delivered so far: counts of outcalls, and of requests, of which a replicated outcall has 13.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Calls of [`Outside::step`](super::Outside::step).
    pub steps: u64,
    /// Outcalls that all nodes made.
    pub replicated: u64,
    /// Outcalls that one node made.
    pub non_replicated: u64,
    /// Outcalls whose answers were brought back.
    pub delivered: u64,
    /// Outcalls whose answers the plan has delayed.
    pub delayed: u64,
    /// Outcalls whose answers have headers of their own for each node.
    pub told_apart: u64,
    /// Outcalls that too few nodes heard an answer to: they end with a timeout.
    pub unanswered: u64,
    /// Outcalls that ended before their answers were brought back.
    pub too_late: u64,
    /// Requests that went to a server, duplicates included.
    pub sent: u64,
    /// Of these, those that were sent because another one was.
    pub duplicates: u64,
    /// Requests that the plan refused a connection.
    pub refused: u64,
    /// Requests that the plan lost on their way.
    pub requests_lost: u64,
    /// Requests whose answer the plan lost on its way back.
    pub answers_lost: u64,
    /// Requests that a server did not answer in time.
    pub not_answered: u64,
    /// Requests that no server took, or whose connection broke: without a fault of the plan.
    pub broken: u64,
    /// Requests that a node refused to make, or answers that it refused to take: no `https`, too many bytes.
    pub out_of_bounds: u64,
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self {
            steps,
            replicated,
            non_replicated,
            delivered,
            delayed,
            told_apart,
            unanswered,
            too_late,
            sent,
            duplicates,
            refused,
            requests_lost,
            answers_lost,
            not_answered,
            broken,
            out_of_bounds,
        } = self;
        write!(
            f,
            "{steps} steps; outcalls: {replicated} replicated, {non_replicated} not, {delivered} delivered, {delayed} delayed, \
             {told_apart} with headers that differ, {unanswered} unanswered, {too_late} answered too late; requests: {sent} sent \
             ({duplicates} duplicates), {refused} refused, {requests_lost} lost, {answers_lost} answers lost, {not_answered} not \
             answered in time, {broken} broken, {out_of_bounds} out of bounds"
        )
    }
}
