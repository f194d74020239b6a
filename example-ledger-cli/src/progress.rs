//! What the wallet is doing, in one line.

use idempotency_agent::{Progress, machine::Action};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

pub(crate) struct Line(ProgressBar);

impl Line {
    pub(crate) fn new(name: &str) -> Self {
        let bar = ProgressBar::new_spinner().with_prefix(name.to_owned());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix}: {msg}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    pub(crate) fn say(&self, step: &Progress<'_>) {
        let text = match step {
            Progress::Doing(Action::ReadTime) => "asks the ledger's subnet for the time",
            Progress::Doing(Action::Sign(_)) => "signs, and writes it down",
            Progress::Doing(Action::Submit(_)) => "sends",
            Progress::Doing(Action::Poll(..)) => "asks what became of it",
            Progress::Doing(Action::Ask(_)) => "asks the canister what became of it",
            Progress::Doing(Action::Search) => "looks for it in the ledger's blocks",
            _ => return,
        };
        self.0.set_message(text);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
