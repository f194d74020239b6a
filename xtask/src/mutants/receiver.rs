//! The breakages of the receiver: what would have a request executed twice, or answered with what it did not do.

use super::Mutant;

pub(super) const ALL: &[Mutant] = &[
    Mutant {
        name: "receiver/replayed-to-another-body",
        file: "backend/memory.rs",
        text: "Some(record) if record.fingerprint != id.fingerprint => return Ok(Begun::KeyReused),",
        instead: "",
        harm: "whoever uses a key twice is told that the second order was placed",
        tests: &["rules::another_body_is_refused_with_422"],
    },
    Mutant {
        name: "receiver/unlocked-when-the-handler-is-dropped",
        file: "backend/memory.rs",
        text: "self.end(attempt, Settlement::Unknown, now);",
        instead: "self.end(attempt, Settlement::NotExecuted, now);",
        harm: "what a handler had begun when it was dropped is executed once more",
        tests: &["crash::a_handler_whose_task_is_dropped_leaves_the_outcome_unknown"],
    },
    Mutant {
        name: "receiver/panic-counts-as-not-executed",
        file: "run.rs",
        text: "Ok(None) | Err(_) => unknown(),",
        instead: "Ok(None) | Err(_) => (Settlement::NotExecuted, unknown().1),",
        harm: "what a handler had done when it panicked is done once more",
        tests: &["crash::a_handler_that_panics_leaves_the_outcome_unknown"],
    },
    Mutant {
        name: "receiver/ends-with-its-client",
        file: "service.rs",
        text: "tokio::spawn(run.run(Request::from_parts(parts, body), handler));",
        instead: "run.run(Request::from_parts(parts, body), handler).await;",
        harm: "a client that goes away leaves an effect half done",
        tests: &["loopback::a_client_that_goes_away_does_not_stop_what_it_began"],
    },
    Mutant {
        name: "receiver/a-sender-counts-twice",
        file: "flights.rs",
        text: "self.senders.insert(sender);",
        instead: "self.others += usize::from(!self.senders.insert(sender));",
        harm: "one faulty replica has executed what N of M should have asked for",
        tests: &["quorum::a_sender_counts_once"],
    },
    Mutant {
        name: "receiver/effect-without-its-answer",
        file: "backend/sqlite/transactional.rs",
        text: "match complete(&transaction, &attempt, &answer, until)? {",
        instead: "match until {",
        harm: "a process that ends after the commit leaves an effect of which nobody knows",
        tests: &["transactions::a_process_that_ends_after_the_commit_has_answered"],
    },
];
