//! What a journal says to people and resolvers.

use super::entry::{Entry, What};

/// A step of a request, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedStep {
    /// As the method names it.
    pub name: String,
    /// Whether its result is recorded. If not, its outcome is unknown.
    pub has_ended: bool,
}

/// The steps with names that began, in this order. What can't be read is left out.
pub(crate) fn recorded_steps(entries: &[Vec<u8>]) -> Vec<RecordedStep> {
    let mut steps: Vec<(usize, RecordedStep)> = vec![];
    for (number, bytes) in entries.iter().enumerate() {
        match Entry::read(bytes) {
            Some(Entry::Start {
                what: What::Step,
                name,
                is_done,
                ..
            }) if !name.is_empty() => {
                let step = RecordedStep {
                    name: String::from_utf8_lossy(name).into_owned(),
                    has_ended: is_done,
                };
                steps.push((number, step));
            }
            Some(Entry::End { start, .. }) => {
                let place = steps.binary_search_by_key(&(start as usize), |(number, _)| *number);
                if let Ok(place) = place {
                    steps[place].1.has_ended = true;
                }
            }
            _ => {}
        }
    }
    steps.into_iter().map(|(_, step)| step).collect()
}

/// The name of the step that began last.
pub(crate) fn last_step(entries: &[Vec<u8>]) -> Option<String> {
    let mut entries = entries.iter().rev();
    entries.find_map(|bytes| match Entry::read(bytes)? {
        Entry::Start { name, .. } if !name.is_empty() => {
            Some(String::from_utf8_lossy(name).into_owned())
        }
        _ => None,
    })
}
