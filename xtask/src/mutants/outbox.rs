//! The breakages of the outbox: what would have messages sent twice, lost, or said to be what they are not.

use super::Mutant;

pub(super) const ALL: &[Mutant] = &[
    // One key, whatever happens between the attempts.
    Mutant {
        name: "outbox/key-of-the-attempt",
        file: "outbox/drive.rs",
        text: "let message = (message.id, message.created_at);",
        instead: "let message = (message.id, now);",
        harm: "each attempt has a key of its own, and the server acts upon each",
        tests: &["outbox::tests::ends::all_attempts_have_one_key"],
    },
    // What follows an attempt.
    Mutant {
        name: "outbox/repeated-without-a-key",
        file: "outbox/next.rs",
        text: "if !message.flags.is_repeatable {",
        instead: "if false {",
        harm: "a server without keys acts once more on what it has done",
        tests: &["outbox::tests::ends::without_a_key_what_may_have_been_executed_is_not_repeated"],
    },
    Mutant {
        name: "outbox/refusal-after-doubt-is-dead",
        file: "outbox/next.rs",
        text: "Verdict::Refused if !flags.is_in_doubt => {",
        instead: "Verdict::Refused if true => {",
        harm: "a server that refuses the repeat of what it has done is taken to have done nothing",
        tests: &["outbox::tests::ends::a_refusal_after_what_may_have_been_executed_proves_nothing"],
    },
    Mutant {
        name: "outbox/redirection-is-dead",
        file: "outbox/next.rs",
        text: "(300..400).contains(&answer.status)",
        instead: "answer.status == 0",
        harm: "what was done and answered by a 303 is said not to be done",
        tests: &["outbox::tests::ends::a_redirection_may_follow_what_was_done"],
    },
    Mutant {
        name: "outbox/asked-before-it-is-settled",
        file: "outbox/next.rs",
        text: "now.plus(pause.max(message.settled_after))",
        instead: "now.plus(pause)",
        harm: "what a server does late is not found, and sent again",
        tests: &["outbox::tests::ends::verify::the_server_is_asked_before_anything_is_repeated"],
    },
    Mutant {
        name: "outbox/doubt-outlives-what-verifies",
        file: "outbox/next.rs",
        text: "message.flags.is_in_doubt = false;",
        instead: "",
        harm: "what certainly was not done ends as Unknown, and somebody must look for it",
        tests: &["outbox::tests::ends::verify::a_refusal_in_doubt_is_asked_about"],
    },
    Mutant {
        name: "outbox/sent-again-when-the-question-fails",
        file: "outbox/next.rs",
        text: "Err(failure) => failure,",
        instead: "Err(failure) => {
            message.flags.is_asking = false;
            failure
        }",
        harm: "what may have been done is sent again, since the server could not be asked",
        tests: &["outbox::tests::ends::verify::who_does_not_say_is_asked_again"],
    },
    Mutant {
        name: "outbox/nothing-ran-says-code-2",
        file: "outbox/answer.rs",
        text: "SYS_TRANSIENT if begins(&[\"Connecting to\"]) => Reason::ConnectionFailed { message: kept() },",
        instead: "SYS_TRANSIENT => return not_sent(),",
        harm: "a request that was written before the connection broke is sent again without a key",
        tests: &["outbox::tests::verdicts::each_reject_has_its_verdict"],
    },
    Mutant {
        name: "outbox/late-answer-is-taken-for-the-next-one",
        file: "outbox/key.rs",
        text: "let counts = u64::from(message.attempts) << 16 | u64::from(message.asked);",
        instead: "let counts = 0;",
        harm: "the answer to an attempt that was given up ends the one that is under way",
        tests: &["outbox::tests::late::an_answer_that_comes_too_late_changes_nothing"],
    },
    // Whose turn it is.
    Mutant {
        name: "outbox/lane-does-not-wait",
        file: "outbox/schedule.rs",
        text: "Some(_) => lane.push_back(Waiting { place, due }),",
        instead: "Some(_) => {
                lane.push_back(Waiting { place, due });
                self.make_ready(Waiting { place, due });
            }",
        harm: "a lane's next message is sent before the one before it has ended",
        tests: &["outbox::tests::limits_of_policy::in_order_within_a_lane"],
    },
    Mutant {
        name: "outbox/no-pace-for-a-host",
        file: "outbox/schedule.rs",
        text: "if called.times >= policy.per_host_per_second {",
        instead: "if false {",
        harm: "a server is called as fast as it answers, and shuts the subnet out",
        tests: &["outbox::tests::limits_of_policy::so_many_a_second_to_one_host"],
    },
    Mutant {
        name: "outbox/not-parked",
        file: "outbox/drive.rs",
        text: "if available < needed {",
        instead: "if false {",
        harm: "outcalls use up the cycles that are to be kept for everything else",
        tests: &["outbox::tests::limits_of_policy::too_few_cycles_park_the_outbox"],
    },
    // Upgrades.
    Mutant {
        name: "outbox/under-way-waits-after-an-upgrade",
        file: "outbox/message.rs",
        text: "2 => State::UnderWay,",
        instead: "2 => State::Waiting,",
        harm: "what an upgrade cuts off is sent again without a key, as if it had never been sent",
        tests: &["outbox::tests::ends::what_an_upgrade_cuts_off_may_have_been_executed"],
    },
    Mutant {
        name: "outbox/given-up-at-once-after-an-upgrade",
        file: "outbox/contents.rs",
        text: "Timestamp::from_nanos(began).plus(CUT_OFF_AFTER)",
        instead: "Timestamp::from_nanos(began)",
        harm: "a message is sent again, or its server asked, while the outcall is still under way",
        tests: &["outbox::tests::ends::what_an_upgrade_cuts_off_may_have_been_executed"],
    },
    // Ends.
    Mutant {
        name: "outbox/not-noted-that-it-was-told",
        file: "outbox/transitions.rs",
        text: "message.flags.is_told = true;",
        instead: "",
        harm: "an end is told once more after each upgrade",
        tests: &["outbox::tests::late::a_dead_letter_is_told_once"],
    },
    Mutant {
        name: "outbox/not-told-after-an-upgrade",
        file: "outbox/contents.rs",
        text: "State::Ended if !message.flags.is_told => {",
        instead: "State::Ended if false => {",
        harm: "an end that an upgrade came before is never told",
        tests: &["outbox::tests::ends::an_end_that_was_not_told_is_told_after_an_upgrade"],
    },
    Mutant {
        name: "outbox/dead-letter-is-dropped-in-silence",
        file: "outbox/keep_on.rs",
        text: "&& message.told > 0",
        instead: "",
        harm: "after the retention nobody learns any more that a message was refused",
        tests: &["outbox::tests::ends::a_dead_letter_is_kept_until_it_is_dismissed_or_sent_again"],
    },
    // Room.
    Mutant {
        name: "outbox/capacity-without-what-has-ended",
        file: "outbox/contents.rs",
        text: "let is_full = self.messages.rows >= policy.capacity",
        instead: "let is_full = self.waiting.messages >= policy.capacity",
        harm: "an outbox takes more memory than its policy says, without end",
        tests: &[
            "outbox::tests::limits_of_policy::a_full_outbox_takes_nothing_and_what_has_ended_makes_room",
        ],
    },
    Mutant {
        name: "outbox/quota-is-not-given-back",
        file: "outbox/transitions.rs",
        text: "self.count(before, false);",
        instead: "",
        harm: "a scope that has sent as many messages as its quota says can never send again",
        tests: &["outbox::tests::limits_of_policy::a_scope_has_its_quota"],
    },
];
