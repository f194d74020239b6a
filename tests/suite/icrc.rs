//! The acceptance suite that the authors of ICRC-1 and ICRC-2 publish, on the example ledger. Each of its tests is one here.

use crate::ledger;
use anyhow::anyhow;
use async_trait::async_trait;
use candid::{
    Principal,
    utils::{ArgumentDecoder, ArgumentEncoder, decode_args, encode_args},
};
use icrc1_test_env::LedgerEnv;
use icrc1_test_suite::{Outcome, TestResult, test_suite};
use integration_tests::{replica, user};
use pocket_ic::{PocketIc, RejectResponse};
use std::{
    cell::Cell,
    fmt::Debug,
    pin::pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::SystemTime,
};

/// The ledger as one of its users sees it.
#[derive(Clone)]
struct User {
    replica: Rc<PocketIc>,
    ledger: Principal,
    principal: Principal,
    /// How many users there are: everyone that the suite makes is new.
    users: Rc<Cell<u8>>,
}

impl User {
    /// The first user, who has all the tokens of a new ledger.
    fn rich() -> Self {
        let replica = replica();
        Self {
            ledger: ledger::install(&replica).id(),
            replica: Rc::new(replica),
            principal: user(ledger::RICH),
            users: Rc::new(Cell::new(ledger::RICH)),
        }
    }
}

fn decoded<Output: for<'a> ArgumentDecoder<'a>>(
    answer: Result<Vec<u8>, RejectResponse>,
) -> anyhow::Result<Output> {
    let reply = answer.map_err(|reject| anyhow!("{reject:?}"))?;
    Ok(decode_args(&reply)?)
}

#[async_trait(?Send)]
impl LedgerEnv for User {
    fn fork(&self) -> Self {
        let number = self.users.get() + 1;
        self.users.set(number);
        Self {
            principal: user(number),
            ..self.clone()
        }
    }

    fn principal(&self) -> Principal {
        self.principal
    }

    async fn time(&self) -> SystemTime {
        let time = self.replica.get_time();
        time.try_into().expect("the replica's time is after 1970")
    }

    async fn query<Input, Output>(&self, method: &str, input: Input) -> anyhow::Result<Output>
    where
        Input: ArgumentEncoder + Debug,
        Output: for<'a> ArgumentDecoder<'a>,
    {
        let arg = encode_args(input)?;
        let answer = self
            .replica
            .query_call(self.ledger, self.principal, method, arg);
        decoded(answer)
    }

    async fn update<Input, Output>(&self, method: &str, input: Input) -> anyhow::Result<Output>
    where
        Input: ArgumentEncoder + Debug,
        Output: for<'a> ArgumentDecoder<'a>,
    {
        let arg = encode_args(input)?;
        let answer = self
            .replica
            .update_call(self.ledger, self.principal, method, arg);
        decoded(answer)
    }
}

/// The result of a future that never waits, as the calls above do not: they block.
fn finished<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("the suite waits for something that is not the ledger"),
    }
}

/// Runs a test on a ledger of its own. A test that is skipped has shown nothing.
fn passes<F: Future<Output = TestResult>>(test: impl FnOnce(User) -> F) {
    match finished(test(User::rich())) {
        Ok(Outcome::Passed) => {}
        Ok(Outcome::Skipped { reason }) => panic!("skipped: {reason}"),
        Err(error) => panic!("{error:#}"),
    }
}

macro_rules! published {
    ($($test:ident)*) => {
        $(#[test]
        fn $test() {
            passes(icrc1_test_suite::$test);
        })*

        /// A later version of the suite may have more.
        #[test]
        fn no_test_is_left_out() {
            let names = [$(stringify!($test)),*];
            assert_eq!(finished(test_suite(User::rich())).len(), names.len());
        }
    };
}

published! {
    icrc1_test_transfer
    icrc1_test_burn
    icrc1_test_metadata
    icrc1_test_supported_standards
    icrc1_test_tx_deduplication
    icrc1_test_memo_bytes_length
    icrc1_test_future_transfer
    icrc1_test_bad_fee
    icrc2_test_supported_standards
    icrc2_test_approve
    icrc2_test_approve_expiration
    icrc2_test_approve_expected_allowance
    icrc2_test_transfer_from
    icrc2_test_transfer_from_insufficient_funds
    icrc2_test_transfer_from_insufficient_allowance
    icrc2_test_transfer_from_self
}
