//! The breakages of archives: what would have requests forgotten that no archive has, run once more, or answered by what an archive never said.

use super::Mutant;

const WHATEVER_GOES_WRONG: &str = "archive::tests::steps::whatever_goes_wrong_at_whichever_step";

/// Of the canister that ships and asks.
pub(super) const MAIN: &[Mutant] = &[
    // What is forgotten, and when.
    Mutant {
        name: "archive/forgotten-without-an-answer",
        file: "archive/drive.rs",
        text: "Outcome::Rejected(why)
            | Outcome::NotExecuted(why)
            | Outcome::StillUnknown { last: why, .. } => {
                let why = why.to_string();
                return Ok(self.failed(Problem::Unreachable",
        instead: "Outcome::StillUnknown { .. } => Appended::Taken(sending.sent.after[0]),
            Outcome::Rejected(why) | Outcome::NotExecuted(why) => {
                let why = why.to_string();
                return Ok(self.failed(Problem::Unreachable",
        harm: "what was sent and never arrived is forgotten, and runs once more",
        tests: &[WHATEVER_GOES_WRONG],
    },
    Mutant {
        name: "archive/evicted-as-without-archives",
        file: "store/requests.rs",
        text: "while evicted < most && !policy.has_archive() && inner.first_expiry()",
        instead: "while evicted < most && inner.first_expiry()",
        harm: "the next request or timer forgets what no archive has",
        tests: &["store::tests::shipping::eviction_leaves_what_no_archive_has"],
    },
    Mutant {
        name: "archive/given-up-for-room",
        file: "store/requests.rs",
        text: "let gives_up = has_expired && !policy.has_archive();",
        instead: "let gives_up = has_expired;",
        harm: "a full store forgets what no archive has, so that a new request has room",
        tests: &[
            "archive::tests::steps::at_its_capacity_the_store_refuses_while_no_archive_is_reached",
        ],
    },
    Mutant {
        name: "archive/replies-dropped-while-they-are-shipped",
        file: "store/requests.rs",
        text: "let is_shipped = has_expired && policy.has_archive();",
        instead: "let is_shipped = false;",
        harm: "a chunk is another one when it is sent again, or has lost replies that the policy keeps for ever",
        tests: &["store::tests::shipping::replies_of_what_is_to_be_shipped_are_not_dropped"],
    },
    Mutant {
        name: "archive/what-has-not-ended-is-shipped",
        file: "store/record.rs",
        text: "1 | 2 => false,",
        instead: "1 | 2 => true,",
        harm: "a request that is still running, or did nothing, is said to have been executed, for ever",
        tests: &["store::tests::shipping::rows_are_read_in_parts_and_those_for_nothing_are_not"],
    },
    Mutant {
        name: "archive/runs-without-its-archives",
        file: "admission.rs",
        text: "Err(NotInstalled) => return Err(IdempotencyError::archive_not_installed()),",
        instead: "Err(NotInstalled) => return Ok(None),",
        harm: "a canister that forgets to install its archives runs again what they hold",
        tests: &["attempt::tests::archives::cases::without_its_archives_a_store_runs_nothing_new"],
    },
    // Cycles.
    Mutant {
        name: "archive/full-ones-starve",
        file: "archive/top_up.rs",
        text: "for archive in all.unwrap_or_default() {",
        instead: "for archive in all.unwrap_or_default().into_iter().rev().take(1) {",
        harm: "an archive that is full runs out of cycles, and all that it holds is lost",
        tests: &["archive::tests::top_ups::each_archive_is_given_what_it_lacks_once_a_day"],
    },
    Mutant {
        name: "archive/upgrades-put-cycles-off",
        file: "archive/top_up.rs",
        text: "Some(at) => at,",
        instead: "Some(_) => now.plus(EVERY),",
        harm: "archives of a canister that is upgraded each day run out of cycles",
        tests: &["archive::tests::top_ups::upgrades_do_not_put_it_off"],
    },
    Mutant {
        name: "archive/the-frozen-must-ask",
        file: "archive/top_up.rs",
        text: "}) => return Ok((None, most)),",
        instead: "}) => return Ok((None, 0)),",
        harm: "an archive that is out of cycles stays so, and all that it holds is lost",
        tests: &["archive::tests::top_ups::an_archive_that_is_frozen_can_not_say_what_it_lacks"],
    },
    Mutant {
        name: "archive/room-is-not-looked-at",
        file: "archive/policy.rs",
        text: "entries: self.capacity.min(room),",
        instead: "entries: self.capacity.min(room.saturating_mul(2)),",
        harm: "an archive that holds less than is sent at once is left empty, and nothing is shipped any more",
        tests: &["archive::tests::given::each_is_filled_to_the_last_place"],
    },
    // The filter.
    Mutant {
        name: "archive/ids-not-in-the-filter",
        file: "archive/fill.rs",
        text: "let is_time = next.is_none() || waiting.len() >= MANY;",
        instead: "let is_time = waiting.len() >= MANY;",
        harm: "nobody is asked about what was archived last, and it runs once more",
        tests: &["archive::tests::steps::all_goes_well"],
    },
    Mutant {
        name: "archive/waiting-ids-go-with-the-heap",
        file: "archive/fill.rs",
        text: "if known.len() as u64 == unfiltered.count {",
        instead: "if known.len() as u64 <= unfiltered.count {",
        harm: "after an upgrade nobody is asked about what was archived before it, and it runs once more",
        tests: &["archive::tests::steps::whatever_goes_wrong_at_whichever_step"],
    },
    Mutant {
        name: "archive/waiting-ids-of-another-archive",
        file: "archive/drive.rs",
        text: "if !progress.unfiltered.is_none_or(goes_on) {",
        instead: "if progress.unfiltered.is_some_and(|it| it.count == 0 && goes_on(it)) {",
        harm: "another archive is asked than the one that has it, and it runs once more",
        tests: &["archive::tests::steps::"],
    },
    Mutant {
        name: "archive/alike-by-their-time",
        file: "archive/ship.rs",
        text: "let alike = (row.since(), fingerprint.shape());",
        instead: "let alike = row.since();",
        harm: "a retry is told that its key was used for another request, as one of the same block compared other things",
        tests: &["archive::tests::stories::"],
    },
    Mutant {
        name: "archive/one-time-for-all",
        file: "archive/packed.rs",
        text: "if self.last != Some(head) {",
        instead: "if self.last.is_none() {",
        harm: "a late retry is told another time than that at which it ran",
        tests: &["archive::packed::tests::what_was_packed_is_unpacked"],
    },
    Mutant {
        name: "archive/filter-loses-a-bit",
        file: "archive/filter.rs",
        text: "*word = (u64::from_le_bytes(*word) | bit).to_le_bytes();",
        instead: "*word = bit.to_le_bytes();",
        harm: "an id that was put in is denied when another one follows",
        tests: &["archive::filter::tests::what_was_put_in_is_never_denied"],
    },
    Mutant {
        name: "archive/filter-of-the-newest-generation",
        file: "archive/generations.rs",
        text: "in self.all.iter().rev() {",
        instead: "in self.all.iter().rev().take(1) {",
        harm: "what was archived long ago is denied, and runs once more",
        tests: &["archive::generations::tests::no_id_that_was_put_in_is_denied"],
    },
    // What an archive's answer to a chunk means.
    Mutant {
        name: "archive/elsewhere-is-taken",
        file: "archive/ship.rs",
        text: "if self.after.contains(&found) {",
        instead: "if found.entries >= self.after[0].entries {",
        harm: "an archive that has other requests is taken to have these",
        tests: &["archive::ship::tests::each_answer_means_one_thing"],
    },
    Mutant {
        name: "archive/behind-is-where-it-is",
        file: "archive/ship.rs",
        text: "            Standing::Behind
        }
    }",
        instead: "            Standing::Ahead(found)
        }
    }",
        harm: "what an archive has lost is said never to have been executed",
        tests: &[
            "archive::ship::tests::each_answer_means_one_thing",
            WHATEVER_GOES_WRONG,
        ],
    },
    Mutant {
        name: "archive/history-without-replies",
        file: "archive/wire.rs",
        text: "let digests = parts.map(|part| XxHash3",
        instead: "let digests = [parts[0], parts[1], parts[0]].map(|part| XxHash3",
        harm: "a chunk with other replies is taken for the one that was received",
        tests: &["archive::wire::tests::a_history_is_of_all_that_was_sent"],
    },
    // What an archive's answer to a look-up means.
    Mutant {
        name: "archive/not-there-of-one-that-has-lost",
        file: "archive/look_up.rs",
        text: "None if entries < asking.confirmed.entries => Err(format!(",
        instead: "None if false => Err(format!(",
        harm: "an archive that has lost something is asked a hundred times for each request that it may hold",
        tests: &["archive::tests::look_ups::one_that_has_lost_something_is_asked_once"],
    },
    Mutant {
        name: "archive/answer-to-another-question",
        file: "archive/look_up.rs",
        text: "if (answer.archive, answer.asked.as_slice()) != (asking.canister, &asked[..]) {",
        instead: "if (answer.archive, answer.asked.as_slice()) != (answer.archive, answer.asked.as_slice()) {",
        harm: "an answer that an upgrade brought to the wrong call is believed",
        tests: &["archive::tests::look_ups::what_makes_no_sense_is_a_refusal"],
    },
    Mutant {
        name: "archive/entry-of-another-request",
        file: "archive/look_up.rs",
        text: "if entry.id != id {",
        instead: "if false {",
        harm: "a request is answered with another one's reply",
        tests: &["archive::tests::look_ups::what_makes_no_sense_is_a_refusal"],
    },
    Mutant {
        name: "archive/what-it-took-meanwhile",
        file: "archive/look_up.rs",
        text: "if looked.is_none_or(|entries| *entries < archive.confirmed.entries) {",
        instead: "if looked.is_none() {",
        harm: "a request that was forgotten while an archive was asked runs once more",
        tests: &[
            "archive::tests::look_ups::an_archive_that_has_taken_more_meanwhile_is_asked_again",
        ],
    },
    Mutant {
        name: "archive/silence-is-not-there",
        file: "archive/look_up.rs",
        text: "return refusal.map_or(Ok(None), Err);",
        instead: "return refusal.map_or(Ok(None), |_: IdempotencyError| Ok(None));",
        harm: "what a stopped archive holds runs once more",
        tests: &[WHATEVER_GOES_WRONG],
    },
    // The second look.
    Mutant {
        name: "archive/too-old-is-not-asked-about",
        file: "admission.rs",
        text: "Decision::Refuse(TooOld | SequenceTooOld { .. }) => false,",
        instead: "Decision::Refuse(TooOld | SequenceTooOld { .. }) => return Ok(None),",
        harm: "a late retry is told that it is too old, and never gets its reply",
        tests: &[
            "attempt::tests::archives::cases::what_is_too_old_runs_never_and_is_answered_if_it_ran",
        ],
    },
    Mutant {
        name: "archive/whoever-is-dated-is-asked-about",
        file: "admission.rs",
        text: "if is_new && (request.sequence.is_some() || would_be_known()) {",
        instead: "if is_new && request.sequence.is_some() && would_be_known() {",
        harm: "a request of which the store would know waits for an archive that does not",
        tests: &["attempt::tests::archives::cases::who_is_in_time_is_not_asked_about"],
    },
    Mutant {
        name: "archive/held-and-run-all-the-same",
        file: "attempt/begin.rs",
        text:
            "Archives::Hold(record) => {
            store.with(|store| admission::admit_archived(store, &request.fingerprint, record, now))",
        instead: "Archives::Hold(_) => {
            store.with(|store| admission::admit(store, &request, now))",
        harm: "what an archive holds runs once more",
        tests: &[
            "attempt::tests::archives::what_the_archive_holds_is_answered_with_the_first_reply",
        ],
    },
    Mutant {
        name: "archive/look-up-woken-by-anybody",
        file: "attempt/second_look.rs",
        text: "let (answer, _) = watch(runtime.clone(), answer).await;",
        instead: "let answer = answer.await;",
        harm: "an answer from before an upgrade runs another caller's request",
        tests: &["attempt::tests::archives::an_answer_for_another_callers_call_is_not_taken"],
    },
    // Making archives.
    Mutant {
        name: "archive/created-without-a-note",
        file: "archive/create.rs",
        text: "contents.set_making(Some(new));
            return Ok(Task::Call",
        instead: "return Ok(Task::Call",
        harm: "an upgrade while an archive is made makes another one, and nobody learns of the first and its cycles",
        tests: &["archive::tests::steps::an_archive_may_be_lost_while_it_is_created"],
    },
    Mutant {
        name: "archive/foreign-archive",
        file: "archive/create.rs",
        text: "if status.owner != owner {",
        instead: "if false {",
        harm: "an archive that refuses this canister is the current one, and nothing is shipped any more",
        tests: &["archive::tests::upgrades::one_of_another_owner_is_not_used"],
    },
    Mutant {
        name: "archive/two-at-a-time",
        file: "archive/drive.rs",
        text: "if is_resting || archives.with(Archives::is_busy) {",
        instead: "if is_resting {",
        harm: "two chunks are under way, and the answer to one moves on what the other one says",
        tests: &["archive::tests::"],
    },
];

/// Of the archive.
pub(super) const ARCHIVE: &[Mutant] = &[
    Mutant {
        name: "archive/repeat-is-refused",
        file: "archive.rs",
        text: "let is_again = *from == before",
        instead: "let is_again = false && *from == before",
        harm: "a chunk whose answer was lost is never confirmed, and the store fills up",
        tests: &["tests::hostile::a_chunk_that_does_not_follow_is_told_where_the_archive_is"],
    },
    Mutant {
        name: "archive/another-chunk-is-a-repeat",
        file: "archive.rs",
        text: "let is_again = *from == before && *after == position;",
        instead: "let is_again = *from == before;",
        harm: "the store forgets a chunk that the archive never saw",
        tests: &["tests::hostile::a_chunk_that_does_not_follow_is_told_where_the_archive_is"],
    },
    Mutant {
        name: "archive/history-is-not-compared",
        file: "archive.rs",
        text: "if *from != position {",
        instead: "if from.entries != position.entries {",
        harm: "an archive that was rolled back takes chunks, and what is missing is not noticed",
        tests: &["tests::hostile::a_chunk_that_does_not_follow_is_told_where_the_archive_is"],
    },
    Mutant {
        name: "archive/place-before-the-last-chunk",
        file: "archive.rs",
        text: "self.contents.before = position;",
        instead: "",
        harm: "a chunk whose answer was lost is never confirmed, and the store fills up",
        tests: &["tests::model::it_knows_what_it_was_told"],
    },
    Mutant {
        name: "archive/merge-loses-the-row-it-holds",
        file: "merge.rs",
        text: "write(extents, output, &slots[..count]);
    moved",
        instead: "write(extents, output, &slots[..count.saturating_sub(1)]);
    moved",
        harm: "with each step of a merge an id is lost",
        tests: &["tests::model::it_knows_what_it_was_told"],
    },
    Mutant {
        name: "archive/row-is-read-again-and-kept-twice",
        file: "merge.rs",
        text: "output.to -= 1;",
        instead: "",
        harm: "an id is in a run twice, and the worse of its rows may be found",
        tests: &["tests::model::it_knows_what_it_was_told"],
    },
    Mutant {
        name: "archive/worse-of-two-rows",
        file: "row.rs",
        text: "worth(row) > worth(than)",
        instead: "worth(row) < worth(than)",
        harm: "a request that was archived twice loses its reply",
        tests: &["tests::model::it_knows_what_it_was_told"],
    },
    Mutant {
        name: "archive/runs-that-are-merged-are-not-looked-into",
        file: "runs.rs",
        text: "for run in &self.list {
            let mut search",
        instead:
            "for run in (self.list.iter()).filter(|run| !matches!(run.state, State::Source(_))) {
            let mut search",
        harm: "while a merge is under way ids are missing",
        tests: &["tests::model::it_knows_what_it_was_told"],
    },
    Mutant {
        name: "archive/interpolates-for-ever",
        file: "runs.rs",
        text: "const ROUNDS: u32 = 3;",
        instead: "const ROUNDS: u32 = 3_000;",
        harm: "whoever chooses ids makes look-ups as long as he likes",
        tests: &["tests::hostile::chosen_ids_make_no_look_up_long"],
    },
    Mutant {
        name: "archive/over-its-capacity",
        file: "archive.rs",
        text: "let fits = after.entries <= self.contents.config.capacity;",
        instead: "let fits = after.entries > 0;",
        harm: "an archive takes more than it has room and cycles for",
        tests: &["tests::full::it_is_full_at_its_capacity_of_entries"],
    },
    Mutant {
        name: "archive/blocks-are-not-compared",
        file: "blocks.rs",
        text: "!= Some(block.as_slice())",
        instead: ".is_none()",
        harm: "a ledger forgets a block of which the archive has another version",
        tests: &["tests::blocks::"],
    },
];
