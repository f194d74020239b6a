//! Certified answers about what only an archive knows: kept, and read later by others, who have the root key and nothing else.

use crate::world::{Answer, DAY, REPLIES, World, asked};
use candid::{Encode, Principal, decode_one, encode_args, encode_one};
use ic_agent::{Agent, Identity as _, identity::BasicIdentity};
use idempotency_agent::{AnswerError, Answered, CertifiedAnswer, IcTransport};
use idempotency_core::{
    IdempotencyError, Timestamp,
    outcome::{Asked, Outcome, Verdict},
};
use serde_bytes::ByteBuf;
use std::{sync::Arc, time::Duration};
use tokio::runtime::Runtime;

const EVER: &str = "idempotency_outcomes_ever";

fn identity(number: u8) -> BasicIdentity {
    BasicIdentity::from_raw_key(&[number; 32])
}

fn principal(number: u8) -> Principal {
    identity(number).sender().unwrap()
}

/// A world in which user 1 has paid once, years ago: that is only in the archive by now.
struct Later {
    world: World,
    runtime: Runtime,
    url: String,
    root_key: Vec<u8>,
    first: Answer,
    paid_at: u64,
}

impl Later {
    fn new() -> Self {
        let mut world = World::given(REPLIES, 1);
        let paid_at = world.replica.get_time().as_nanos_since_unix_epoch();
        let arg = encode_args((1u64, 1u64)).unwrap();
        let first = (world.replica).update_call(world.canister, principal(1), "pay", arg);
        let first: Answer = decode_one(&first.unwrap()).unwrap();
        assert_eq!(first, Ok(1));
        world.ship();
        assert_eq!(world.shipped(), (1, 0));
        let url = world.replica.make_live(None).to_string();
        let runtime = Runtime::new().unwrap();
        let root_key = runtime.block_on(async {
            let agent = Agent::builder().with_url(&url).build().unwrap();
            agent.fetch_root_key().await.unwrap();
            agent.read_root_key()
        });
        Self {
            world,
            runtime,
            url,
            root_key,
            first,
            paid_at,
        }
    }

    fn ask(
        &self,
        number: u8,
        method: &str,
        calls: &[Asked],
    ) -> Result<(Answered, CertifiedAnswer), AnswerError> {
        let builder = Agent::builder().with_url(&self.url);
        let transport = IcTransport::new(builder, Arc::new(identity(number))).unwrap();
        transport.agent().set_root_key(self.root_key.clone());
        let asking = transport.certified_answer(self.world.canister, method, calls);
        self.runtime.block_on(asking)
    }

    fn is_the_payment(&self, outcome: &Result<Outcome, IdempotencyError>) {
        match outcome {
            Ok(Outcome::Done {
                reply,
                executed_at,
                guaranteed_until,
            }) => {
                assert_eq!(&reply[..], Encode!(&self.first).unwrap());
                assert_eq!(executed_at.as_nanos() / DAY, self.paid_at / DAY);
                assert_eq!(*guaranteed_until, Timestamp::from_nanos(u64::MAX));
            }
            other => panic!("{other:?}"),
        }
    }
}

fn is_absent(outcome: &Result<Outcome, IdempotencyError>, expected: Verdict) {
    match outcome {
        Ok(Outcome::Absent { verdict, .. }) => assert_eq!(*verdict, expected),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_only_an_archive_knows_is_shown_to_others_years_later() {
    let later = Later::new();
    let calls = [
        asked("pay", (1u64, 1u64)),
        // These never ran, and the last one is another call under the key of the first.
        asked("pay", (9u64, 1u64)),
        asked("pay_dated", (3u64, later.paid_at)),
        asked("pay", (1u64, 2u64)),
    ];
    let (answered, kept) = later.ask(1, EVER, &calls).unwrap();
    assert_eq!(answered.canister, later.world.canister);
    assert_eq!(answered.method, EVER);
    assert_eq!(answered.sender, principal(1));
    assert_eq!(answered.calls, calls);
    later.is_the_payment(&answered.outcomes[0]);
    is_absent(&answered.outcomes[1], Verdict::CanStillRun { until: None });
    is_absent(&answered.outcomes[2], Verdict::NeverRan);
    assert_eq!(answered.outcomes[3], Err(IdempotencyError::KeyReused));
    match &answered.outcomes[1] {
        Ok(Outcome::Absent { as_of, .. }) => assert!(*as_of <= answered.time),
        other => panic!("{other:?}"),
    }

    // To another one's question the answer is about another one's call.
    let (others, kept_by_another) = later.ask(2, EVER, &calls).unwrap();
    assert_eq!(others.sender, principal(2));
    is_absent(&others.outcomes[0], Verdict::CanStillRun { until: None });

    // Who reads it later has the bytes and the root key.
    let bytes = encode_one(&kept).unwrap();
    let is_read = || {
        let kept: CertifiedAnswer = decode_one(&bytes).unwrap();
        assert_eq!(kept.verified(&later.root_key).unwrap(), answered);
    };
    is_read();
    later
        .world
        .replica
        .advance_time(Duration::from_secs(366 * DAY));
    is_read();
    // It is still so.
    let (again, _) = later.ask(1, EVER, &calls).unwrap();
    assert_eq!(again.outcomes[0], answered.outcomes[0]);
    assert!(again.time.as_nanos() - answered.time.as_nanos() > 365 * DAY * 1_000_000_000);

    // Whatever is changed, it is no answer any more.
    let other_key = {
        let mut key = later.root_key.clone();
        key[90] ^= 1;
        key
    };
    assert!(matches!(
        kept.verified(&other_key),
        Err(AnswerError::Unsigned(_))
    ));
    let changed = |change: fn(&mut CertifiedAnswer)| {
        let mut changed = kept.clone();
        change(&mut changed);
        changed.verified(&later.root_key)
    };
    let changes: [fn(&mut CertifiedAnswer); 6] = [
        |it| it.method = "outcomes_ever_by_query".into(),
        |it| it.arg = encode_one([asked("pay", (1u64, 1u64))]).unwrap().into(),
        |it| it.sender = principal(2),
        |it| it.nonce = None,
        |it| it.nonce = Some(ByteBuf::from(*b"another")),
        |it| it.ingress_expiry = Timestamp::from_nanos(it.ingress_expiry.as_nanos() + 1),
    ];
    for change in changes {
        let read = changed(change);
        assert!(matches!(read, Err(AnswerError::OtherRequest)), "{read:?}");
    }
    let with = |canister: Principal, certificate: &ByteBuf| {
        let changed = CertifiedAnswer {
            canister,
            certificate: certificate.clone(),
            ..kept.clone()
        };
        changed.verified(&later.root_key)
    };
    let (canister, archive) = (later.world.canister, later.world.archive(0));
    for read in [
        with(archive, &kept.certificate),
        with(canister, &kept_by_another.certificate),
    ] {
        assert!(matches!(read, Err(AnswerError::OtherRequest)), "{read:?}");
    }
    let cut = kept.certificate[..kept.certificate.len() / 2].to_vec();
    let cut = with(canister, &cut.into());
    assert!(matches!(cut, Err(AnswerError::NoCertificate(_))), "{cut:?}");
}

/// What proves nothing is certified as well, and says so.
#[test]
fn an_archive_that_can_not_be_asked_is_an_answer_that_proves_nothing() {
    let later = Later::new();
    let calls = [asked("pay", (1u64, 1u64))];
    (later.world.replica)
        .stop_canister(later.world.archive(0), None)
        .unwrap();
    let code = |method: &str| {
        let (answered, _) = later.ask(1, method, &calls).unwrap();
        match answered.outcomes.as_slice() {
            [Err(IdempotencyError::Other { code, .. })] => *code,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code(EVER), 8);
    // A query, called as an update. It asks nobody.
    assert_eq!(code("idempotency_outcomes"), 10);
    let none = later.ask(1, "no such method", &calls);
    assert!(matches!(none, Err(AnswerError::Rejected(_))), "{none:?}");
    (later.world.replica)
        .start_canister(later.world.archive(0), None)
        .unwrap();
    let (answered, _) = later.ask(1, EVER, &calls).unwrap();
    later.is_the_payment(&answered.outcomes[0]);
}
