//! What the digest of a state tells apart, and what not.

use std::collections::VecDeque;
use std::sync::Arc;

use candid::Principal;

use super::spec::{Message, Spec};
use super::state::{Client, Digest};
use super::world::World;
use crate::call_context::{CallContext, Callback, Origin, Request, Response};
use crate::canister::{Canister, Status};
use crate::engine::Closure;
use crate::errors::Reject;
use crate::in_process::{CanisterInstallMode, InProcess};

const USER: Principal = Principal::anonymous();
const OTHER: Principal = Principal::from_slice(&[1]);

/// A canister with this module.
fn world(module: &str) -> (World, Principal) {
    let mut host = InProcess::new();
    let id = host.create_canister(USER, 100_000_000_000_000).unwrap();
    let wasm = wat::parse_str(module).unwrap();
    let mode = CanisterInstallMode::Install;
    host.install(USER, id, mode, wasm, Vec::new()).unwrap();
    let message = Message::new(USER, id, "f", Vec::new());
    let spec = Spec {
        messages: vec![message],
        ..Spec::default()
    };
    (World::new(host, &spec).unwrap(), id)
}

const PLAIN: &str = "(module (memory 1) (global (mut i32) (i32.const 0)))";

/// Digests of two states of a canister between which there is this difference.
fn of_canister(
    module: &str,
    before: impl Fn(&mut Canister),
    change: impl Fn(&mut Canister),
) -> [Digest; 2] {
    let (mut world, id) = world(module);
    let mut digest = |change: &dyn Fn(&mut Canister)| {
        change(world.host.replica.canisters.get_mut(&id).unwrap());
        world.settle(Some(id)).unwrap();
        world.state.digest()
    };
    [digest(&before), digest(&change)]
}

fn different(change: impl Fn(&mut Canister)) {
    let [one, other] = of_canister(PLAIN, |_| {}, change);
    assert_ne!(one, other);
}

fn equal(change: impl Fn(&mut Canister)) {
    let [one, other] = of_canister(PLAIN, |_| {}, change);
    assert_eq!(one, other);
}

fn context() -> CallContext {
    CallContext {
        origin: Origin::System,
        sender: USER,
        deadline_ns: 0,
        cycles_available: 0,
        instructions: 0,
        responded: false,
        deleted: false,
        outstanding: 0,
    }
}

fn open(canister: &mut Canister) {
    canister.calls.open(context());
}

fn callback() -> Callback {
    let closure = Closure {
        function: 1,
        environment: 2,
    };
    Callback {
        context: 1,
        callee: OTHER,
        method: "method".into(),
        on_reply: closure,
        on_reject: closure,
        on_cleanup: None,
        deadline_ns: 0,
        expired: false,
    }
}

#[test]
fn what_a_canister_can_see_counts() {
    different(|canister| canister.stable.replace(&[1]));
    different(|canister| canister.stable.replace(&[0]));
    different(|canister| canister.code = None);
    different(|canister| canister.certified_data = vec![1]);
    different(|canister| canister.global_timer = 1);
    different(|canister| canister.status = Status::Stopped);
    different(|canister| canister.settings.controllers = Vec::new());
    different(|canister| canister.settings.freezing_threshold = 1);
    different(|canister| drop(canister.chunks.insert(vec![1], vec![2])));
    different(open);
}

#[test]
fn each_part_of_a_context_and_a_callback_counts() {
    let contexts: [fn(&mut CallContext); 7] = [
        |it| it.origin = Origin::Ingress(vec![1]),
        |it| it.sender = OTHER,
        |it| it.deadline_ns = 1,
        |it| it.cycles_available = 1,
        |it| it.responded = true,
        |it| it.deleted = true,
        |it| it.outstanding = 1,
    ];
    for change in contexts {
        let [one, other] = of_canister(PLAIN, open, |canister| {
            change(canister.calls.context(1).unwrap());
        });
        assert_ne!(one, other);
    }
    let callbacks: [fn(&mut Callback); 8] = [
        |it| it.context = 9,
        |it| it.callee = USER,
        |it| it.method = "other".into(),
        |it| it.on_reply.environment = 3,
        |it| it.on_reject.function = 3,
        |it| it.on_cleanup = Some(it.on_reply),
        |it| it.deadline_ns = 1,
        |it| it.expired = true,
    ];
    for change in callbacks {
        let digests = [false, true].map(|changed| {
            let (mut world, id) = world(PLAIN);
            let calls = &mut world.host.replica.canisters.get_mut(&id).unwrap().calls;
            calls.open(context());
            let mut callback = callback();
            if changed {
                change(&mut callback);
            }
            calls.register(callback);
            world.settle(Some(id)).unwrap();
            world.state.digest()
        });
        assert_ne!(digests[0], digests[1]);
    }
}

#[test]
fn what_a_canister_cannot_see_does_not_count() {
    equal(|canister| canister.cycles -= 1);
    equal(|canister| canister.version += 1);
    equal(|canister| canister.append_log(1, vec!["a line".to_owned()]));
    // Ids are given and taken back.
    equal(|canister| {
        let id = canister.calls.open(context());
        canister.calls.close(id);
    });
    let [one, other] = of_canister(PLAIN, open, |canister| {
        canister.calls.context(1).unwrap().instructions = 1;
    });
    assert_eq!(one, other);
    // Another id in the same place.
    let [one, other] = of_canister(PLAIN, open, |canister| {
        canister.calls.close(1);
        canister.calls.open(context());
    });
    assert_eq!(one, other);
}

#[test]
fn what_a_module_has_a_system_call_for_counts() {
    let importing = |import: &str| {
        format!(r#"(module (import "ic0" {import}) (memory 1) (global (mut i32) (i32.const 0)))"#)
    };
    let balance = importing(r#""canister_cycle_balance128" (func (param i32))"#);
    let [one, other] = of_canister(&balance, |_| {}, |canister| canister.cycles -= 1);
    assert_ne!(one, other);
    let version = importing(r#""canister_version" (func (result i64))"#);
    let [one, other] = of_canister(&version, |_| {}, |canister| canister.version += 1);
    assert_ne!(one, other);
    let counter = importing(r#""performance_counter" (func (param i32) (result i64))"#);
    let [one, other] = of_canister(&counter, open, |canister| {
        canister.calls.context(1).unwrap().instructions = 1;
    });
    assert_ne!(one, other);
}

#[test]
fn what_is_under_way_counts() {
    let (mut world, id) = world(PLAIN);
    let request = Request {
        origin: Origin::System,
        sender: id,
        receiver: OTHER,
        method: "f".to_owned(),
        payload: Vec::new(),
        cycles: 0,
        deadline_ns: 0,
    };
    let mut digests = vec![world.state.digest()];
    let mut changed = |world: &World| digests.push(world.state.digest());
    let waiting = |requests: &[Request]| -> VecDeque<Arc<Request>> {
        requests.iter().cloned().map(Arc::new).collect()
    };
    let mut others = vec![request.clone(); 6];
    others[1].origin = Origin::Ingress(vec![1]);
    others[2].method = "g".to_owned();
    others[3].payload = vec![1];
    others[4].cycles = 1;
    others[5].deadline_ns = 1;
    let mut queues: Vec<VecDeque<Arc<Request>>> = others
        .iter()
        .map(|it| waiting(std::slice::from_ref(it)))
        .collect();
    queues.push(waiting(&[request.clone(), others[2].clone()]));
    queues.push(waiting(&[others[2].clone(), request]));
    for queue in queues {
        world.state.requests.insert((id, OTHER), queue);
        changed(&world);
    }
    world.state.requests.clear();
    let results = [
        (Ok(vec![]), 0),
        (Ok(vec![1]), 0),
        (Ok(vec![]), 1),
        (Err(Reject::no_response()), 0),
    ];
    for (result, refund) in results {
        let callback = 1;
        let response = Response {
            callback,
            result,
            refund,
        };
        world
            .state
            .responses
            .insert((id, callback), Arc::new(response));
        changed(&world);
    }
    world.state.responses.clear();
    let clients = [
        Client::Sent,
        Client::Lost,
        Client::Answered(Arc::new(Ok(vec![]))),
        Client::Answered(Arc::new(Ok(vec![1]))),
        Client::Answered(Arc::new(Err(Reject::no_response()))),
    ];
    for client in clients {
        world.state.clients = vec![client];
        changed(&world);
    }
    world.state.clients = vec![Client::Waiting];
    world.state.drained.insert(id, 0);
    changed(&world);
    world.state.drained.clear();
    world.state.stopped.insert(id);
    changed(&world);
    world.state.stopped.clear();
    world.state.time_left += 1;
    changed(&world);
    world.state.time_left += 1;
    world.state.time_ns += 1;
    changed(&world);
    world.state.random.counter += 1;
    changed(&world);
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
}
