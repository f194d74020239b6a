//! What can't be explored or replayed is refused with a reason.

use candid::Principal;
use local_replica::explore::{Bounds, Error, FaultKind, Schedule, Step, System, When};
use local_replica::faults::{Plan, Rates};
use local_replica::in_process::{CanisterInstallMode, InProcess};

use crate::world::{PUPPET, USER, counter, message, relay_arg, two};

#[test]
fn a_host_with_messages_under_way() {
    let (mut host, a, _) = two(&PUPPET);
    host.send(USER, a, "inc", Vec::new()).unwrap();
    let mut system = System::new(host);
    assert_eq!(system.explore(), Err(Error::Busy));
    // And again.
    assert_eq!(system.explore(), Err(Error::Busy));
}

#[test]
fn a_host_with_faults_of_its_own() {
    let (mut host, _, _) = two(&PUPPET);
    let (seed, rates) = (1, Rates::all(10));
    host.replica
        .faults
        .install(Plan::Seeded { seed, rates })
        .unwrap();
    assert_eq!(System::new(host).explore(), Err(Error::Busy));
}

#[test]
fn canisters_that_do_not_exist() {
    let nobody = Principal::from_slice(&[1, 2, 3]);
    let new = || System::new(two(&PUPPET).0);
    let systems = [
        new().message(message(nobody, "inc", &[])),
        new().message(message(Principal::management_canister(), "raw_rand", &[])),
        new().faults_of([nobody]),
        new().upgrade_to(nobody, PUPPET.clone(), Vec::new()),
    ];
    for mut system in systems {
        assert!(matches!(system.explore(), Err(Error::NoCanister(_))));
    }
}

#[test]
fn messages_that_wait_for_later_ones() {
    let (host, a, _) = two(&PUPPET);
    let mut system = System::new(host)
        .message(message(a, "inc", &[]))
        .message(message(a, "inc", &[]).when(When::Lost(1)));
    assert_eq!(system.explore(), Err(Error::NoMessage(1)));
}

#[test]
fn an_invalid_module() {
    let (host, a, _) = two(&PUPPET);
    let mut system = System::new(host).upgrade_to(a, vec![1, 2, 3], Vec::new());
    assert!(matches!(system.explore(), Err(Error::Module(_))));
}

#[test]
fn a_heartbeat() {
    let mut host = InProcess::new();
    let id = host.create_canister(USER, 10_000_000_000_000).unwrap();
    let module = r#"(module (func (export "canister_heartbeat")))"#;
    let module = wat::parse_str(module).unwrap();
    host.install(USER, id, CanisterInstallMode::Install, module, Vec::new())
        .unwrap();
    let found = System::new(host).explore();
    assert!(matches!(found, Err(Error::Unsupported(text)) if text.contains("heartbeat")));
}

#[test]
fn schedules_with_impossible_steps() {
    let (host, a, b) = two(&PUPPET);
    let mut system = System::new(host)
        .message(message(a, "relay", &relay_arg(b, "inc")))
        .faults(1, [FaultKind::Trap]);
    let fault = None;
    let first = Step::Message { message: 0, fault };
    let steps = [
        Step::Message { message: 7, fault },
        Step::Time,
        Step::Start { canister: a },
        Step::Refill { canister: USER },
        Step::Response {
            to: a,
            call: 0,
            fault,
        },
        Step::LoseAnswer { caller: a, call: 0 },
        // A kind that isn't allowed, and a combination that makes no sense.
        Step::Stop { canister: a },
        Step::Request {
            from: a,
            to: b,
            place: 0,
            fault: Some(FaultKind::Clock),
        },
        Step::Request {
            from: a,
            to: b,
            place: usize::MAX,
            fault,
        },
        Step::Upgrade {
            canister: b,
            module: usize::MAX,
            trap: None,
        },
        first.clone(),
    ];
    for step in steps {
        let schedule = Schedule(vec![first.clone(), step]);
        let replayed = system.replay(&schedule);
        assert!(matches!(replayed, Err(Error::Impossible(text)) if text.starts_with("step 2")));
    }
    // Nothing of that is left.
    let replayed = system.replay(&Schedule(vec![first])).unwrap();
    assert_eq!(replayed.story.len(), 1);
    assert_eq!(replayed.violated, None);
}

#[test]
fn a_replay_leads_to_the_state_that_was_found() {
    let (host, a, b) = two(&PUPPET);
    let mut system = System::new(host)
        .message(message(a, "relay", &relay_arg(b, "inc")))
        .faults(2, FaultKind::ALL)
        .always("the counter stays below 1,000", move |view| {
            match counter(view, a) {
                Some(count @ 1_000..) => Err(format!("it is {count}")),
                _ => Ok(()),
            }
        });
    let violation = system.explore().unwrap().violation.unwrap();
    // Once more after another search, and by way of JSON.
    let json = serde_json::to_string(&violation.schedule).unwrap();
    let schedule: Schedule = serde_json::from_str(&json).unwrap();
    let replayed = system.replay(&schedule).unwrap();
    assert_eq!(replayed.story, violation.story);
    let violated = (violation.invariant.clone(), violation.reason.clone());
    assert_eq!(replayed.violated, Some(violated));
    assert_eq!(counter(&mut system.view().unwrap(), a), Some(1_001));
    // An empty schedule leads to the start.
    system.replay(&Schedule::default()).unwrap();
    assert_eq!(counter(&mut system.view().unwrap(), a), Some(0));
    assert_eq!(system.explore().unwrap().violation, Some(violation));
}

#[test]
fn bounds_cut_the_search_and_say_so() {
    for (steps, states) in [(2, 1_000), (200, 5), (0, 1_000), (200, 0)] {
        let (host, a, b) = two(&PUPPET);
        let bounds = Bounds {
            steps,
            states,
            ..Bounds::default()
        };
        let mut system = System::new(host)
            .message(message(a, "relay", &relay_arg(b, "inc")))
            .faults(1, FaultKind::ALL)
            .bounds(bounds);
        let found = system.explore().unwrap();
        assert!(found.counts.cut > 0, "{found}");
        assert!(found.violation.is_none() && !found.holds());
        assert!(found.counts.longest <= steps);
    }
}

/// Nothing to do is searched, too: the invariants are looked at once.
#[test]
fn a_system_without_messages() {
    let mut system = System::new(InProcess::new()).finally("never", |_| Err("seen".to_owned()));
    let violation = system.explore().unwrap().violation.unwrap();
    assert!(violation.schedule.0.is_empty());
}
