//! An SMTP server for tests: it keeps each mail that it has accepted, and fails where it is told to.
#![forbid(unsafe_code)]

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// A server on loopback; it ends, with its connections, when this is dropped.
#[derive(Debug)]
pub struct Sink {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    mails: Mutex<Vec<Mail>>,
    behaviour: Mutex<Behaviour>,
}

/// A mail that was accepted, or would have been.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The address in `MAIL FROM`.
    pub from: String,
    /// The addresses in `RCPT TO`.
    pub to: Vec<String>,
    /// Headers and body, with lines that end in `\r\n`, as they were before dots were doubled.
    pub data: String,
}

impl Mail {
    /// The value of a header that takes one line.
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.data.split("\r\n\r\n").next()?;
        headers.split("\r\n").find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// All below the headers, as it was encoded.
    pub fn body(&self) -> &str {
        self.data
            .split_once("\r\n\r\n")
            .map_or("", |(_, body)| body)
    }
}

/// What the server does with the next mails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    /// Accepts them.
    #[default]
    Accept,
    /// Answers `RCPT TO` with this code.
    RefuseRecipient(u16),
    /// Answers the mail itself with this code, and doesn't keep it.
    RefuseMail(u16),
    /// Closes the connection when the mail is to come.
    CloseBeforeMail,
    /// Keeps the mail, and closes the connection without an answer.
    CloseAfterMail,
    /// Keeps the mail, and answers nothing.
    HangAfterMail,
}

impl Sink {
    /// A server on a port that is free.
    ///
    /// # Errors
    /// If there is none.
    pub async fn start() -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// A server at this address, such as that of one that has ended.
    ///
    /// # Errors
    /// If the port isn't free.
    pub async fn start_at(address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let shared = Arc::<Shared>::default();
        Ok(Self {
            address: listener.local_addr()?,
            task: tokio::spawn(serve(listener, Arc::clone(&shared))),
            shared,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The mails that it has kept.
    pub fn mails(&self) -> Vec<Mail> {
        locked(&self.shared.mails).clone()
    }

    /// From now on it does this.
    pub fn behave(&self, behaviour: Behaviour) {
        *locked(&self.shared.behaviour) = behaviour;
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // They end with this.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            // A client that breaks off is none of our business.
            let _ = converse(stream, &shared).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    say(&mut stream, 220, "a sink").await?;
    let mut mail = Mail::default();
    while let Some(line) = line(&mut stream).await? {
        let behaviour = *locked(&shared.behaviour);
        let (command, rest) = line.split_at_checked(4).unwrap_or((&line, ""));
        match &*command.to_ascii_uppercase() {
            "EHLO" => {
                let features = "250-a sink\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n";
                stream.write_all(features.as_bytes()).await?;
            }
            "HELO" | "NOOP" => say(&mut stream, 250, "ok").await?,
            "MAIL" => {
                mail = Mail {
                    from: address(rest),
                    ..Mail::default()
                };
                say(&mut stream, 250, "ok").await?;
            }
            "RCPT" => match behaviour {
                Behaviour::RefuseRecipient(code) => say(&mut stream, code, "refused").await?,
                _ => {
                    mail.to.push(address(rest));
                    say(&mut stream, 250, "ok").await?;
                }
            },
            "DATA" if mail.to.is_empty() => say(&mut stream, 503, "for whom?").await?,
            "DATA" if behaviour == Behaviour::CloseBeforeMail => return Ok(()),
            "DATA" => {
                say(&mut stream, 354, "go on").await?;
                let Some(data) = data(&mut stream).await? else {
                    return Ok(());
                };
                mail.data = data;
                let mail = std::mem::take(&mut mail);
                // As it is told when the mail is there.
                let behaviour = *locked(&shared.behaviour);
                if let Behaviour::RefuseMail(code) = behaviour {
                    say(&mut stream, code, "refused").await?;
                    continue;
                }
                locked(&shared.mails).push(mail);
                match behaviour {
                    Behaviour::CloseAfterMail => return Ok(()),
                    Behaviour::HangAfterMail => std::future::pending().await,
                    _ => say(&mut stream, 250, "accepted").await?,
                }
            }
            "RSET" => {
                mail = Mail::default();
                say(&mut stream, 250, "ok").await?;
            }
            "QUIT" => return say(&mut stream, 221, "bye").await,
            _ => say(&mut stream, 500, "what?").await?,
        }
    }
    Ok(())
}

/// A line without its end; `None` at the end of the connection.
async fn line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    let read = stream.read_line(&mut line).await?;
    let whole = line.strip_suffix("\r\n").map(str::to_owned);
    Ok(whole.filter(|_| read > 0))
}

/// A mail; `None` if the connection ends before it does.
async fn data(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut data = String::new();
    while let Some(line) = line(stream).await? {
        if line == "." {
            return Ok(Some(data));
        }
        data.push_str(line.strip_prefix('.').unwrap_or(&line));
        data.push_str("\r\n");
    }
    Ok(None)
}

async fn say(stream: &mut BufReader<TcpStream>, code: u16, text: &str) -> io::Result<()> {
    stream
        .write_all(format!("{code} {text}\r\n").as_bytes())
        .await
}

/// The address between `<` and `>`.
fn address(text: &str) -> String {
    let after = text.split_once('<').map_or("", |(_, after)| after);
    after.split('>').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn says(sink: &Sink, client: &str) -> String {
        let mut stream = TcpStream::connect(sink.address())
            .await
            .expect("it listens");
        stream
            .write_all(client.as_bytes())
            .await
            .expect("it listens");
        let mut server = String::new();
        stream
            .read_to_string(&mut server)
            .await
            .expect("it is text");
        server
    }

    const MAIL: &str = "EHLO me\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nSubject: hello\r\n\r\n..one\r\ntwo\r\n.\r\nQUIT\r\n";

    fn codes(server: &str) -> Vec<&str> {
        server
            .lines()
            .filter_map(|line| line.split(' ').next())
            .filter(|code| code.len() == 3)
            .collect()
    }

    #[tokio::test]
    async fn a_mail_is_kept() {
        let sink = Sink::start().await.expect("there is a port");
        let server = says(&sink, MAIL).await;
        assert_eq!(
            codes(&server),
            ["220", "250", "250", "250", "354", "250", "221"]
        );
        let mail = Mail {
            from: "a@b.c".to_owned(),
            to: vec!["d@e.f".to_owned()],
            data: "Subject: hello\r\n\r\n.one\r\ntwo\r\n".to_owned(),
        };
        assert_eq!(
            (mail.header("subject"), mail.body()),
            (Some("hello"), ".one\r\ntwo\r\n")
        );
        assert_eq!(sink.mails(), [mail]);
    }

    #[tokio::test]
    async fn it_fails_where_it_is_told_to() {
        let sink = Sink::start().await.expect("there is a port");
        for (behaviour, last, kept) in [
            (Behaviour::RefuseRecipient(550), "221", 0),
            (Behaviour::RefuseMail(451), "221", 0),
            (Behaviour::CloseBeforeMail, "250", 0),
            (Behaviour::CloseAfterMail, "354", 1),
            (Behaviour::Accept, "221", 2),
        ] {
            sink.behave(behaviour);
            let mail = match behaviour {
                // Without a recipient it takes no mail.
                Behaviour::RefuseRecipient(_) => {
                    "EHLO me\r\nMAIL FROM:<a@b.c>\r\nRCPT TO:<d@e.f>\r\nDATA\r\nQUIT\r\n"
                }
                _ => MAIL,
            };
            let mut stream = TcpStream::connect(sink.address())
                .await
                .expect("it listens");
            stream.write_all(mail.as_bytes()).await.expect("it listens");
            let mut server = vec![];
            // It may be reset, as not all was read.
            let _ = stream.read_to_end(&mut server).await;
            let server = String::from_utf8(server).expect("it is text");
            assert_eq!(
                codes(&server).last(),
                Some(&last),
                "{behaviour:?}: {server}"
            );
            assert_eq!(sink.mails().len(), kept, "{behaviour:?}");
        }
    }

    #[tokio::test]
    async fn a_mail_that_breaks_off_is_not_kept() {
        let sink = Sink::start().await.expect("there is a port");
        let mut stream = TcpStream::connect(sink.address())
            .await
            .expect("it listens");
        let half = &MAIL[..MAIL.len() - 10];
        stream.write_all(half.as_bytes()).await.expect("it listens");
        stream.shutdown().await.expect("it listens");
        let mut server = String::new();
        stream
            .read_to_string(&mut server)
            .await
            .expect("it is text");
        assert_eq!(sink.mails(), []);
    }
}
