//! A stand-in for the PocketIC server, for machines that can't get the real one.
//!
//! It speaks the part of PocketIC's HTTP protocol that canister tests use, so that the unmodified `pocket-ic` client
//! (16.x) works when `POCKET_IC_BIN` or `with_server_binary` names the `local-replica` binary. Tests that pass here are
//! meant to be run against the real server as well where it can be had; `tests/conformance` is written that way.
//!
//! # Faithful
//!
//! * **Execution.** Real Wasm; instructions counted as on the IC (see [`engine`]); heap, globals and stable memory
//!   undone on a trap.
//! * **Messages.** One message at a time on each canister, one queue per canister in order of arrival. The ingress
//!   messages of a round arrive in an order of their own, not in that of submission: the number in the environment
//!   variable `LOCAL_REPLICA_ORDER` chooses another one, and a test has to pass with each. Calls leave when their message
//!   has succeeded; callbacks run with the reserve for cleanup kept back; a trap in a callback runs the cleanup; a context
//!   that ends unanswered is rejected with IC0506.
//! * **Queries.** Plain and composite ones; they see the time of the last round.
//! * **Rejects.** Codes, and texts in the IC's words, with what it says about what to do: stopped, stopping, uninstalled,
//!   missing, unreachable, out of cycles, refused by `inspect_message`, expired bounded wait (while the callee goes on).
//! * **Life cycle.** Install, upgrade, reinstall, uninstall, chunked code, start, stop (waits for what is outstanding),
//!   delete, settings, status, metadata, logs. Much work in an installation delays the canister's next one, unless
//!   `canister_execution_rate_limiting` is disabled in the instance's `IcpConfig`.
//! * **Time.** A new instance has executed a round, a nanosecond after PocketIC's genesis. Time stands still within a
//!   round; the next one is at the time that was set meanwhile, or a nanosecond later. Global timers fire once when due;
//!   heartbeats run each round.
//! * **The management canister** gets a canister's call in the next round, and its answer arrives in the one after that.
//! * **HTTPS outcalls.** Arguments are checked, paid for and refunded as by the management canister. Pending after two rounds, and
//!   answered two rounds after the mocked response, which is one for all 13 nodes or one for each. Every node's goes through the
//!   transform function by itself, and nine equal results are the answer, rejects included; fewer are the IC's "No consensus could
//!   be reached". The response of one node is the answer of a non-replicated outcall. Sixty-second timeout.
//! * **Agents.** `/api/v2`, `/api/v3` and `/api/v4` below an instance and at its gateways, for the unmodified `ic-agent`, with its
//!   verification of certificates and query signatures on. Requests are signed with Ed25519, ECDSA on secp256k1, or delegations to
//!   such keys, or are anonymous; signatures, request ids, URLs and the ingress expiry (by the replica's clock, at most six minutes
//!   ahead) are checked, and refused with the IC's statuses and, but for details of keys, its words. The same request runs once, however often it
//!   is sent. Its status is unknown until a round takes it in, then received, processing, and replied or rejected, until five
//!   minutes after the answer and not before its expiry; then it is unknown, and too late to be sent again. Calls wait ten seconds
//!   for their answer before they are told to poll. Each sender reads the status of its own requests only, and private metadata is
//!   for controllers.
//! * **Certificates** with BLS signatures over the state tree: time, request status, certified data, controllers, module hash,
//!   metadata, subnets with their keys and canister ranges, nodes. Absence is proved. The root key is that of the NNS subnet, or
//!   of the first subnet where there is none; the others' certificates have its delegation, with the canister
//!   ranges where the route has them.
//! * **Gateways.** The client's `make_live`, and browsers, by host (`<canister>.localhost`) or by `?canisterId=`, with an upgrade to
//!   an update call where the canister asks for one.
//! * **Cycles.** Base fee, instructions, dirty heap pages, ingress bytes, calls and replies at the prices of a 13-node
//!   subnet; the prepayment decides whether a message runs. The installation and the calls that were measured on the
//!   real server cost exactly the same here.
//!
//! # Approximated
//!
//! * One scheduler for all subnets: calls between subnets take as long as calls within one. Subnets have the right
//!   kinds, canister ranges and ids of their own, but prices of 13 nodes; system subnets charge nothing.
//! * A message of any length runs in one round. A round ends after 7 billion instructions.
//! * Storage is paid for heap, stable memory, module and chunks; a canister that can't pay is frozen, not uninstalled.
//!   What a call's callback may cost isn't set aside when the call is made.
//! * Memory and compute allocation, memory limits and reserved cycles are kept and reported but have no effect. Nor is a
//!   canister slowed down that writes very much memory.
//! * A call beyond 500 unanswered ones to the same canister is rejected with `SysTransient` instead of failing in
//!   `call_perform`.
//! * `raw_rand` yields the same bytes in every run.
//! * The node that makes a non-replicated outcall follows from the outcall's number, and the digests in the text of a failed
//!   consensus are others than the IC's. A mocked response that has more bytes than the request allows, headers and body together,
//!   becomes the reject of a node that doesn't download it; PocketIC leaves that to whoever mocks the response. URLs are not looked
//!   at, so that an `http` one is pending, too. A live instance makes no outcalls by itself; they wait to be answered.
//! * Ingress messages that come through PocketIC's protocol never expire, and their results are kept for as long as the instance
//!   lives. `read_state` doesn't know them.
//! * Replies are never dropped for want of memory, but for a test that wants `done` (see [Hooks](#hooks)).
//! * **The keys are no secrets.** They follow from the number of a subnet, the same in every run: whoever reads the source can sign.
//!   A subnet has one node, whose key is as public.
//! * A certificate's tree has what was asked for and its neighbours; other canisters and requests are left out instead of being
//!   pruned, so that two certificates of the same time have different root hashes.
//! * A live instance executes a round as soon as a call has come in, unless it was told to be slow.
//! * Texts of traps have no backtrace; those of invalid modules have the IC's form, but the details are wasmtime's.
//!
//! # Faults
//!
//! Unlike PocketIC, it can be told to trap anywhere, to lose, delay and reorder messages, to upgrade, stop and starve
//! canisters in between, and to move the clock: see [`faults`], and [`in_process`] for runs of very many messages.
//! Over HTTP, `POST /instances/{id}/local-replica/faults` with a [`faults::Plan`] installs one, `GET` answers the
//! [`faults::Report`], `DELETE` ends it.
//!
//! # Exploration
//!
//! [`explore`] searches every order in which the messages of a small system can be delivered, with a few faults wherever they
//! can happen, for a state that breaks an invariant.
//!
//! # Hooks
//!
//! What tests of clients want to happen, over HTTP below `/instances/{id}/local-replica/`:
//!
//! | request | effect |
//! |---|---|
//! | `POST call_timeout` with `{"millis": 0}` | agents' calls wait so long for their answer, then get 202; the IC has 10,000 |
//! | `POST drop_replies` with `null` | the status of every answered request is `done` from now on |
//! | `POST clock` with `{"offset_ms": -30000}` | the clock of the live instance is so far ahead of the machine's (here: behind it) |
//! | `POST faults` | see above; a lost answer to an ingress message stays `processing` |
//!
//! The client's `set_time` moves a live instance, too: it stands at that time, a nanosecond later in each round, until the
//! machine's clock has caught up. What was signed meanwhile expires by the replica's clock, not by the agent's. An instance that
//! is not live executes what agents send when somebody else makes it execute rounds.
//!
//! # Left out
//!
//! Consensus, threshold keys, canister signatures and keys of other kinds than those above, sender info, `root_key_size`,
//! gateways with HTTPS or for other replicas, verification and streaming of what canisters serve, system canisters, Bitcoin, state
//! directories, snapshots, environment variables, `canister_info`, upgrades that keep the heap, flexible and pay-as-you-go outcalls,
//! deleting subnets, subnets made for a chosen canister id. These are answered with an error that contains
//! `not supported by local-replica`. Metrics of subnets and API boundary nodes are absent from the state tree.
#![forbid(unsafe_code)]

pub mod agent_api;
pub mod call_context;
pub mod canister;
pub mod certification;
mod composite;
pub mod cycles;
pub mod engine;
pub mod errors;
pub mod execution;
pub mod explore;
pub mod faults;
pub mod http_outcalls;
pub mod in_process;
pub mod ingress;
pub mod instance;
pub mod management;
pub mod replica;
pub mod rounds;
pub mod server;
pub mod topology;
