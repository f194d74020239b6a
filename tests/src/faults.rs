//! Faults on the replica, in tests that otherwise talk to it through the `pocket-ic` crate.

use std::io::Write;

use local_replica::faults::{Plan, Report};
use pocket_ic::PocketIc;
use reqwest::blocking::Client;

/// The faults of a replica, printed by a test that panics. Only this workspace's `local-replica` has them: PocketIC does
/// not.
///
/// Where an answer to a user is lost, `update_call` and `await_call` of the client panic: send, and look at the status.
#[derive(Debug)]
pub struct Faults {
    client: Client,
    url: String,
}

impl Faults {
    /// Starts a plan. `None` where the replica is not `local-replica`, after a line on stderr: such a test has nothing
    /// to test there, and ends.
    ///
    /// # Panics
    ///
    /// If the plan has a fault that is impossible on the Internet Computer.
    pub fn install(replica: &PocketIc, plan: &Plan) -> Option<Self> {
        let mut url = replica.get_server_url();
        url.set_path(&format!(
            "instances/{}/local-replica/faults",
            replica.instance_id()
        ));
        let faults = Self {
            client: Client::new(),
            url: url.into(),
        };
        if faults.read().is_none() {
            // Not eprintln, which the test harness swallows. A closed stderr is no reason to fail.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: this replica is not local-replica, and has no faults to offer"
            );
            return None;
        }
        let body = serde_json::to_vec(plan).expect("a plan is JSON");
        let request = faults.client.post(&faults.url);
        let request = request
            .header("Content-Type", "application/json")
            .body(body);
        let response = request.send().expect("the replica answers");
        let accepted = response.status().is_success();
        let text = response.text().unwrap_or_default();
        assert!(accepted, "{text}");
        Some(faults)
    }

    /// What happened since.
    pub fn report(&self) -> Report {
        self.read().expect("the replica answers with a report")
    }

    /// No more faults.
    pub fn stop(self) {
        let request = self.client.delete(&self.url);
        request.send().expect("the replica answers");
    }

    fn read(&self) -> Option<Report> {
        let response = self.client.get(&self.url).send().ok()?;
        serde_json::from_slice(&response.bytes().ok()?).ok()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        if let (true, Some(report)) = (std::thread::panicking(), self.read()) {
            eprintln!("local-replica: {report}");
        }
    }
}
