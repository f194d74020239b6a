//! What an outbox does not take, what it costs, and answers that can't be read.

use crate::outbox::{Sender, Settings, Spec};
use crate::shop::{Manners, Premises};
use idempotency_core::outbox::{Outcome, Reason, RequestError, SendError};
use integration_tests::outside::Outside;
use integration_tests::{replica, user};
use serde_bytes::ByteBuf;

fn nowhere() -> Outside {
    Outside::new(2, Vec::<(String, std::net::SocketAddr)>::new())
}

#[test]
fn what_the_ic_would_not_send_is_refused_and_nothing_is_kept() {
    let replica = replica();
    let sender = Sender::install(&replica, Settings::default(), nowhere());
    let post = || Spec::post("https://shop.example/orders");
    let url = |url: &str| Spec::post(url);
    let with = |change: fn(&mut Spec)| {
        let mut spec = post();
        change(&mut spec);
        spec
    };
    type Is = fn(&RequestError) -> bool;
    let cases: [(Spec, Is); 15] = [
        (url("http://shop.example/"), |it| {
            matches!(it, RequestError::NotHttps)
        }),
        (url("ftp://shop.example/"), |it| {
            matches!(it, RequestError::NotHttps)
        }),
        (url("https://"), |it| {
            matches!(it, RequestError::InvalidHost)
        }),
        (url("https://127.0.0.1/"), |it| {
            matches!(it, RequestError::PrivateHost { .. })
        }),
        (url("https://10.1.2.3/"), |it| {
            matches!(it, RequestError::PrivateHost { .. })
        }),
        (url("https://[::1]/"), |it| {
            matches!(it, RequestError::PrivateHost { .. })
        }),
        (url("https://localhost:8080/"), |it| {
            matches!(it, RequestError::PrivateHost { .. })
        }),
        (url("https://2130706433/"), |it| {
            matches!(
                it,
                RequestError::InvalidHost | RequestError::PrivateHost { .. }
            )
        }),
        (url("https://me:secret@shop.example/"), |it| {
            matches!(it, RequestError::UserInfo)
        }),
        (
            with(|spec| spec.url = format!("https://shop.example/{}", "a".repeat(8_192))),
            |it| matches!(it, RequestError::UrlTooLong { .. }),
        ),
        (
            with(|spec| spec.headers = vec![("A".into(), "b".into()); 64]),
            |it| matches!(it, RequestError::TooManyHeaders { .. }),
        ),
        (
            with(|spec| spec.headers = vec![("A".into(), "b\r\nC: d".into())]),
            |it| matches!(it, RequestError::InvalidHeader { .. }),
        ),
        (
            with(|spec| spec.body = ByteBuf::from(vec![0; 2_000_000])),
            |it| matches!(it, RequestError::RequestTooLong { .. }),
        ),
        (with(|spec| spec.max_response_bytes = 2_000_001), |it| {
            matches!(it, RequestError::MaxResponseBytes { .. })
        }),
        (with(|spec| spec.method = "GET".into()), |it| {
            matches!(it, RequestError::BodyNotAllowed)
        }),
    ];
    for (spec, is_it) in cases {
        let start: String = spec.url.chars().take(40).collect();
        let sent = sender.send(vec![spec]).remove(0);
        match sent {
            Err(SendError::Request(error)) => assert!(is_it(&error), "{start}: {error:?}"),
            other => panic!("{start}: {other:?}"),
        }
    }
    let overview = sender.overview();
    assert_eq!(
        (overview.messages, overview.bytes, overview.waiting),
        (0, 0, 0)
    );
    assert_eq!(sender.work(), 0);
}

#[test]
fn a_full_outbox_takes_nothing_and_a_trap_leaves_nothing() {
    let replica = replica();
    let settings = Settings {
        capacity: Some(3),
        ..Settings::default()
    };
    let sender = Sender::install(&replica, settings, nowhere());
    let specs = vec![Spec::post("https://shop.example/orders"); 5];
    let trapped = sender
        .canister
        .update::<()>(user(1), "send_and_trap", (specs.clone(),));
    assert!(trapped.is_err());
    assert_eq!((sender.overview().messages, sender.work()), (0, 0));
    let sent = sender.send(specs);
    let full: Vec<_> = sent
        .iter()
        .map(|sent| sent.as_ref().err().cloned())
        .collect();
    assert_eq!(
        full,
        [
            None,
            None,
            None,
            Some(SendError::Full),
            Some(SendError::Full)
        ]
    );
    let before = sender.overview();
    assert_eq!((before.messages, sender.work()), (3, 3));
    sender.upgrade();
    let after = sender.overview();
    assert_eq!(
        (after.messages, after.bytes, after.waiting),
        (3, before.bytes, 3)
    );
}

#[test]
fn an_answer_that_is_too_long_is_no_answer() {
    let premises = Premises::new(Manners::default());
    let shop = premises.open();
    let replica = replica();
    let settings = Settings {
        max_attempts: Some(2),
        ..Settings::default()
    };
    let outside = Outside::new(3, [("shop.example", shop.address)]);
    let mut sender = Sender::install(&replica, settings, outside);
    let short = |url: &str| Spec {
        max_response_bytes: 3,
        ..Spec::post(url)
    };
    let keyed = sender.send_one(short("https://shop.example/keyed/1"));
    let plain = sender.send_one(short("https://shop.example/plain/2").without_key());
    sender.run();
    for id in [keyed, plain] {
        let ended = sender.ended(id);
        assert!(
            matches!(
                ended.outcome,
                Outcome::Unknown {
                    reason: Reason::AnswerTooLarge { .. },
                    ..
                }
            ),
            "{ended:?}"
        );
    }
    // They were placed all the same, so nobody may say that they were not.
    assert_eq!(premises.keyed_orders().get(&1), Some(&1));
    assert_eq!(premises.plain_orders().get(&2), Some(&1));
    shop.kill();
}

#[test]
fn a_message_costs_what_the_book_says() {
    let replica = replica();
    let sender = Sender::install(&replica, Settings::default(), nowhere());
    let measure = |length: usize| {
        let spec = Spec {
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: ByteBuf::from(vec![b'x'; length]),
            ..Spec::post("https://shop.example/v1/orders")
        };
        let measured: Result<u64, _> = sender.canister.update(user(1), "measure", (spec,));
        measured.expect("it is sent")
    };
    let first = measure(100);
    let mut costs: Vec<_> = (0..50).map(|_| measure(100)).collect();
    costs.sort_unstable();
    let long = measure(100_100);
    println!(
        "first {first}, median {}, most {}, with 100,000 bytes more {long}",
        costs[25], costs[49]
    );
    assert!(costs[25] <= 15_000, "{costs:?}");
    assert!(long - costs[25] <= 100_000 * 3, "{long}");
}
