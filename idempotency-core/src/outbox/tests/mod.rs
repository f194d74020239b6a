//! The outbox: its pure parts by themselves, and all of it beside servers of all kinds, natively.

mod arbitrary;
mod capacity;
mod damaged;
mod ends;
mod extracts;
mod golden;
mod late;
mod limits_of_policy;
mod model;
mod outcalls;
mod outcomes;
mod requests;
mod stored;
mod transforms;
mod urls;
mod verdicts;
mod world;
