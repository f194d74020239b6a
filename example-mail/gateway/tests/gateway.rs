//! Mails through the gateway, to an SMTP server that fails where it is told to.
#![forbid(unsafe_code)]

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::ConnectInfo,
    http::Request,
};
use futures_util::future::join_all;
use idempotency_receiver::{Limits, SqliteBackend};
use mail_gateway::{Policy, Settings, router};
use smtp_sink::{Behaviour, Sink};
use std::{net::SocketAddr, time::Duration};
use tempfile::TempDir;
use tokio::time::timeout;
use tower::ServiceExt;

/// A gateway, its records, and the server that it sends to.
struct World {
    directory: TempDir,
    sink: Sink,
    settings: Settings,
    router: Router,
    backend: SqliteBackend,
}

impl World {
    async fn new(set: impl Fn(&mut Settings)) -> Self {
        let sink = Sink::start().await.expect("there is a port");
        let from = "gateway@example.com".parse().expect("it is an address");
        let mut settings = Settings::new(sink.address().to_string(), from, None);
        set(&mut settings);
        let directory = TempDir::new().expect("there is room");
        let (router, backend) = start(&directory, &settings);
        Self {
            directory,
            sink,
            settings,
            router,
            backend,
        }
    }

    async fn post(&self, key: &str, body: &str) -> (u16, String) {
        post(&self.router, key, body).await
    }

    fn mails(&self) -> usize {
        self.sink.mails().len()
    }
}

fn start(directory: &TempDir, settings: &Settings) -> (Router, SqliteBackend) {
    let backend = SqliteBackend::open(directory.path().join("mail.db"), Limits::default())
        .expect("there is room");
    (router(settings.clone(), backend.clone()), backend)
}

fn request(key: &str, body: &str) -> Request<Body> {
    let request = Request::post("/send").header("idempotency-key", format!("\"{key}\""));
    request
        .body(Body::from(body.to_owned()))
        .expect("it is a request")
}

async fn send(router: &Router, request: Request<Body>) -> (u16, String) {
    let sent = timeout(Duration::from_secs(30), router.clone().oneshot(request)).await;
    let response = sent
        .expect("it is answered")
        .expect("a router doesn't fail");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX)
        .await
        .expect("the body is there");
    (
        status,
        String::from_utf8(body.to_vec()).expect("it is text"),
    )
}

async fn post(router: &Router, key: &str, body: &str) -> (u16, String) {
    send(router, request(key, body)).await
}

const LETTER: &str =
    r#"{"to": "Ann <ann@example.org>", "subject": "Grüße", "body": "Dear Ann,\n.\n.. and so on"}"#;

#[tokio::test]
async fn a_letter_becomes_a_mail() {
    let world = World::new(|_| {}).await;
    let (status, body) = world.post("k", LETTER).await;
    let [mail] = &world.sink.mails()[..] else {
        panic!("one mail")
    };
    assert_eq!(
        (&*mail.from, &mail.to[..]),
        ("gateway@example.com", &["ann@example.org".to_owned()][..])
    );
    assert_eq!(mail.header("to"), Some("Ann <ann@example.org>"));
    assert_eq!(mail.body(), "Dear Ann,\r\n.\r\n.. and so on\r\n");
    let id = mail.header("message-id").expect("it has one");
    assert!(id.ends_with("@example.com>"), "{id}");
    assert_eq!((status, body), (200, format!(r#"{{"message_id":"{id}"}}"#)));
}

#[tokio::test(flavor = "multi_thread")]
async fn thirteen_copies_at_once_are_one_mail() {
    let world = World::new(|_| {}).await;
    let answers = join_all((0..13).map(|_| world.post("k", LETTER))).await;
    assert_eq!(answers[0].0, 200);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(world.mails(), 1);
    assert_eq!(world.post("k", &LETTER.replace("Ann", "Bob")).await.0, 422);
    assert_eq!(world.post("other", LETTER).await.0, 200);
    assert_eq!(world.mails(), 2);
}

#[tokio::test]
async fn a_lost_answer_and_a_restart_send_nothing_again() {
    let world = World::new(|_| {}).await;
    let first = world.post("k", LETTER).await;
    let World {
        directory,
        sink,
        settings,
        router,
        backend,
    } = world;
    drop((router, backend));
    let (router, _backend) = start(&directory, &settings);
    assert_eq!(post(&router, "k", LETTER).await, first);
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn a_client_that_goes_away_has_its_mail_sent() {
    let world = World::new(|_| {}).await;
    // It is gone before the server was called.
    assert!(
        timeout(Duration::ZERO, world.post("k", LETTER))
            .await
            .is_err()
    );
    assert_eq!(world.post("k", LETTER).await.0, 200);
    assert_eq!(world.mails(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_leaves_no_record() {
    let World {
        directory: _directory,
        sink,
        router,
        backend,
        ..
    } = World::new(|_| {}).await;
    let address = sink.address();
    drop(sink);
    for _ in 0..2 {
        assert_eq!(post(&router, "k", LETTER).await.0, 503);
    }
    assert_eq!(backend.remembered().await.expect("it can be read"), 0);
    let sink = Sink::start_at(address).await.expect("the port is free");
    assert_eq!(post(&router, "k", LETTER).await.0, 200);
    assert_eq!(sink.mails().len(), 1);
}

#[tokio::test]
async fn what_the_server_did_not_take_is_tried_again() {
    let world = World::new(|_| {}).await;
    for behaviour in [
        Behaviour::RefuseRecipient(451),
        Behaviour::RefuseMail(451),
        Behaviour::CloseBeforeMail,
    ] {
        world.sink.behave(behaviour);
        assert_eq!(world.post("k", LETTER).await.0, 503, "{behaviour:?}");
    }
    world.sink.behave(Behaviour::Accept);
    assert_eq!(world.post("k", LETTER).await.0, 200);
    assert_eq!(world.mails(), 1);
}

#[tokio::test]
async fn what_the_server_refuses_for_good_is_not_tried_again() {
    let world = World::new(|_| {}).await;
    for (key, behaviour) in [
        ("a", Behaviour::RefuseRecipient(550)),
        ("b", Behaviour::RefuseMail(554)),
    ] {
        world.sink.behave(behaviour);
        let refused = world.post(key, LETTER).await;
        assert_eq!(refused.0, 400);
        world.sink.behave(Behaviour::Accept);
        assert_eq!(world.post(key, LETTER).await, refused);
    }
    assert_eq!(world.mails(), 0);
}

#[tokio::test]
async fn at_most_once_a_mail_of_unknown_outcome_is_not_sent_again() {
    for behaviour in [Behaviour::CloseAfterMail, Behaviour::HangAfterMail] {
        let world = World::new(|settings| settings.patience = Duration::from_secs(2)).await;
        world.sink.behave(behaviour);
        assert_eq!(world.post("k", LETTER).await.0, 502);
        world.sink.behave(Behaviour::Accept);
        for _ in 0..2 {
            let (status, body) = world.post("k", LETTER).await;
            assert_eq!(status, 409);
            assert!(body.contains("#outcome-unknown"), "{body}");
        }
        assert_eq!(world.mails(), 1);
    }
}

#[tokio::test]
async fn at_least_once_it_is_and_can_be_recognised() {
    let world = World::new(|settings| settings.policy = Policy::AtLeastOnce).await;
    world.sink.behave(Behaviour::CloseAfterMail);
    assert_eq!(world.post("k", LETTER).await.0, 502);
    world.sink.behave(Behaviour::Accept);
    for _ in 0..2 {
        assert_eq!(world.post("k", LETTER).await.0, 200);
    }
    let mails = world.sink.mails();
    assert_eq!(mails.len(), 2);
    assert_eq!(mails[0].header("message-id"), mails[1].header("message-id"));
    assert!(mails[0].header("message-id").is_some());
}

#[tokio::test]
async fn what_is_no_letter_is_refused() {
    let world = World::new(|_| {}).await;
    for (key, body) in [
        "",
        "[]",
        r#"{"to": "ann@example.org", "subject": "s"}"#,
        r#"{"to": "ann@example.org", "subject": "s", "body": "b", "bcc": "bob@example.org"}"#,
        r#"{"to": "ann", "subject": "s", "body": "b"}"#,
        r#"{"to": "ann@example.org, bob@example.org", "subject": "s", "body": "b"}"#,
        r#"{"to": "ann@example.org>\r\nRCPT TO:<bob@example.org", "subject": "s", "body": "b"}"#,
        r#"{"to": "ann@example.org\r\nBcc: bob@example.org", "subject": "s", "body": "b"}"#,
        r#"{"to": "ann@example.org", "subject": "s\r\nBcc: bob@example.org", "body": "b"}"#,
    ]
    .iter()
    .enumerate()
    {
        let (status, answer) = world.post(&format!("key {key}"), body).await;
        assert_eq!(status, 400, "{body}: {answer}");
    }
    assert_eq!(world.mails(), 0);
    // What looks like SMTP within the text is text.
    let body =
        r#"{"to": "ann@example.org", "subject": "s", "body": "a\r\n.\r\nMAIL FROM:<x@y.z>\r\n"}"#;
    assert_eq!(world.post("k", body).await.0, 200);
    let mails = world.sink.mails();
    assert_eq!(mails.len(), 1);
    assert!(mails[0].body().contains("MAIL FROM:<x@y.z>"));
}

#[tokio::test]
async fn without_the_token_nothing_is_sent() {
    let world = World::new(|settings| settings.token = Some("secret".to_owned())).await;
    for given in [
        None,
        Some("secret"),
        Some("Bearer wrong"),
        Some("Bearer secret2"),
        Some("bearer secret"),
    ] {
        let mut request = request("k", LETTER);
        if let Some(given) = given {
            request.headers_mut().insert(
                "authorization",
                given.parse().expect("it may stand in a header"),
            );
        }
        assert_eq!(send(&world.router, request).await.0, 401, "{given:?}");
    }
    let mut request = request("k", LETTER);
    request.headers_mut().insert(
        "authorization",
        "Bearer secret".parse().expect("it may stand in a header"),
    );
    assert_eq!(send(&world.router, request).await.0, 200);
    assert_eq!(world.mails(), 1);
}

#[tokio::test]
async fn enough_senders_must_ask_for_it() {
    let from = |last: u8, forwarded: Option<&str>| {
        let mut request = request("k", LETTER);
        request
            .extensions_mut()
            .insert(ConnectInfo(SocketAddr::from(([10, 0, 0, last], 1))));
        if let Some(forwarded) = forwarded {
            request.headers_mut().insert(
                "x-forwarded-for",
                forwarded.parse().expect("it may stand in a header"),
            );
        }
        request
    };
    let world = World::new(|settings| settings.quorum = Some((5, Duration::from_secs(60)))).await;
    // A proxy that isn't ours is not believed.
    let four = (1..=4)
        .chain([1, 2, 3, 4])
        .map(|last| send(&world.router, from(last, Some("10.0.0.99"))));
    assert!(
        timeout(Duration::from_millis(200), join_all(four))
            .await
            .is_err(),
        "they wait"
    );
    assert_eq!(world.mails(), 0);
    let answers = join_all((1..=13).map(|last| send(&world.router, from(last, None)))).await;
    assert!(
        answers
            .iter()
            .all(|answer| *answer == answers[0] && answer.0 == 200),
        "{answers:?}"
    );
    assert_eq!(world.mails(), 1);

    let world = World::new(|settings| {
        (settings.quorum, settings.proxies) = (Some((2, Duration::from_secs(60))), 1)
    })
    .await;
    let answers = join_all(
        ["10.1.1.1", "10.1.1.2"].map(|forwarded| send(&world.router, from(1, Some(forwarded)))),
    )
    .await;
    assert!(answers.iter().all(|answer| answer.0 == 200));
    assert_eq!(world.mails(), 1);
}
