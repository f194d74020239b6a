//! A canister that remembers for ever, and its archives, whatever happens to either of them.

mod cycles;
mod failing;
mod kept;
mod late;
mod made;
mod shipment;
mod world;
mod year;
