//! Memories that something else has written to: whatever they hold, the outbox refuses them or works, and comes to an end.

use super::{
    super::{MessageId, Policy, Request},
    world::{World, answer, timed_out},
};
use proptest::prelude::*;
use std::time::Duration;

const PAGE_BYTES: usize = 65_536;

/// A place in a memory of few pages, most often where something lies, and what is written there.
#[derive(Clone, Debug)]
struct Patch {
    at: prop::sample::Index,
    bytes: Vec<u8>,
}

fn patch() -> impl Strategy<Value = Patch> {
    let bytes = prop_oneof![
        Just(vec![0; 8]),
        Just(vec![255; 8]),
        prop::collection::vec(any::<u8>(), 1..16),
    ];
    (any::<prop::sample::Index>(), bytes).prop_map(|(at, bytes)| Patch { at, bytes })
}

/// An outbox with messages in all states.
fn filled(messages: u8) -> World {
    let world = World::new(Policy::new().in_flight(3).capacity(40), true);
    for number in 0..messages {
        let request = Request::post(format!("https://host{}.example/", number % 4))
            .body(vec![number; usize::from(number) * 50])
            .max_response_bytes(400);
        let request = match number % 3 {
            0 => request.lane([number % 2]),
            1 => request
                .scope("s")
                .verify(Request::get("https://host.example/")),
            _ => request,
        };
        let _ = world.send(request);
        if number % 4 == 3 {
            world.pass(Duration::from_secs(1));
            let answers = [answer(200, "yes"), answer(404, "no"), timed_out()];
            if world.under_way() > 1 {
                world.answer(0, answers[usize::from(number / 4) % 3].clone());
            }
        }
    }
    world
}

/// Where something other than zeros lies.
fn places(bytes: &[u8]) -> Vec<usize> {
    let is_used = |at: &usize| bytes[*at] != 0 || at.is_multiple_of(PAGE_BYTES);
    (0..bytes.len()).filter(is_used).collect()
}

/// All that can be done with it.
fn use_it(world: &World) {
    for number in 0..200 {
        let id = MessageId::from_u64(number);
        let _ = world.try_status(id);
    }
    let _ = world.try_overview();
    let _ = world.try_dead_letters();
    for _ in 0..30 {
        let _ = world.send(Request::post("https://other.example/").body(vec![1; 700]));
        world.pass(Duration::from_secs(200));
        while world.under_way() > 1 {
            world.answer(0, answer(200, "there"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_damaged_outbox_is_refused_or_works(messages in 1..60u8, patches in prop::collection::vec(patch(), 1..6)) {
        let world = filled(messages);
        let now = world.now();
        let mut bytes = world.memory.borrow().clone();
        let places = places(&bytes);
        for Patch { at, bytes: patch } in &patches {
            let at = *at.get(&places);
            let end = (at + patch.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&patch[..end - at]);
        }
        if let Some(world) = World::try_of(bytes, Policy::new().in_flight(3).capacity(40), now) {
            use_it(&world);
        }
    }

    /// As if another structure wrote to the memory while the outbox uses it.
    #[test]
    fn an_outbox_that_is_damaged_in_use_goes_on(messages in 1..60u8, patches in prop::collection::vec(patch(), 1..6)) {
        let world = filled(messages);
        let places = places(&world.memory.borrow());
        for Patch { at, bytes: patch } in &patches {
            let at = *at.get(&places);
            let mut bytes = world.memory.borrow_mut();
            let end = (at + patch.len()).min(bytes.len());
            bytes[at..end].copy_from_slice(&patch[..end - at]);
        }
        use_it(&world);
    }
}
