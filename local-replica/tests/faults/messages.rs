//! Faults at messages: inside of them, and right before.

use local_replica::faults::{Hook, MessageFault, Report};
use pocket_ic::ErrorCode;

use crate::world::*;

/// A trap at the nth system call of a message of `a`, for all n until the message makes no more calls.
fn at_every_call(number: u64, check: impl Fn(&mut World)) {
    for call in 1.. {
        let what = MessageFault::TrapAtCall(call);
        let mut world = World::with(|world| vec![message(world.a, number, what)]);
        let result = world.relay("relay");
        let Report {
            applied, refused, ..
        } = world.report().clone();
        if applied.0.is_empty() {
            assert!(call > 2, "a puppet makes a few calls");
            assert_eq!(refused[0].1, "the message didn't get there");
            assert_eq!(number_of(result), 1);
            assert_eq!(world.counters(), (1, 1), "as without a fault");
            return;
        }
        let reject = result.unwrap_err();
        assert_eq!(reject.error, ErrorCode::CanisterTrapped);
        let text = format!("injected by local-replica at system call {call}");
        assert!(reject.message.contains(&text), "{}", reject.message);
        check(&mut world);
    }
}

#[test]
fn a_trap_at_any_system_call_of_a_first_message_leaves_nothing() {
    at_every_call(1, |world| assert_eq!(world.counters(), (0, 0)));
}

#[test]
fn a_trap_at_any_system_call_of_a_callback_leaves_what_the_cleanup_does() {
    at_every_call(2, |world| assert_eq!(world.counters(), (1001, 1)));
}

#[test]
fn a_trap_at_any_instruction_leaves_the_state_before_or_after() {
    let mut trapped = 0;
    for count in 0..200 {
        let what = MessageFault::TrapAtInstruction(count * 20);
        let mut world = World::with(|world| vec![message(world.a, 1, what)]);
        let answer = world.inc(world.a);
        let applied = world.report().applied.0.len();
        assert_eq!(answer.is_err(), applied == 1);
        assert_eq!(world.counter(world.a), 1 - applied as u32);
        trapped += applied;
    }
    assert!((1..200).contains(&trapped));
}

#[test]
fn a_cleanup_can_trap_too_and_has_a_number_of_its_own() {
    let mut world = World::with(|world| {
        vec![
            message(world.a, 2, MessageFault::TrapAtCall(1)),
            message(world.a, 3, MessageFault::TrapAtInstruction(1)),
        ]
    });
    let reject = world.relay("relay").unwrap_err();
    assert!(reject.message.contains("call_on_cleanup also failed"));
    assert_eq!(world.counters(), (1, 1));
    assert_eq!(world.report().applied.0.len(), 2);
}

#[test]
fn nothing_comes_between_a_callback_and_its_cleanup() {
    let world = World::with(|world| vec![message(world.a, 3, MessageFault::Upgrade)]);
    let mut world = world;
    world.relay("relay_trap_in_reply").unwrap_err();
    assert_eq!(world.counter(world.a), 1000);
    let refused = &world.report().refused;
    assert_eq!(refused[0].1, "a cleanup follows its callback at once");
}

/// The answers to two messages of one round, which count.
fn two_messages(mut world: World) -> [u32; 2] {
    let sent = [(); 2].map(|()| world.send(world.a, "inc", Vec::new()));
    world.host.replica.round();
    sent.map(|message| number_of(world.host.take_answer(&message).unwrap()))
}

#[test]
fn users_messages_overtake_each_other() {
    let [first, second] = two_messages(World::new());
    let overtaken = World::with(|world| vec![message(world.a, 1, MessageFault::Overtake)]);
    assert_eq!(two_messages(overtaken), [second, first]);
}

#[test]
fn users_messages_have_an_order_of_their_own_in_each_run() {
    let run = |order| {
        let mut world = World::new();
        world.host.replica.order = order;
        two_messages(world)
    };
    let runs: Vec<[u32; 2]> = (0..10).map(run).collect();
    assert!(runs.contains(&[1, 2]) && runs.contains(&[2, 1]), "{runs:?}");
    assert_eq!((0..10).map(run).collect::<Vec<_>>(), runs);
}

#[test]
fn messages_of_one_canister_keep_their_order() {
    let mut world = World::with(|world| vec![message(world.b, 1, MessageFault::Overtake)]);
    let arg = relay_arg(world.b, "inc");
    world
        .host
        .update(USER, world.a, "two_calls", arg)
        .expect("answered");
    assert_eq!(
        world.report().refused[0].1,
        "no message that may go first is waiting"
    );
}

/// `b` answers a call of `a` and calls `a` in one message. Whichever of the two comes first traps.
#[test]
fn an_answer_and_a_call_of_one_canister_have_no_order() {
    let run = |overtake: bool| {
        let mut world = World::with(|world| {
            let overtake = overtake.then_some(MessageFault::Overtake);
            let faults = overtake.into_iter().chain([MessageFault::TrapAtCall(1)]);
            faults.map(|what| message(world.a, 2, what)).collect()
        });
        let arg = [
            relay_arg(world.b, "reply_and_relay"),
            relay_arg(world.a, "inc"),
        ];
        let relay = world.send(world.a, "relay", arg.concat());
        for _ in 0..5 {
            world.host.replica.round();
        }
        let Report { applied, .. } = world.report();
        assert_eq!(applied.0.len(), 1 + usize::from(overtake));
        let answer = world.host.take_answer(&relay).expect("answered");
        (answer.is_err(), world.counter(world.a))
    };
    let ends = [run(false), run(true)];
    assert!(ends.contains(&(true, 1002)), "the answer first: {ends:?}");
    assert!(ends.contains(&(false, 1)), "the call first: {ends:?}");
}

#[test]
fn an_upgrade_between_two_messages() {
    let mut world = World::with(|world| vec![message(world.a, 2, MessageFault::Upgrade)]);
    for _ in 0..3 {
        world.inc(world.a).unwrap();
    }
    assert_eq!(
        world.counter(world.a),
        4,
        "the puppet's pre_upgrade counts too"
    );
}

#[test]
fn an_upgrade_whose_hook_traps_changes_nothing() {
    for hook in [Hook::PreUpgrade, Hook::PostUpgrade] {
        for instruction in [0, 5, 10, 20, 1_000_000] {
            let what = MessageFault::UpgradeTrap { hook, instruction };
            let mut world = World::with(|world| vec![message(world.a, 2, what)]);
            // A call is in flight, and comes to its end.
            assert_eq!(number_of(world.relay("relay")), 1);
            assert_eq!(world.counters(), (1, 1), "pre_upgrade would count too");
            assert_eq!(world.report().applied.0.len(), 1);
            let version = world.host.replica.canisters[&world.a].version;
            world.host.replica.upgrade_to_same_code(world.a).unwrap();
            assert_eq!(world.counter(world.a), 2, "the next one succeeds");
            assert!(world.host.replica.canisters[&world.a].version > version);
        }
    }
    let what = MessageFault::UpgradeTrap {
        hook: Hook::Start,
        instruction: 0,
    };
    let mut world = World::with(|world| vec![message(world.a, 1, what)]);
    world.inc(world.a).unwrap();
    let refused = &world.report().refused;
    assert_eq!(
        refused[0].1,
        "the module has no such hook: the start function"
    );
}

#[test]
fn an_upgrade_while_a_call_is_in_flight() {
    let mut world = World::with(|world| vec![message(world.a, 2, MessageFault::Upgrade)]);
    assert_eq!(number_of(world.relay("relay")), 1);
    assert_eq!(world.counters(), (2, 1));
}

#[test]
fn a_heap_that_took_an_answer_to_anothers_call_is_renewed_where_asked_for() {
    for (renews, number, counter) in [(false, 2, 2), (true, 2, 3), (true, 3, 2)] {
        let mut world = World::with(|world| vec![message(world.a, number, MessageFault::Upgrade)]);
        world.host.replica.renews_heaps = renews;
        assert_eq!(number_of(world.relay("relay")), 1);
        if number == 3 {
            // Nothing is in flight when this one comes.
            world.host.query(USER, world.a, "get", Vec::new()).unwrap();
            world.send(world.a, "silent", Vec::new());
            world.host.replica.round();
        }
        let expected = counter + u32::from(number == 3);
        assert_eq!(world.counter(world.a), expected, "each pre_upgrade counts");
        let renewed = world.host.replica.renewed.get(&world.a);
        assert_eq!(renewed, (renews && number == 2).then_some(&1));
    }
}

#[test]
fn a_stop_and_a_start() {
    let mut world =
        World::with(|world| vec![message(world.a, 1, MessageFault::Stop { rounds: 3 })]);
    let reject = format!("{:?}", world.inc(world.a).unwrap_err());
    assert!(reject.contains("CanisterStop"), "{reject}");
    for _ in 0..2 {
        let refused = world.inc(world.a).unwrap_err();
        assert!(refused.to_string().contains("is stopp"), "{refused}");
        world.host.replica.round();
    }
    world.host.replica.round();
    assert_eq!(number(&world.inc(world.a).unwrap()), 1);
}

#[test]
fn a_stop_waits_for_calls_in_flight() {
    let mut world =
        World::with(|world| vec![message(world.a, 2, MessageFault::Stop { rounds: 2 })]);
    assert_eq!(
        number_of(world.relay("relay")),
        1,
        "a stopping canister gets its answers"
    );
    assert!(world.inc(world.a).is_err());
}

#[test]
fn out_of_cycles_for_a_while() {
    let rounds = 2;
    let mut world =
        World::with(|world| vec![message(world.a, 1, MessageFault::OutOfCycles { rounds })]);
    let before = world.host.replica.canisters[&world.a].cycles;
    let reject = world.inc(world.a).unwrap_err();
    assert!(reject.to_string().contains("out of cycles"), "{reject}");
    for _ in 0..rounds {
        world.host.replica.round();
    }
    let after = world.host.replica.canisters[&world.a].cycles;
    assert!(after > before - before / 1_000, "the cycles are back");
    assert_eq!(number(&world.inc(world.a).unwrap()), 1);
}

#[test]
fn the_clock_jumps_between_two_messages() {
    let ns = 3_600 * SECOND;
    let mut world = World::with(|world| vec![message(world.a, 2, MessageFault::Clock { ns })]);
    let mut now = || {
        let id = world.a;
        let reply = world
            .host
            .update(USER, id, "now_update", Vec::new())
            .unwrap();
        u64::from_le_bytes(reply.try_into().unwrap())
    };
    let (first, second) = (now(), now());
    assert_eq!(second - first, ns + 1);
}
