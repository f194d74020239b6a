//! Faults on the replica, in tests that otherwise talk to it through the `pocket-ic` crate.

use std::io::Write;

use local_replica::faults::{Plan, Report};
use pocket_ic::PocketIc;
use reqwest::blocking::{Client, Response};

/// The faults of a replica. Only this workspace's `local-replica` has them: PocketIC does not.
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
        if !faults.get().status().is_success() {
            // Not eprintln, which the test harness swallows. A closed stderr is no reason to fail.
            let _ = writeln!(
                std::io::stderr(),
                "SKIPPED: this replica is not local-replica, and has no faults to offer"
            );
            return None;
        }
        let body = serde_json::to_vec(plan).expect("a plan is JSON");
        let request = faults.client.post(&faults.url).body(body);
        let response = request.send().expect("the replica answers");
        let accepted = response.status().is_success();
        let text = response.text().unwrap_or_default();
        assert!(accepted, "{text}");
        Some(faults)
    }

    /// What happened since.
    pub fn report(&self) -> Report {
        let body = self.get().bytes().expect("the replica answers");
        serde_json::from_slice(&body).expect("a report")
    }

    /// No more faults.
    pub fn stop(self) {
        let request = self.client.delete(&self.url);
        request.send().expect("the replica answers");
    }

    fn get(&self) -> Response {
        let request = self.client.get(&self.url);
        request.send().expect("the replica answers")
    }
}
