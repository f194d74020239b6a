//! The trap matrix: every order of messages with every fault at every place, against each shape of an async method, as different clients
//! use it. Exhaustive within the bounds that each test prints with its counts.
//!
//! | shape | file | one fault | two faults |
//! |---|---|---|---|
//! | durable: repeatable and verified steps between effects | `durable.rs` | all clients | nobody retries, one step: repeatable. If asked for (`--ignored`): verified; and retried at once and later, a pair of kinds at a time |
//! | durable, in a lane | `lanes.rs` | all clients | faults of messages: nobody retries, retried at once. If asked for: nobody retries, a pair of kinds at a time |
//! | the payout example, with its ledger | `payout.rs` | all clients | nobody retries; faults of messages: retried at once, later. If asked for: these, a pair of kinds at a time |
//! | durable: a step that is neither repeatable nor verified | `parked.rs` | all clients | nobody retries |
//! | the second look, of a method that is sync, and of an async one | `archives.rs` | two calls: faults of messages, upgrades; one call: all. Without a fault: three calls, one of them with other arguments | |
//! | no steps: with a resolver, and without | `plain.rs` | all clients | all clients |
//!
//! The clients: nobody retries, retried at once, later, twice at a time ([`world::Clients`]).
//!
//! | what may happen | `FaultKind` | in |
//! |---|---|---|
//! | go on | | every shape |
//! | trap | `Trap`; of the timers' own message `TimerTrap` | every shape; timers begin after a first fault, so `TimerTrap` is in `parked.rs` |
//! | reject, so not executed | `Refuse` | every shape |
//! | executed but unknown | `LoseAnswer` | every shape |
//! | not executed and unknown | `LoseRequest` | every shape |
//! | upgrade | `Upgrade`, `UpgradeTrap` | every shape; a second one of the same canister only when no call of it waits |
//! | out of cycles | `OutOfCycles` | every shape |
//! | cleanup fails too | `CleanupTrap` | every shape: durable ones end after one, and `parked.rs` has what is left after two; a plain one counts as running |
//! | callee stopped | `Stop`, of either canister | every shape |
//! | callee uninstalled | `Uninstall` | `plain.rs`, `parked.rs`, `payout.rs`, `archives.rs`, for what holds then |

#![forbid(unsafe_code)]

mod archives;
mod durable;
mod lanes;
mod parked;
mod payout;
mod plain;
mod types;
mod world;
