//! Over loopback, with connections that break.

use crate::world::{Any, World, directory, settled};
use axum::extract::ConnectInfo;
use futures_util::future::join_all;
use idempotency_receiver::{IdempotencyLayer, Limits, MemoryBackend, Quorum, forwarded_for};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    time::timeout,
};

async fn serve<B: idempotency_receiver::backend::Backend>(
    world: &World,
    layer: IdempotencyLayer<B>,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let service = world
        .router(layer)
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

/// A request from this address, as it goes over the wire.
async fn begin(server: SocketAddr, from: Ipv4Addr, headers: &str, body: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there is room");
    socket
        .bind((from, 0).into())
        .expect("all of 127/8 is this machine");
    let mut stream = socket.connect(server).await.expect("it listens");
    let request = format!(
        "POST /orders HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nidempotency-key: \"k\"\r\n{headers}\r\n{body}"
    );
    stream
        .write_all(request.as_bytes())
        .await
        .expect("it listens");
    stream
}

/// The answer, without its date.
async fn end(mut stream: TcpStream) -> String {
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    timeout(Duration::from_secs(30), read)
        .await
        .expect("it is answered")
        .expect("it is text");
    let lines = answer
        .split("\r\n")
        .filter(|line| !line.starts_with("date: "));
    lines.collect::<Vec<_>>().join("\r\n")
}

async fn post(server: SocketAddr, from: Ipv4Addr, body: &str) -> String {
    let length = format!("content-length: {}\r\n", body.len());
    end(begin(server, from, &length, body).await).await
}

async fn thirteen(server: SocketAddr, body: &str) -> Vec<String> {
    join_all((1..=13).map(|last| post(server, Ipv4Addr::new(127, 0, 0, last), body))).await
}

fn by_address(needed: usize) -> Quorum {
    Quorum::new(needed, Duration::from_secs(60)).from(|parts| {
        let ConnectInfo(address) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(address.ip().to_string())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn thirteen_copies_at_once_have_one_effect_and_equal_answers() {
    let directory = directory();
    for backend in Any::both(&directory, Limits::default()) {
        for quorum in [1, 5, 13] {
            let world = World::new();
            let layer = world
                .layer(backend.clone())
                .name(quorum.to_string())
                .replay_marker(None);
            let server = serve(&world, layer.quorum(by_address(quorum))).await;
            let answers = thirteen(server, "one").await;
            assert!(
                answers[0].starts_with("HTTP/1.1 201 Created"),
                "{}",
                answers[0]
            );
            assert!(answers[0].ends_with("effect 1\0"));
            assert!(answers.iter().all(|answer| *answer == answers[0]));
            assert_eq!(world.effects().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_is_one_sender() {
    let world = World::new();
    let layer = world
        .layer(MemoryBackend::new(Limits::default()))
        .quorum(by_address(2));
    let server = serve(&world, layer.wait(Duration::from_millis(400), 64)).await;
    let answers = join_all((0..13).map(|_| post(server, Ipv4Addr::LOCALHOST, "one"))).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.starts_with("HTTP/1.1 503"))
    );
    assert_eq!(world.effects().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_the_address_that_it_was_called_from_counts() {
    let world = World::new();
    let quorum = Quorum::new(2, Duration::from_secs(60)).from(|parts| forwarded_for(parts, 1));
    let layer = world
        .layer(MemoryBackend::new(Limits::default()))
        .quorum(quorum);
    let server = serve(&world, layer.wait(Duration::from_millis(400), 64)).await;
    let from = async |forwarded: &str| {
        let headers = format!("content-length: 3\r\nx-forwarded-for: {forwarded}\r\n");
        end(begin(server, Ipv4Addr::LOCALHOST, &headers, "one").await).await
    };
    // The client wrote the first one itself.
    assert!(from("9.9.9.1, 1.1.1.1").await.starts_with("HTTP/1.1 503"));
    assert!(from("9.9.9.2, 1.1.1.1").await.starts_with("HTTP/1.1 503"));
    assert!(from("9.9.9.2, 1.1.1.2").await.starts_with("HTTP/1.1 201"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_does_not_stop_what_it_began() {
    let directory = directory();
    for backend in Any::both(&directory, Limits::default()) {
        let world = World::new();
        let server = serve(&world, world.layer(backend)).await;
        let client = begin(server, Ipv4Addr::LOCALHOST, "content-length: 4\r\n", "hold").await;
        world.reach(1).await;
        drop(client);
        settled().await;
        world.release(1);
        let answer = post(server, Ipv4Addr::LOCALHOST, "hold").await;
        assert!(answer.ends_with("effect 1\0"));
        assert_eq!(world.effects().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_waited_and_gone_leaves_room_for_others() {
    let world = World::new();
    let server = serve(
        &world,
        world
            .layer(MemoryBackend::new(Limits::default()))
            .wait(Duration::from_secs(20), 3),
    )
    .await;
    let first = begin(server, Ipv4Addr::LOCALHOST, "content-length: 4\r\n", "hold").await;
    world.reach(1).await;
    for _ in 0..20 {
        let two =
            [(); 2].map(|()| begin(server, Ipv4Addr::LOCALHOST, "content-length: 4\r\n", "hold"));
        let two = join_all(two).await;
        settled().await;
        drop(two);
        settled().await;
    }
    // The last two may not be gone yet: then it is refused at once.
    let mut refused = 0;
    let last = loop {
        let mut last = begin(server, Ipv4Addr::LOCALHOST, "content-length: 4\r\n", "hold").await;
        if timeout(Duration::from_millis(100), last.readable())
            .await
            .is_err()
        {
            break last;
        }
        refused += 1;
        assert!(refused < 100, "they are still there");
        last.shutdown().await.expect("it listens");
    };
    world.release(1);
    let answers = (end(first).await, end(last).await);
    assert!(answers.0.starts_with("HTTP/1.1 201"));
    assert_eq!(answers.0, answers.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_come_has_no_effect() {
    let world = World::new();
    let layer = world.layer(MemoryBackend::new(Limits::default()));
    let server = serve(&world, layer.body_limits(100, Duration::from_secs(1))).await;
    let slow = begin(server, Ipv4Addr::LOCALHOST, "content-length: 10\r\n", "hal").await;
    assert!(end(slow).await.starts_with("HTTP/1.1 408"));
    drop(begin(server, Ipv4Addr::LOCALHOST, "content-length: 10\r\n", "hal").await);
    let announced = begin(server, Ipv4Addr::LOCALHOST, "content-length: 101\r\n", "").await;
    assert!(end(announced).await.starts_with("HTTP/1.1 413"));
    let chunked = format!("40\r\n{0}\r\n40\r\n{0}\r\n0\r\n\r\n", "x".repeat(64));
    let chunked = begin(
        server,
        Ipv4Addr::LOCALHOST,
        "transfer-encoding: chunked\r\n",
        &chunked,
    )
    .await;
    assert!(end(chunked).await.starts_with("HTTP/1.1 413"));
    let broken = begin(
        server,
        Ipv4Addr::LOCALHOST,
        "transfer-encoding: chunked\r\n",
        "zz\r\n",
    )
    .await;
    assert!(end(broken).await.starts_with("HTTP/1.1 400"));
    assert_eq!(world.effects().len(), 0);
    // The key is free.
    assert!(
        post(server, Ipv4Addr::LOCALHOST, "one")
            .await
            .starts_with("HTTP/1.1 201")
    );
}
