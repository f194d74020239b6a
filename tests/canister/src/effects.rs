//! Endpoints that record their effects by key, and notice an effect that comes twice: for runs of very many messages,
//! so they are cheap, and speak plain bytes instead of candid.

use crate::{
    Failure,
    state::{MAIN, WINDOW, effects},
};
use candid::Principal;
use ic_cdk::call::Call;
use ic_stable_structures::Memory;
use idempotency_core::{IdempotencyError, idempotent};

/// What is kept for each key, in bytes: 64-bit numbers.
const RECORD: u64 = 6 * 8;
/// How often [`act_at`] asks before it gives up.
const ATTEMPTS: usize = 4;

/// What a key has done so far.
#[derive(Clone, Copy)]
struct Effect {
    executions: u64,
    /// When the last one started.
    started: u64,
    /// How many got past their last await.
    finished: u64,
    /// How many came within the window of an earlier one.
    repeated: u64,
    /// How many answers it was given to what another caller asked, or another execution in this heap.
    strays: u64,
    /// How many it was given to what the same caller asked before an upgrade.
    mixed_up: u64,
}

impl Effect {
    fn read(key: u64) -> Self {
        effects(|memory| {
            let mut bytes = [0; RECORD as usize];
            if memory.size() * 65_536 >= (key + 1) * RECORD {
                memory.read(key * RECORD, &mut bytes);
            }
            let number = |n: usize| {
                let mut number = [0; 8];
                number.copy_from_slice(&bytes[n * 8..][..8]);
                u64::from_le_bytes(number)
            };
            Self {
                executions: number(0),
                started: number(1),
                finished: number(2),
                repeated: number(3),
                strays: number(4),
                mixed_up: number(5),
            }
        })
    }

    fn write(self, key: u64) {
        effects(|memory| {
            if memory.size() == 0 && memory.grow(1) < 0 {
                ic_cdk::trap("no room for effects");
            }
            memory.write(key * RECORD, &self.encode());
        });
    }

    fn encode(self) -> Vec<u8> {
        [
            self.executions,
            self.started,
            self.finished,
            self.repeated,
            self.strays,
            self.mixed_up,
        ]
        .map(u64::to_le_bytes)
        .concat()
    }

    /// An execution starts.
    fn start(key: u64) {
        let mut effect = Self::read(key);
        let now = ic_cdk::api::time();
        if effect.executions > 0 && now - effect.started <= WINDOW.as_nanos() as u64 {
            effect.repeated += 1;
        }
        effect.executions += 1;
        effect.started = now;
        effect.write(key);
    }

    /// An execution is past its last await.
    fn finish(key: u64) -> Self {
        let mut effect = Self::read(key);
        effect.finished += 1;
        effect.write(key);
        effect
    }
}

/// What an execution asks a callee that answers with the same: no two ask the same.
#[derive(Clone, PartialEq)]
struct Asked {
    /// Which heap, key, and await it is.
    place: [u64; 3],
    caller: Principal,
}

impl Asked {
    fn by(key: u64, wait: u8) -> Self {
        let heap = MAIN.with(|store| store.stats().incarnation);
        Self {
            place: [heap, key, wait.into()],
            caller: ic_cdk::api::msg_caller(),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let place = self.place.map(u64::to_le_bytes).concat();
        [&place, self.caller.as_slice()].concat()
    }

    /// Whose answer this is, if it is not the one to this.
    fn check(&self, answer: &[u8]) {
        if answer == self.encode() {
            return;
        }
        let [heap, key, _] = self.place;
        let mut effect = Effect::read(key);
        let (place, caller) = answer.split_at(3 * 8);
        let is_older = place.first_chunk().copied().map(u64::from_le_bytes) < Some(heap);
        if is_older && caller == self.caller.as_slice() {
            effect.mixed_up += 1;
        } else {
            effect.strays += 1;
        }
        effect.write(key);
    }
}

/// Answers each with what it asks.
#[ic_cdk::update(decode_with = "as_it_is", encode_with = "as_it_is")]
fn echo(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn as_it_is(bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

/// Eight bytes of key, and how many calls to await.
fn decode(bytes: Vec<u8>) -> (u64, u8) {
    let Some((key, [awaits])) = bytes.split_first_chunk() else {
        ic_cdk::trap("nine bytes, please");
    };
    (u64::from_le_bytes(*key), *awaits)
}

/// 0, the key and its effect, or which refusal it is.
fn encode(outcome: Result<(u64, Effect), Failure>) -> Vec<u8> {
    match outcome {
        Ok((key, effect)) => [vec![0], key.to_le_bytes().into(), effect.encode()].concat(),
        Err(Failure::Idempotency(IdempotencyError::InProgress { .. })) => vec![1],
        Err(Failure::Idempotency(IdempotencyError::OutcomeUnknown { .. })) => vec![2],
        Err(Failure::Idempotency(error)) => [&[3], error.to_string().as_bytes()].concat(),
        Err(Failure::Own(text)) => [&[3], text.as_bytes()].concat(),
    }
}

#[idempotent(store = MAIN, key = *key)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode")]
fn act_at_once(key: u64, _awaits: u8) -> Result<(u64, Effect), Failure> {
    Effect::start(key);
    Ok((key, Effect::finish(key)))
}

#[idempotent(store = MAIN, key = *key)]
#[ic_cdk::update(decode_with = "decode", encode_with = "encode")]
async fn act(key: u64, awaits: u8) -> Result<(u64, Effect), Failure> {
    Effect::start(key);
    for wait in 0..awaits {
        let asked = Asked::by(key, wait);
        let call = Call::unbounded_wait(ic_cdk::api::canister_self(), "echo");
        // Faults reject even this; going on regardless gives them more to hit.
        if let Ok(answer) = call.with_raw_args(&asked.encode()).await {
            asked.check(&answer);
        }
    }
    Ok((key, Effect::finish(key)))
}

/// What `act_at_once` would be without the library: a simulation that takes this for right would take anything.
#[ic_cdk::update(decode_with = "decode", encode_with = "encode")]
fn act_unprotected(key: u64, _awaits: u8) -> Result<(u64, Effect), Failure> {
    Effect::start(key);
    Ok((key, Effect::finish(key)))
}

/// Asks another canister to `act`, and asks again as long as it doesn't know the answer; the last answer, if any. The attribute is
/// here for what it does without a key.
#[idempotent(store = MAIN, key = id)]
#[ic_cdk::update]
async fn act_at(canister: Principal, key: u64, awaits: u8, id: Option<u64>) -> Vec<u8> {
    let request = [&key.to_le_bytes()[..], &[awaits]].concat();
    for _ in 0..ATTEMPTS {
        let call = Call::bounded_wait(canister, "act").with_raw_args(&request);
        if let Ok(reply) = call.await {
            return reply.into_bytes();
        }
    }
    Vec::new()
}

/// Effects that came twice and answers that went astray, which must be none, executions, how many got to their end, and
/// answers that were mixed up: of keys below `keys`.
#[ic_cdk::query]
fn effects_of(keys: u64) -> (u64, u64, u64, u64, u64) {
    let sum = |number: fn(&Effect) -> u64| (0..keys).map(|key| number(&Effect::read(key))).sum();
    (
        sum(|effect| effect.repeated),
        sum(|effect| effect.strays),
        sum(|effect| effect.executions),
        sum(|effect| effect.finished),
        sum(|effect| effect.mixed_up),
    )
}
