//! The payout example: two canisters that can't commit together, and every payout is made once.

use std::time::Duration;

use candid::{Nat, encode_args};
use example_ledger::{
    init::{InitArgs, LedgerArg},
    types::Account,
};
use integration_tests::{LEDGER, PAYOUT, user};
use local_replica::{
    explore::{FaultKind, Message, System, View},
    in_process::InProcess,
};
use serde_bytes::ByteBuf;

use crate::{
    parked::THREE_ATTEMPTS,
    types::{Audit, CreditArg, Paid, PayoutArg, PayoutError, Refusal, Unresolved},
    world::{
        ALL, CLIENT, Clients, OF_MESSAGES, RECOVERABLE, answer, ask, bounds,
        but_second_upgrades_in_flight, create, explore, install, pairs,
    },
};

const CREDIT: u64 = 1_000;
const AMOUNT: u64 = 300;
const TOKENS: u64 = 100_000;
/// Who is paid.
const PAID: u8 = 2;
/// More than it takes to come to an end after a fault, and less than the window of a day.
const MINUTES: u64 = 10;

#[derive(Clone, Copy)]
struct World {
    payout: candid::Principal,
    ledger: candid::Principal,
    clients: Clients,
}

fn account(owner: candid::Principal) -> Account {
    Account {
        owner,
        subaccount: None,
    }
}

/// A user with a balance, and a payout canister with tokens on the ledger.
fn world(clients: Clients) -> (World, System) {
    let mut host = InProcess::new();
    let [payout, ledger] = [(); 2].map(|()| create(&mut host));
    let init = LedgerArg::Init(InitArgs {
        token_name: "Test".into(),
        token_symbol: "TST".into(),
        decimals: None,
        transfer_fee: 10u64.into(),
        minting_account: account(user(99)),
        initial_balances: vec![(account(payout), TOKENS.into())],
        metadata: vec![],
        max_memo_length: None,
        archives: None,
    });
    install(&mut host, ledger, LEDGER, (init,));
    install(&mut host, payout, PAYOUT, (ledger,));
    let credit = CreditArg {
        request_id: ByteBuf::from([0]),
        owner: user(CLIENT),
        amount: CREDIT,
    };
    // Who credits can't be anonymous, as the others are who look.
    let operator = user(0);
    let canister = host.replica.canisters.get_mut(&payout);
    let canister = canister.expect("it exists");
    canister.settings.controllers.push(operator);
    let credit = encode_args((credit,)).expect("it encodes");
    let credited = host.update(operator, payout, "credit", credit);
    credited.expect("it is credited");
    let arg = PayoutArg {
        request_id: ByteBuf::from([1]),
        to: user(PAID),
        amount: AMOUNT,
    };
    let arg = encode_args((arg,)).expect("it encodes");
    let message = Message::new(user(CLIENT), payout, "payout", arg);
    let system = System::new(host)
        .name(payout, "payout")
        .name(ledger, "ledger")
        .bounds(bounds(Duration::from_secs(MINUTES * 60)));
    let messages = clients.messages(&message).into_iter();
    let world = World {
        payout,
        ledger,
        clients,
    };
    (world, messages.fold(system, System::message))
}

impl World {
    fn audit(self, view: &mut View<'_>) -> Result<Audit, String> {
        ask(view, self.payout, "audit", ())
    }

    /// What was transferred on the ledger.
    fn transferred(self, view: &mut View<'_>) -> Result<u64, String> {
        let paid = (account(user(PAID)),);
        let balance: Nat = ask(view, self.ledger, "icrc1_balance_of", paid)?;
        u64::try_from(balance.0).map_err(|error| error.to_string())
    }

    /// The books add up; the ledger has transferred what is paid, and may have what is reserved.
    fn books_hold(self, view: &mut View<'_>) -> Result<(), String> {
        let (audit, transferred) = (self.audit(view)?, self.transferred(view)?);
        let paid = transferred == audit.paid;
        let under_way = transferred == AMOUNT && (audit.paid, audit.reserved) == (0, AMOUNT);
        match audit.holds && audit.credited == CREDIT && (paid || under_way) {
            true => Ok(()),
            false => Err(format!("{audit:?}, and {transferred} transferred")),
        }
    }

    /// Whether some client knows that the request was accepted. None is told anything but the block, or to wait for it.
    fn is_known(self, view: &View<'_>) -> Result<bool, String> {
        let mut is_known = false;
        for message in 0..1 + usize::from(self.clients != Clients::NobodyRetries) {
            is_known |= match answer::<Paid>(view, message)? {
                None | Some(Err(_)) => false,
                Some(Ok(Ok(block))) if block == 1u8 => true,
                Some(Ok(Err(PayoutError::Idempotency(Refusal::InProgress { .. })))) => true,
                Some(Ok(answer)) => return Err(format!("message {message} is told {answer:?}")),
            };
        }
        Ok(is_known)
    }

    /// It is paid, or was never accepted; and then no client was told that it was.
    fn has_ended(self, view: &mut View<'_>) -> Result<(), String> {
        let (audit, transferred) = (self.audit(view)?, self.transferred(view)?);
        let unresolved: Result<Vec<Unresolved>, Refusal> =
            ask(view, self.payout, "unresolved", ())?;
        let is_paid = (audit.balances, audit.reserved, audit.paid, audit.open)
            == (CREDIT - AMOUNT, 0, AMOUNT, 0)
            && (audit.payments, transferred) == (1, AMOUNT);
        let is_absent = (audit.balances, audit.open, transferred) == (CREDIT, 0, 0);
        let known = self.is_known(view)?;
        let is_settled = unresolved.as_ref().is_ok_and(Vec::is_empty);
        match is_settled && (is_paid || is_absent && !known) {
            true => Ok(()),
            false => Err(format!(
                "{audit:?}, {transferred}, {unresolved:?}, known: {known}"
            )),
        }
    }
}

fn comes_to_its_end(clients: Clients, faults: u32, kinds: &[FaultKind]) {
    let (world, system) = world(clients);
    let system = but_second_upgrades_in_flight(system)
        .faults(faults, kinds.iter().copied())
        .always("the books add up, here and there", move |view| {
            world.books_hold(view)
        })
        .always("nobody is told anything else", move |view| {
            world.is_known(view).map(drop)
        })
        .finally("it is paid once, or was never accepted", move |view| {
            world.has_ended(view)
        });
    explore(&format!("payout, {faults} faults"), clients, system);
}

#[test]
fn one_fault() {
    for clients in Clients::ALL {
        comes_to_its_end(clients, 1, &ALL);
    }
}

#[test]
fn two_faults_nobody_retries() {
    comes_to_its_end(Clients::NobodyRetries, 2, &RECOVERABLE);
}

#[test]
fn two_faults_of_messages() {
    for clients in [Clients::RetriedAtOnce, Clients::RetriedLater] {
        comes_to_its_end(clients, 2, &OF_MESSAGES);
    }
}

#[test]
#[ignore = "minutes; cargo test --workspace --test exploration -- --ignored --test-threads 1"]
fn two_faults_a_pair_at_a_time() {
    for clients in [Clients::RetriedAtOnce, Clients::RetriedLater] {
        for kinds in pairs(&RECOVERABLE) {
            comes_to_its_end(clients, 2, &kinds);
        }
    }
}

/// A ledger that is gone can't say what it did, so nobody guesses: the amount stays reserved, and the payout goes on asking. This searches
/// the first three times.
#[test]
fn a_ledger_that_is_gone_costs_nobody_anything() {
    let (world, system) = world(Clients::NobodyRetries);
    let system = system
        .bounds(bounds(THREE_ATTEMPTS))
        .faults(1, [FaultKind::Uninstall])
        .faults_of([world.ledger])
        .always("the books add up", move |view| {
            let audit = world.audit(view)?;
            match audit.holds && audit.credited == CREDIT {
                true => Ok(()),
                false => Err(format!("{audit:?}")),
            }
        })
        .finally("it is paid, or reserved", move |view| {
            let audit = world.audit(view)?;
            let is_paid = (audit.paid, audit.reserved) == (AMOUNT, 0);
            let is_reserved = (audit.paid, audit.reserved) == (0, AMOUNT);
            match is_paid || is_reserved {
                true => Ok(()),
                false => Err(format!("{audit:?}")),
            }
        });
    explore("payout, ledger uninstalled", Clients::NobodyRetries, system);
}
