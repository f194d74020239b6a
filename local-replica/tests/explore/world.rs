//! Hosts, and what is seen of the states that a search reaches.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::LazyLock;

use candid::Principal;
use local_replica::explore::{Explored, Message, System, View};
use local_replica::in_process::{CanisterInstallMode, InProcess};

pub(crate) static PUPPET: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("../conformance/puppet.wat")).expect("valid WAT"));

pub(crate) static RECORDER: LazyLock<Vec<u8>> =
    LazyLock::new(|| wat::parse_str(include_str!("recorder.wat")).expect("valid WAT"));

pub(crate) const USER: Principal = Principal::anonymous();
pub(crate) const SECOND: u64 = 1_000_000_000;

/// A host with two canisters of the same module.
pub(crate) fn two(module: &[u8]) -> (InProcess, Principal, Principal) {
    let mut host = InProcess::new();
    let [a, b] = [(); 2].map(|()| {
        let id = host.create_canister(USER, 100_000_000_000_000).unwrap();
        let mode = CanisterInstallMode::Install;
        host.install(USER, id, mode, module.to_vec(), Vec::new())
            .unwrap();
        id
    });
    (host, a, b)
}

pub(crate) fn message(canister: Principal, method: &str, payload: &[u8]) -> Message {
    Message::new(USER, canister, method, payload.to_vec())
}

/// The puppet's argument for a call of another canister.
pub(crate) fn relay_arg(callee: Principal, method: &str) -> Vec<u8> {
    let callee = callee.as_slice();
    let mut arg = vec![callee.len() as u8];
    arg.extend_from_slice(callee);
    arg.push(method.len() as u8);
    arg.extend_from_slice(method.as_bytes());
    arg
}

/// The puppet's counter; `None` if it is uninstalled.
pub(crate) fn counter(view: &mut View<'_>, canister: Principal) -> Option<u32> {
    let bytes = view.query(canister, "get", Vec::new()).ok()?;
    Some(u32::from_le_bytes(bytes.try_into().unwrap()))
}

/// What the user got for a message: the reply, or the text of the reject.
pub(crate) fn answer(view: &View<'_>, message: usize) -> Option<Result<Vec<u8>, String>> {
    let answer = view.answer(message)?.clone();
    Some(answer.map_err(|reject| reject.message))
}

/// What was seen.
pub(crate) type Seen<T> = Rc<RefCell<BTreeSet<T>>>;

/// Explores, and answers what was seen between messages and what at the end.
pub(crate) fn explore<T: Ord + 'static>(
    system: System,
    look: impl Fn(&mut View<'_>) -> T + Clone + 'static,
) -> (Explored, BTreeSet<T>, BTreeSet<T>) {
    let (all, last): (Seen<T>, Seen<T>) = Default::default();
    let (see_all, see_last, look_last) = (Rc::clone(&all), Rc::clone(&last), look.clone());
    let mut system = system
        .always("seen", move |view| {
            see_all.borrow_mut().insert(look(view));
            Ok(())
        })
        .finally("seen at the end", move |view| {
            see_last.borrow_mut().insert(look_last(view));
            Ok(())
        });
    let found = system.explore().unwrap();
    drop(system);
    let take = |seen: Seen<T>| {
        Rc::into_inner(seen)
            .expect("the system is gone")
            .into_inner()
    };
    (found, take(all), take(last))
}
