//! Why a request is parked, in text for its operators: what is wrong, and what to do about it. None of it comes from results or
//! arguments, which may be secret.

use super::entry::{Entry, What};

/// Longest reason in bytes.
const MAX_REASON_BYTES: usize = 1_000;

/// A name in a reason takes at most so many characters.
const MAX_NAME_CHARS: usize = 80;

/// For a code that has changed since entries were recorded.
const BRANCH: &str = "where the code has changed since, branch with `steps.version(\"v2\")`";

pub(super) const OUTSIDE: &str = "steps were used outside of the method's own future: await them in the method, not in a task that it spawns";

pub(super) const PARK: &str = "`steps.park(…)`";

pub(super) const DAMAGED: &str =
    "the journal can't be read: it is damaged, or a later version of the library wrote it";

pub(super) const TOO_MANY: &str = "the journal has more entries than can be counted";

pub(super) const RANDOM: &str = "the management canister gave no 32 random bytes";

/// At most [`MAX_REASON_BYTES`] of it.
pub(super) fn cut(mut reason: String) -> String {
    if reason.len() > MAX_REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
    }
    reason
}

/// A name as text, though it may be damaged.
fn quoted(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    match text.char_indices().nth(MAX_NAME_CHARS) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// What the code does.
pub(super) fn what(what: What, name: &[u8]) -> String {
    match what {
        What::Step if name.is_empty() => "`steps.random()`".to_owned(),
        What::Step => format!("step {}", quoted(name)),
        What::Sleep => "`steps.sleep(…)`".to_owned(),
        What::Now => "`steps.now()`".to_owned(),
    }
}

pub(super) fn created_at(name: &[u8]) -> String {
    format!("`steps.created_at({})`", quoted(name))
}

pub(super) fn version(name: &[u8]) -> String {
    format!("`steps.version({})`", quoted(name))
}

pub(super) fn attempt(name: &[u8]) -> String {
    format!("an attempt of safe call {}", quoted(name))
}

pub(super) fn other_call(name: &[u8]) -> String {
    format!(
        "safe call {} is now another one than that which was sent and may have been executed; {BRANCH}",
        quoted(name)
    )
}

pub(super) fn compensate(name: &[u8]) -> String {
    format!("`steps.compensate({}, …)`", quoted(name))
}

/// What is recorded. `start` is the entry with which it began, of the end of something.
fn recorded(entry: &Entry<'_>, start: Option<Entry<'_>>) -> String {
    match (entry, start) {
        (Entry::Start { what: it, name, .. }, _) => what(*it, name),
        (Entry::End { .. }, Some(Entry::Start { what: it, name, .. })) => {
            format!("the end of {}", what(it, name))
        }
        (Entry::End { .. }, _) => "the end of nothing".to_owned(),
        (Entry::Frozen { name, .. }, _) => created_at(name),
        (Entry::Tried { name, .. }, _) => attempt(name),
        (Entry::Version { name }, _) => version(name),
    }
}

pub(super) fn other_order(
    place: usize,
    entry: &Entry<'_>,
    start: Option<Entry<'_>>,
    now: &str,
) -> String {
    format!(
        "the code now begins {now}, and entry {place} of the journal is {}; {BRANCH}",
        recorded(entry, start)
    )
}

pub(super) fn stuck(place: usize, entry: &Entry<'_>, start: Option<Entry<'_>>) -> String {
    format!(
        "the code waits without coming to {}, which is entry {place} of the journal; {BRANCH}; what is awaited beside a step must be \
         a step, too",
        recorded(entry, start)
    )
}

pub(super) fn not_reached(place: usize, entry: &Entry<'_>, start: Option<Entry<'_>>) -> String {
    format!(
        "the method ended without coming to {}, which is entry {place} of the journal; {BRANCH}",
        recorded(entry, start)
    )
}

pub(super) fn twice(name: &[u8]) -> String {
    format!(
        "step {} is used twice in one request; give each step a name of its own, in a loop `(\"name\", i)`",
        quoted(name)
    )
}

pub(super) fn within(now: &str) -> String {
    format!(
        "{now} is used inside the action of a step, which is not run again when its result is recorded; use it before the step or after it"
    )
}

pub(super) fn length(name: &[u8]) -> String {
    format!(
        "a name of {} bytes, {}, can't be recorded; use one of 1 to 255 bytes",
        name.len(),
        quoted(name)
    )
}

pub(super) fn unknown(name: &[u8]) -> String {
    format!(
        "nobody knows whether step {} took effect: it was cut off, and it is neither repeatable nor verified",
        quoted(name)
    )
}

pub(super) fn cannot_tell(name: &[u8]) -> String {
    format!(
        "nobody knows whether step {} took effect: it was cut off, and its `verify` can't tell",
        quoted(name)
    )
}

pub(super) fn other_type(name: &[u8]) -> String {
    format!(
        "the recorded result of {} is not of the type that the code expects, or its type does not come back from CBOR; {BRANCH}",
        what(What::Step, name)
    )
}

pub(super) fn not_cbor(name: &[u8]) -> String {
    format!(
        "step {} ran, and its result can't be recorded: its type can't be written in CBOR; return one that can",
        quoted(name)
    )
}

pub(super) fn full(max_journal_bytes: u32) -> String {
    format!(
        "the request's journal of {max_journal_bytes} bytes is full; raise `max_journal_bytes`, or let steps return less"
    )
}

pub(super) fn no_room(now: &str) -> String {
    format!(
        "{now} did not begin, as the request's journal is full; raise `max_journal_bytes`, or let steps return less"
    )
}

pub(super) fn not_undone(name: &[u8], text: &str) -> String {
    format!("step {} failed: {text}", quoted(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_an_end() {
        let long = "ä\u{1}\"".repeat(1_000);
        for reason in [
            twice(long.as_bytes()),
            not_undone(long.as_bytes(), &long),
            length(long.as_bytes()),
            what(What::Step, &[255; 255]),
        ] {
            let reason = cut(reason);
            assert!(reason.len() <= MAX_REASON_BYTES, "{}", reason.len());
        }
        assert_eq!(cut("short".to_owned()), "short");
    }
}
