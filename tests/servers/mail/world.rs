//! The canister that sends mail, its gateway, and the mail server behind that.

use candid::{CandidType, Deserialize, Principal};
use idempotency_core::{
    IdempotencyError,
    outbox::{self, Ended, MessageId},
};
use idempotency_receiver::{Limits, SqliteBackend};
use integration_tests::{Canister, MAIL, outside::Outside};
use mail_gateway::Settings;
use pocket_ic::PocketIc;
use serde_bytes::ByteBuf;
use smtp_sink::Sink;
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpListener, runtime::Runtime};

const HOST: &str = "gateway.example";
const TOKEN: &str = "a-token";

/// As the canister has it.
#[derive(CandidType, Clone)]
pub(super) struct Gateway {
    url: String,
    token: String,
    is_replicated: bool,
}

impl Gateway {
    pub(super) fn new(is_replicated: bool) -> Self {
        Self {
            url: format!("https://{HOST}/send"),
            token: TOKEN.to_owned(),
            is_replicated,
        }
    }

    pub(super) fn at(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            ..Self::new(false)
        }
    }

    pub(super) fn with_token(token: &str) -> Self {
        Self {
            token: token.to_owned(),
            ..Self::new(false)
        }
    }
}

/// As the canister has it.
#[derive(CandidType, Clone)]
pub(super) struct Letter {
    pub(super) request_id: ByteBuf,
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) body: String,
}

impl Letter {
    pub(super) fn new(number: u8) -> Self {
        Self {
            request_id: ByteBuf::from([number]),
            to: "ann@example.org".to_owned(),
            subject: format!("Letter {number}"),
            body: "Dear Ann,\n.\nBob".to_owned(),
        }
    }
}

/// As the canister has it.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum SendMailError {
    Invalid { reason: String },
    TooManyQueued,
    NotQueued { reason: String },
    Idempotency(IdempotencyError),
}

/// As the canister has it.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub(super) struct Mail {
    pub(super) sender: Principal,
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) queued_at: u64,
    pub(super) state: State,
}

/// As the canister has it.
#[derive(CandidType, Deserialize, Clone, Debug, PartialEq)]
pub(super) enum State {
    Queued,
    Sent { message_id: String, at: u64 },
    Failed { reason: String, at: u64 },
    Unknown { reason: String, at: u64 },
}

/// As the canister has it.
#[derive(CandidType, Deserialize, Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) sent: u64,
    pub(super) failed: u64,
    pub(super) unknown: u64,
}

/// As the canister has it.
#[derive(CandidType, Deserialize, Clone, Debug)]
pub(super) struct Overview {
    pub(super) outbox: outbox::Overview,
    pub(super) totals: Totals,
}

fn runtime() -> Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build();
    runtime.expect("a runtime")
}

/// The canister and the world outside of it.
pub(super) struct World<'a> {
    pub(super) canister: Canister<'a>,
    pub(super) outside: Outside,
    /// Of the gateway: whoever serves.
    pub(super) settings: Settings,
    folder: tempfile::TempDir,
    gateway: Option<Runtime>,
    mail_server: Runtime,
    smtp: SocketAddr,
    pub(super) sink: Option<Sink>,
}

impl<'a> World<'a> {
    /// Everything is there.
    pub(super) fn new(replica: &'a PocketIc, gateway: Gateway, set: fn(&mut Settings)) -> Self {
        let mail_server = runtime();
        let sink = mail_server.block_on(Sink::start()).expect("a port");
        let smtp = sink.address();
        let from = "canister@example.com".parse().expect("an address");
        let mut settings = Settings::new(smtp.to_string(), from, Some(TOKEN.to_owned()));
        set(&mut settings);
        let mut world = Self {
            canister: Canister::install(replica, MAIL, (gateway,)),
            outside: Outside::new(14, Vec::<(String, SocketAddr)>::new()),
            settings,
            folder: tempfile::tempdir().expect("a folder for the gateway's records"),
            gateway: None,
            mail_server,
            smtp,
            sink: Some(sink),
        };
        world.open_gateway();
        world
    }

    /// Starts the gateway on another port, with the records that are there.
    pub(super) fn open_gateway(&mut self) {
        let gateway = runtime();
        let (settings, folder) = (self.settings.clone(), self.folder.path());
        let address = gateway.block_on(async {
            let records = SqliteBackend::open(folder.join("mail.db"), Limits::default());
            let router = mail_gateway::router(settings, records.expect("the records open"));
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let address = listener.local_addr().expect("the port's number");
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            tokio::spawn(async move { axum::serve(listener, service).await });
            address
        });
        self.outside.set_server(HOST, address);
        self.gateway = Some(gateway);
    }

    /// As a process that is killed: what it was doing is not done.
    pub(super) fn kill_gateway(&mut self) {
        self.outside.remove_server(HOST);
        let gateway = self.gateway.take().expect("it runs");
        gateway.shutdown_background();
    }

    /// Another server is at the gateway's address.
    pub(super) fn replace_gateway(&mut self, router: axum::Router) {
        self.kill_gateway();
        let gateway = runtime();
        let listener = gateway.block_on(TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("the port's number");
        gateway.spawn(async move { axum::serve(listener, router).await });
        self.outside.set_server(HOST, address);
        self.gateway = Some(gateway);
    }

    /// There is no mail server.
    pub(super) fn close_mail_server(&mut self) {
        self.sink = None;
    }

    /// There is one again, at the same address.
    pub(super) fn open_mail_server(&mut self) {
        let sink = self.mail_server.block_on(Sink::start_at(self.smtp));
        self.sink = Some(sink.expect("the port is free"));
    }

    /// What has arrived.
    pub(super) fn mails(&self) -> Vec<smtp_sink::Mail> {
        self.sink.as_ref().map(Sink::mails).unwrap_or_default()
    }

    pub(super) fn behave(&self, behaviour: smtp_sink::Behaviour) {
        self.sink.as_ref().expect("it is there").behave(behaviour);
    }

    pub(super) fn send(
        &self,
        sender: Principal,
        letter: &Letter,
    ) -> Result<MessageId, SendMailError> {
        let sent = self.canister.update(sender, "send_mail", (letter.clone(),));
        sent.expect("the canister answers")
    }

    /// For whom it asks.
    pub(super) fn mail(&self, asker: Principal, id: MessageId) -> Option<Mail> {
        let mail = self.canister.query(asker, "mail", (id,));
        mail.expect("the canister answers")
    }

    pub(super) fn state(&self, sender: Principal, id: MessageId) -> State {
        self.mail(sender, id).expect("it is the sender's").state
    }

    pub(super) fn overview(&self) -> Overview {
        let overview = self.canister.query(operator(), "overview", ());
        let overview: Result<_, IdempotencyError> = overview.expect("for a controller");
        overview.expect("an outbox that is not damaged")
    }

    pub(super) fn dead_letters(&self) -> Vec<Ended> {
        let letters = self
            .canister
            .query(operator(), "dead_letters", (None::<MessageId>,));
        let letters: Result<_, IdempotencyError> = letters.expect("for a controller");
        letters.expect("an outbox that is not damaged")
    }

    /// Calls `resend` or `dismiss`.
    pub(super) fn operate(&self, method: &str, id: MessageId) -> bool {
        let done = self.canister.update(operator(), method, (id,));
        let done: Result<_, IdempotencyError> = done.expect("for a controller");
        done.expect("an outbox that is not damaged")
    }

    pub(super) fn upgrade(&self) {
        let upgraded = self.canister.upgrade(MAIL, ());
        upgraded.expect("everything opens again");
    }

    /// Sends what is to be sent, brings answers back, and lets a minute pass.
    pub(super) fn step(&mut self) {
        let replica = self.begin_step();
        if self.outside.unanswered() > 0 {
            self.outside.let_time_out(replica);
        }
        self.end_step();
    }

    /// The canister is upgraded while its outcalls are under way, and their answers come too late.
    pub(super) fn step_and_upgrade(&mut self) {
        let replica = self.begin_step();
        self.upgrade();
        self.outside.let_time_out(replica);
        self.end_step();
    }

    fn begin_step(&mut self) -> &'a PocketIc {
        let replica = self.canister.replica();
        for _ in 0..3 {
            replica.tick();
        }
        self.outside.step(replica);
        replica
    }

    fn end_step(&self) {
        let replica = self.canister.replica();
        for _ in 0..3 {
            replica.tick();
        }
        // What is under way has a minute.
        if replica.get_canister_http().is_empty() {
            replica.advance_time(Duration::from_secs(60));
        }
    }

    /// Until it is so.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool) {
        for _ in 0..500 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("it never is: {:?}", self.overview());
    }

    /// Until nothing is on its way, and some minutes longer.
    pub(super) fn run(&mut self) {
        self.run_until(|world| world.overview().outbox.waiting == 0);
        for _ in 0..3 {
            self.step();
        }
    }
}

/// A controller: who has installed the canister.
pub(super) fn operator() -> Principal {
    Principal::anonymous()
}
