//! A message of a call, as the library sees it.

use super::super::super::{endpoints::FORGET, user};
use crate::{
    archive::tests::{
        ic::{self, Ic},
        world::CANISTER,
    },
    runtime::{Outgoing, Runtime},
    time::Timestamp,
};
use candid::Principal;
use std::{cell::Cell, future::Future, pin::Pin, rc::Rc, time::Duration};

pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The present message, as the call sees it that it belongs to.
#[derive(Clone)]
pub(super) struct OfCall(pub(super) Rc<Message>);

pub(super) struct Message {
    pub(super) ic: Ic,
    pub(super) argument: Vec<u8>,
    pub(super) instructions: Cell<u64>,
    pub(super) is_first: Cell<bool>,
    pub(super) reply: Cell<Option<Vec<u8>>>,
    pub(super) spawned: Cell<Option<Task>>,
}

impl Runtime for OfCall {
    fn time(&self) -> Timestamp {
        self.0.ic.time()
    }

    fn canister(&self) -> Principal {
        CANISTER
    }

    fn caller(&self) -> Principal {
        user(1)
    }

    fn deadline(&self) -> u64 {
        0
    }

    fn instructions_of_call(&self) -> u64 {
        self.0.instructions.get()
    }

    fn argument(&self) -> Vec<u8> {
        assert!(self.0.is_first.get(), "a callback has none");
        self.0.argument.clone()
    }

    fn method_name(&self) -> String {
        FORGET.name.to_owned()
    }

    fn cycles_available(&self) -> u128 {
        0
    }

    fn accept_cycles(&self, _: u128) {
        unreachable!("nothing costs cycles")
    }

    fn reply(&self, bytes: &[u8]) {
        let before = self.0.reply.replace(Some(bytes.to_vec()));
        assert_eq!(before, None, "a call is answered once");
    }

    fn reject(&self, text: &str) {
        panic!("{text}")
    }

    fn trap(&self, text: &str) -> ! {
        panic!("{text}")
    }

    fn certify(&self, _: &[u8; 32]) {
        unreachable!("the store does not certify")
    }

    fn may_certify(&self) -> bool {
        false
    }

    fn data_certificate(&self) -> Option<Vec<u8>> {
        None
    }

    fn call(&self, call: Outgoing) -> impl Future<Output = ic::Answer> + 'static {
        self.0.ic.call(call)
    }

    fn in_background(&self, task: impl Future<Output = ()> + 'static) {
        let before = self.0.spawned.replace(Some(Box::pin(task)));
        assert!(before.is_none(), "a message spawns one task");
    }

    fn notify(&self, _: Outgoing) {
        unreachable!("nothing is durable")
    }

    fn after(&self, delay: Duration, task: impl FnOnce() + 'static) {
        self.0.ic.after(delay, task);
    }
}
