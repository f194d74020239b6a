//! The pure parts of the outbox, by themselves.

mod arbitrary;
mod extracts;
mod outcalls;
mod outcomes;
mod requests;
mod stored;
mod transforms;
mod urls;
mod verdicts;
