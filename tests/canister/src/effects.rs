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

/// What is kept for each key, as 64-bit numbers.
const RECORD: u64 = 4 * 8;
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
        [self.executions, self.started, self.finished, self.repeated]
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
    for _ in 0..awaits {
        // Faults reject even this; going on regardless gives them more to hit.
        let _ = Call::unbounded_wait(ic_cdk::api::canister_self(), "nothing").await;
    }
    Ok((key, Effect::finish(key)))
}

/// What `act_at_once` would be without the library: a simulation that takes this for right would take anything.
#[ic_cdk::update(decode_with = "decode", encode_with = "encode")]
fn act_unprotected(key: u64, _awaits: u8) -> Result<(u64, Effect), Failure> {
    Effect::start(key);
    Ok((key, Effect::finish(key)))
}

/// Asks another canister to `act`, and asks again as long as it doesn't know the answer; the last answer, if any.
#[ic_cdk::update]
async fn act_at(canister: Principal, key: u64, awaits: u8) -> Vec<u8> {
    let request = [&key.to_le_bytes()[..], &[awaits]].concat();
    for _ in 0..ATTEMPTS {
        let call = Call::bounded_wait(canister, "act").with_raw_args(&request);
        if let Ok(reply) = call.await {
            return reply.into_bytes();
        }
    }
    Vec::new()
}

/// Effects that came twice, which must be none, executions, and how many got to their end: of keys below `keys`.
#[ic_cdk::query]
fn effects_of(keys: u64) -> (u64, u64, u64) {
    (0..keys)
        .map(Effect::read)
        .fold((0, 0, 0), |(repeated, executions, finished), effect| {
            (
                repeated + effect.repeated,
                executions + effect.executions,
                finished + effect.finished,
            )
        })
}
