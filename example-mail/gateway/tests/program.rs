//! The program, killed when the SMTP server has the mail and the gateway doesn't know it yet.
#![forbid(unsafe_code)]

use smtp_sink::{Behaviour, Sink};
use std::{
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process,
    time::{sleep, timeout},
};

/// The program, which ends with this.
struct Program {
    child: process::Child,
    address: SocketAddr,
}

impl Program {
    async fn start(database: &Path, sink: &Sink, policy: &str) -> Self {
        let mut child = process::Command::new(env!("CARGO_BIN_EXE_mail-gateway"))
            .args([
                "--listen",
                "127.0.0.1:0",
                "--from",
                "gateway@example.com",
                "--policy",
                policy,
            ])
            .args(["--smtp", &sink.address().to_string(), "--database"])
            .arg(database)
            .env("GATEWAY_TOKEN", "secret")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it can be run");
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().expect("it is piped"));
        let read = timeout(Duration::from_secs(30), output.read_line(&mut line));
        read.await.expect("it starts").expect("it is text");
        let address = line
            .trim()
            .strip_prefix("listening on ")
            .expect("it says where");
        Self {
            address: address.parse().expect("it is an address"),
            child,
        }
    }

    async fn begin(&self) -> TcpStream {
        let letter = r#"{"to": "ann@example.org", "subject": "s", "body": "b"}"#;
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let request = format!(
            "POST /send HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: Bearer secret\r\n\
             idempotency-key: \"k\"\r\ncontent-length: {}\r\n\r\n{letter}",
            letter.len()
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it listens");
        stream
    }

    /// The status line, and whether the answer is a replay.
    async fn post(&self) -> (String, bool) {
        let mut answer = String::new();
        let mut stream = self.begin().await;
        let read = timeout(Duration::from_secs(30), stream.read_to_string(&mut answer));
        read.await.expect("it is answered").expect("it is text");
        let status = answer.lines().next().unwrap_or_default().to_owned();
        (status, answer.contains("idempotency-replayed: true"))
    }

    async fn kill(mut self) {
        self.child.kill().await.expect("it is ours");
    }
}

/// What the next gateway answers, and how many mails there are then.
async fn killed_after_the_mail(policy: &str) -> ([(String, bool); 2], usize) {
    let directory = TempDir::new().expect("there is room");
    let database = directory.path().join("mail.db");
    let sink = Sink::start().await.expect("there is a port");
    sink.behave(Behaviour::HangAfterMail);
    let program = Program::start(&database, &sink, policy).await;
    let connection = program.begin().await;
    while sink.mails().is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    program.kill().await;
    drop(connection);
    sink.behave(Behaviour::Accept);
    let program = Program::start(&database, &sink, policy).await;
    let answers = [program.post().await, program.post().await];
    (answers, sink.mails().len())
}

#[tokio::test]
async fn at_most_once_a_killed_gateway_sends_nothing_again() {
    let (answers, mails) = killed_after_the_mail("at-most-once").await;
    let conflict = || ("HTTP/1.1 409 Conflict".to_owned(), false);
    assert_eq!((answers, mails), ([conflict(), conflict()], 1));
}

#[tokio::test]
async fn at_least_once_a_killed_gateway_sends_it_again() {
    let (answers, mails) = killed_after_the_mail("at-least-once").await;
    let ok = |replayed| ("HTTP/1.1 200 OK".to_owned(), replayed);
    assert_eq!((answers, mails), ([ok(false), ok(true)], 2));
}

#[test]
fn it_does_not_start_without_a_token() {
    let child: std::io::Result<Child> = Command::new(env!("CARGO_BIN_EXE_mail-gateway"))
        .args(["--from", "gateway@example.com"])
        .env_remove("GATEWAY_TOKEN")
        .stderr(Stdio::piped())
        .spawn();
    let output = child
        .expect("it can be run")
        .wait_with_output()
        .expect("it ends");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("GATEWAY_TOKEN"));
}
