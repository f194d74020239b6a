//! Each body is cut off at every place, up to twice, and its calls are answered in every order: it ends as it does without cuts,
//! and nothing is done twice.

use super::{
    super::{Steps, Verified, recorded_steps},
    ways::{End, explore},
    world::World,
};
use futures_util::{
    future::{Either, join, join_all, select},
    stream::{FuturesUnordered, StreamExt},
};
use std::{collections::BTreeMap, fmt::Debug, future::Future, pin::pin, time::Duration};

/// What a request should come to.
fn once(names: &[&str]) -> BTreeMap<String, u32> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

/// It always ends as it does without cuts.
fn always<R: Debug + PartialEq + 'static, F: Future<Output = Result<R, String>> + 'static>(
    at_least: u64,
    body: impl Fn(World, Steps) -> F + Clone + 'static,
    result: Result<R, &str>,
    effects: &[&str],
) {
    let result = result.map_err(str::to_owned);
    let check = |end: &End<R>| {
        assert_eq!(end.result.as_ref(), Ok(&result), "{} cuts", end.cuts);
        assert_eq!(end.world.effects(), once(effects));
    };
    let ways = explore(2, body, check);
    assert!(ways >= at_least, "only {ways} ways");
}

async fn pay(world: &World, steps: &Steps, name: &'static str) -> u64 {
    let key = steps.key(name);
    steps
        .run(name, || world.call_with(name, key))
        .repeatable()
        .await
}

#[test]
fn one_after_the_other() {
    let body = async |world: World, steps: Steps| {
        let here = steps.run("here", async || world.effect("here")).await;
        let there = pay(&world, &steps, "there").await;
        let last = steps.run("last", async || world.effect("last")).await;
        let again = pay(&world, &steps, "again").await;
        Ok(here + there + last + again)
    };
    always(40, body, Ok(18), &["here", "there", "last", "again"]);
}

#[test]
fn two_at_once() {
    let body = async |world: World, steps: Steps| {
        let one = async {
            pay(&world, &steps, "a").await;
            steps.run("b", async || world.effect("b")).await;
            pay(&world, &steps, "c").await;
        };
        let other = async {
            steps.run("d", async || world.effect("d")).await;
            pay(&world, &steps, "e").await;
            steps.run("f", async || world.effect("f")).await;
        };
        join(one, other).await;
        Ok(pay(&world, &steps, "g").await)
    };
    always(1_000, body, Ok(1), &["a", "b", "c", "d", "e", "f", "g"]);
}

#[test]
fn many_at_once_in_whatever_order_they_end() {
    // Each continues as soon as it has ended, and the next is polled only when it is woken.
    let body = async |world: World, steps: Steps| {
        let ended: FuturesUnordered<_> = ["a", "b", "c"]
            .into_iter()
            .map(|name| pay(&world, &steps, name))
            .collect();
        let names = ended.enumerate().then(async |(place, _)| {
            let name = ("then", place);
            steps
                .run(name, async || world.effect(["x", "y", "z"][place]))
                .await
        });
        Ok(names.fold(0, async |sum, length| sum + length).await)
    };
    always(1_000, body, Ok(3), &["a", "b", "c", "x", "y", "z"]);
}

#[test]
fn in_a_loop() {
    let body = async |world: World, steps: Steps| {
        let mut sum = 0;
        for (i, name) in ["a", "bb", "ccc"].into_iter().enumerate() {
            let key = steps.key(("pay", i));
            let pay = steps.run(("pay", i), || world.call_with(name, key));
            sum += pay.repeatable().await;
        }
        let all = (0..2).map(|i| steps.run(("end", i), async move || i));
        Ok((sum, join_all(all).await))
    };
    always(30, body, Ok((6, vec![0, 1])), &["a", "bb", "ccc"]);
}

#[test]
fn with_pauses() {
    let body = async |world: World, steps: Steps| {
        pay(&world, &steps, "before").await;
        steps.sleep(Duration::from_secs(60)).await;
        pay(&world, &steps, "between").await;
        steps.sleep(Duration::ZERO).await;
        steps.sleep(Duration::from_secs(1)).await;
        steps.run("after", async || world.effect("after")).await;
        Ok(())
    };
    always(50, body, Ok(()), &["before", "between", "after"]);
}

#[test]
fn with_a_pause_beside() {
    let body = async |world: World, steps: Steps| {
        let one = async {
            steps.sleep(Duration::from_secs(60)).await;
            pay(&world, &steps, "later").await;
            steps.run("latest", async || world.effect("latest")).await
        };
        let other = async {
            pay(&world, &steps, "a").await;
            steps.sleep(Duration::from_secs(30)).await;
            pay(&world, &steps, "b").await
        };
        Ok(join(one, other).await)
    };
    always(100, body, Ok((6, 1)), &["later", "latest", "a", "b"]);
}

#[test]
fn undone_the_last_first() {
    let body = async |world: World, steps: Steps| {
        for (name, undo, others) in [("a", "undo a", true), ("b", "undo b", false)] {
            pay(&world, &steps, name).await;
            let (world, key) = (world.clone(), steps.key(undo));
            let action = async move || {
                let other = if undo == "undo a" { "undo b" } else { "undo a" };
                assert_eq!(world.did(other), others, "{undo}");
                world.call_with(undo, key).await;
                Ok(())
            };
            steps.compensate(name, action).repeatable();
        }
        let local = world.clone();
        steps.run("c", async || world.effect("c")).await;
        let _ = steps.compensate("c", async move || {
            local.effect("undo c");
            Ok(())
        });
        Err::<(), _>("no".to_owned())
    };
    let effects = ["a", "b", "c", "undo a", "undo b", "undo c"];
    always(100, body, Err("no"), &effects);
}

#[test]
fn not_undone_where_it_succeeds() {
    let body = async |world: World, steps: Steps| {
        let length = pay(&world, &steps, "a").await;
        let world = world.clone();
        let _ = steps.compensate("a", async move || {
            world.effect("undo a");
            Ok(())
        });
        Ok(length)
    };
    always(5, body, Ok(1), &["a"]);
}

#[test]
fn verified() {
    let body = async |world: World, steps: Steps| {
        let mut sum = 0;
        for name in ["a", "bb"] {
            let verify = |key| {
                assert_eq!(key, steps.key(name));
                let world = &world;
                async move {
                    match world.ask(name).await {
                        true => Verified::Ran(name.len() as u64),
                        false => Verified::DidNotRun,
                    }
                }
            };
            // The callee does not know a repetition.
            sum += steps.run(name, || world.call(name)).verify(verify).await;
        }
        Ok(sum)
    };
    always(50, body, Ok(3), &["a", "bb"]);
}

#[test]
fn undone_and_verified() {
    let body = async |world: World, steps: Steps| {
        pay(&world, &steps, "a").await;
        let (undo, verify) = (world.clone(), world.clone());
        let undo = async move || {
            undo.call("undo a").await;
            Ok(())
        };
        let key = steps.key("undo a");
        steps.compensate("a", undo).verify(move |it| async move {
            assert_eq!(it, key);
            match verify.ask("undo a").await {
                true => Verified::Ran(()),
                false => Verified::DidNotRun,
            }
        });
        Err::<(), _>("no".to_owned())
    };
    always(20, body, Err("no"), &["a", "undo a"]);
}

/// Whether a request has a step whose outcome is unknown.
fn has_unknown(world: &World) -> bool {
    recorded_steps(&world.entries())
        .iter()
        .any(|step| !step.has_ended)
}

#[test]
fn what_is_run_once_is_parked_exactly_where_its_outcome_is_unknown() {
    let body = async |world: World, steps: Steps| {
        let one = async {
            let before = steps.run("a", || world.call("a")).await;
            before + steps.run("b", || world.call("b")).await
        };
        let (one, other) = join(one, pay(&world, &steps, "c")).await;
        Ok(one + other)
    };
    let parked = std::cell::Cell::new(0);
    let ways = explore(2, body, |end| {
        let effects = end.world.effects();
        assert!(effects.values().all(|times| *times == 1), "{effects:?}");
        match &end.result {
            Ok(result) => {
                assert_eq!(result, &Ok(3));
                assert_eq!(effects, once(&["a", "b", "c"]));
                assert!(!has_unknown(&end.world));
            }
            Err(reason) => {
                assert!(has_unknown(&end.world) && end.cuts > 0);
                assert!(reason.starts_with("nobody knows whether step"), "{reason}");
                parked.set(parked.get() + 1);
            }
        }
    });
    assert!(parked.get() > 50 && ways > parked.get() + 20);
}

#[test]
fn the_verifier_that_cannot_tell_parks() {
    let body = async |world: World, steps: Steps| {
        let verify = async |_| match world.did("a") {
            true => Verified::Ran(1),
            false => Verified::CantTell,
        };
        Ok(steps.run("a", || world.call("a")).verify(verify).await)
    };
    explore(2, body, |end| match &end.result {
        Ok(result) => {
            assert_eq!(result, &Ok(1));
            assert_eq!(end.world.effects(), once(&["a"]));
        }
        Err(reason) => {
            assert!(reason.ends_with("`verify` can't tell"), "{reason}");
            assert!(!end.world.did("a") && has_unknown(&end.world));
        }
    });
}

#[test]
fn the_first_of_two_wins_for_good() {
    let body = async |world: World, steps: Steps| {
        let (one, other) = (pay(&world, &steps, "a"), pay(&world, &steps, "b"));
        let winner = match select(pin!(one), pin!(other)).await {
            Either::Left(_) => "a won",
            Either::Right(_) => "b won",
        };
        steps.run("note", async || world.effect(winner)).await;
        let end = pay(&world, &steps, "c").await;
        Ok((winner, end))
    };
    explore(2, body, |end| {
        let Ok(Ok((winner, 1))) = &end.result else {
            panic!("{:?}", end.result);
        };
        let effects = end.world.effects();
        assert!(effects.values().all(|times| *times == 1), "{effects:?}");
        assert!(effects.contains_key(*winner) && effects.contains_key(&winner[..1]));
        let other = if *winner == "a won" { "b won" } else { "a won" };
        assert!(!effects.contains_key(other));
    });
}

#[test]
fn a_new_version_of_the_code_goes_on_with_old_requests() {
    // The canister is upgraded when the first attempt is cut off.
    let body = async |world: World, steps: Steps| {
        pay(&world, &steps, "a").await;
        let is_new = world.attempt() > 1 && steps.version("v2");
        if is_new {
            pay(&world, &steps, "fee").await;
        }
        pay(&world, &steps, if is_new { "b2" } else { "b" }).await;
        Ok(is_new)
    };
    let both = [std::cell::Cell::new(0), std::cell::Cell::new(0)];
    explore(2, body, |end| {
        let Ok(Ok(is_new)) = end.result else {
            panic!("{:?}", end.result);
        };
        let effects = end.world.effects();
        // A call that was cut off before its step was recorded can't be: it is made when the step commits.
        let expected: &[_] = if is_new {
            &["a", "fee", "b2"]
        } else {
            &["a", "b"]
        };
        assert_eq!(effects, once(expected));
        let counted = &both[usize::from(is_new)];
        counted.set(counted.get() + 1);
    });
    assert!(both.iter().all(|counted| counted.get() > 5));
}

#[test]
fn what_a_step_depends_on_stays_the_same() {
    let body = async |world: World, steps: Steps| {
        let (now, created_at) = (steps.now(), steps.created_at("a"));
        let random = steps.random().await;
        let seen = format!("{now} {created_at} {random:?}");
        let inside = async || {
            let frozen = steps.created_at("frozen inside");
            let length = world.call_with("a", steps.key("a")).await;
            // By now it is committed, and every attempt must see the same.
            world.see(format!("{frozen} {seen}"));
            length
        };
        steps.run("a", inside).repeatable().await;
        assert_eq!(steps.created_at("a"), created_at);
        let later = steps.now();
        pay(&world, &steps, "b").await;
        world.see(format!("{later} {seen}"));
        Ok(())
    };
    let ways = explore(2, body, |end| {
        assert_eq!(end.result, Ok(Ok(())));
        assert_eq!(end.world.seen().len(), 2, "{:?}", end.world.seen());
    });
    assert!(ways > 50);
}
