//! Whole runs: by seed, by schedule, over HTTP.

use std::path::PathBuf;

use local_replica::faults::{AnswerFault, Fault, MessageFault, Plan, Rates, Report, Schedule};
use pocket_ic::PocketIcBuilder;

use crate::world::*;

#[test]
fn what_the_ic_never_does_is_refused_when_installed() {
    let mut world = World::new();
    let id = world.a;
    let mut install = |fault: Fault| {
        let faults = &mut world.host.replica.faults;
        faults
            .install(Plan::Schedule(Schedule(vec![fault.clone(), fault])))
            .unwrap_err()
            .to_string()
    };
    let text = install(answer(id, AnswerFault::Reject { code: 3 }));
    assert!(text.contains("code 4 or 5 only"), "{text}");
    let text = install(message(id, 0, MessageFault::Upgrade));
    assert!(text.contains("start at 1"), "{text}");
    let text = install(message(id, 1, MessageFault::TrapAtCall(2)));
    assert!(text.contains("but once"), "{text}");
}

/// Some traffic under the plan; what became of it.
fn run(plan: Plan) -> (String, Report) {
    let mut world = World::new();
    world.host.replica.faults.install(plan).unwrap();
    for round in 0..300 {
        for how in ["relay", "relay_bounded", "relay_trap_in_reply"] {
            for (from, to) in [(world.a, world.b), (world.b, world.a)] {
                // Refused while the canister is stopped or has no cycles.
                let _ = world.host.send(USER, from, how, relay_arg(to, "inc"));
            }
        }
        if round % 3 == 0 {
            world.host.replica.round();
        }
    }
    for _ in 0..20 {
        world.host.replica.round();
    }
    let report = world.report().clone();
    (world.fingerprint(), report)
}

#[test]
fn the_same_seed_gives_the_same_run_and_so_does_its_schedule() {
    let rates = Rates::all(20_000);
    for seed in 0..5 {
        let rates = rates.clone();
        let (fingerprint, report) = run(Plan::Seeded { seed, rates });
        assert!(report.applied.0.len() > 100, "{}", report.applied.0.len());
        let again = run(Plan::Seeded {
            seed,
            rates: Rates::all(20_000),
        });
        assert_eq!(fingerprint, again.0, "seed {seed}");
        let (replayed, _) = run(Plan::Schedule(report.applied.clone()));
        assert_eq!(fingerprint, replayed, "seed {seed}:\n{}", report.applied);
        let other = run(Plan::Seeded {
            seed: seed + 100,
            rates: Rates::all(20_000),
        });
        assert_ne!(fingerprint, other.0);
    }
}

#[test]
fn a_schedule_survives_json_and_reads_well() {
    let (_, report) = run(Plan::Seeded {
        seed: 1,
        rates: Rates::all(20_000),
    });
    let plan = Plan::Schedule(report.applied.clone());
    let json = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&json).unwrap(), plan);
    assert!(report.to_string().starts_with("seed 1, "));
    let text = report.applied.to_string();
    assert_eq!(text.lines().count(), report.applied.0.len());
    let id = World::new().a;
    let fault = message(id, 3, MessageFault::TrapAtCall(7));
    assert_eq!(
        fault.to_string(),
        format!("{id}, message 3: trap at system call 7")
    );
    let seeded: Plan =
        serde_json::from_str(r#"{"seeded":{"seed":7,"rates":{"upgrade":1000}}}"#).unwrap();
    let rates = Rates {
        upgrade: 1000,
        ..Rates::default()
    };
    assert_eq!(seeded, Plan::Seeded { seed: 7, rates });
}

#[test]
fn faults_end_when_told_to() {
    let mut world = World::with(|world| {
        vec![
            message(world.a, 1, MessageFault::Stop { rounds: 1_000 }),
            message(world.a, 2, MessageFault::Upgrade),
        ]
    });
    world.inc(world.a).unwrap_err();
    world.host.replica.faults.stop();
    world.host.replica.round();
    assert_eq!(number(&world.inc(world.a).unwrap()), 1);
    assert_eq!(world.report().applied.0.len(), 1);
}

#[test]
fn over_http_beside_the_unmodified_client() {
    let pic = PocketIcBuilder::new()
        .with_server_binary(PathBuf::from(env!("CARGO_BIN_EXE_local-replica")))
        .with_application_subnet()
        .build();
    let id = pic.create_canister();
    pic.install_canister(id, PUPPET.clone(), Vec::new(), None);
    let url = format!(
        "{}instances/{}/local-replica/faults",
        pic.get_server_url(),
        pic.instance_id()
    );
    let client = reqwest::blocking::Client::new();
    let fault = message(id, 2, MessageFault::TrapAtCall(1));
    let plan = Plan::Schedule(Schedule(vec![fault.clone()]));
    let body = serde_json::to_vec(&plan).unwrap();
    let response = client
        .post(&url)
        .header("Content-Type", "application/json")
        .body(body)
        .send()
        .unwrap();
    assert!(response.status().is_success());
    let inc = || pic.update_call(id, USER, "inc", Vec::new());
    assert_eq!(number(&inc().unwrap()), 1);
    let reject = inc().unwrap_err();
    assert!(reject.reject_message.contains("injected by local-replica"));
    assert_eq!(number(&inc().unwrap()), 2);
    let report = client.get(&url).send().unwrap().bytes().unwrap();
    let report: Report = serde_json::from_slice(&report).unwrap();
    assert_eq!(report.applied, Schedule(vec![fault]));
    assert_eq!(report.messages, 3);
    assert!(client.delete(&url).send().unwrap().status().is_success());
    let bad = client
        .post(&url)
        .header("Content-Type", "application/json")
        .body("{}")
        .send()
        .unwrap();
    assert_eq!(bad.status().as_u16(), 400);
}
