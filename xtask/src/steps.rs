//! Commands run one after another, with a line of progress for each.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::IsTerminal,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// Why a chore ended early.
#[derive(Debug)]
pub(crate) struct Failed(pub(crate) String);

/// What a step does.
enum Work {
    /// Runs a command.
    Command { command: Command, is_shown: bool },
    /// Does something that takes no time.
    Call(Box<dyn FnOnce() -> Result<(), Failed>>),
}

/// One command of a chore.
pub(crate) struct Step {
    what: String,
    work: Work,
}

impl Step {
    /// A command whose output matters only if it fails.
    pub(crate) fn new(what: &str, command: Command) -> Self {
        Self {
            what: what.to_owned(),
            work: Work::Command {
                command,
                is_shown: false,
            },
        }
    }

    /// A command whose output is shown as it comes.
    pub(crate) fn shown(what: &str, command: Command) -> Self {
        Self {
            what: what.to_owned(),
            work: Work::Command {
                command,
                is_shown: true,
            },
        }
    }

    /// A function.
    pub(crate) fn call(what: &str, call: impl FnOnce() -> Result<(), Failed> + 'static) -> Self {
        Self {
            what: what.to_owned(),
            work: Work::Call(Box::new(call)),
        }
    }

    /// Sets an environment variable of its command.
    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        if let Work::Command { command, .. } = &mut self.work {
            command.env(name, value);
        }
        self
    }
}

/// `cargo` with arguments that hold no spaces.
pub(crate) fn cargo(arguments: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(arguments.split_whitespace())
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    command
}

/// Runs the steps in order and stops at the first that fails.
pub(crate) fn run(steps: Vec<Step>) -> Result<(), Failed> {
    let all = steps.len();
    for (index, Step { what, work }) in steps.into_iter().enumerate() {
        let title = format!("[{}/{all}] {what}", index + 1);
        let begun = Instant::now();
        match work {
            Work::Call(call) => call()?,
            Work::Command {
                mut command,
                is_shown: true,
            } => {
                eprintln!("{title}");
                let status = command
                    .status()
                    .map_err(|error| not_started(&command, &error))?;
                succeeded(status.success(), &command)?;
            }
            Work::Command {
                mut command,
                is_shown: false,
            } => {
                let progress = progress(&title);
                let output = command
                    .stdin(Stdio::null())
                    .output()
                    .map_err(|error| not_started(&command, &error))?;
                progress.finish_and_clear();
                if !output.status.success() {
                    eprint!("{}", String::from_utf8_lossy(&output.stdout));
                    eprint!("{}", String::from_utf8_lossy(&output.stderr));
                }
                succeeded(output.status.success(), &command)?;
            }
        }
        eprintln!("{title}: done in {:.1} s", begun.elapsed().as_secs_f32());
    }
    Ok(())
}

/// A spinner with the time so far on a terminal; elsewhere a line, so that a log shows what is being waited for.
fn progress(title: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("{title} ...");
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let progress = ProgressBar::new_spinner().with_message(title.to_owned());
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    progress.enable_steady_tick(Duration::from_millis(100));
    progress
}

fn succeeded(success: bool, command: &Command) -> Result<(), Failed> {
    if success {
        Ok(())
    } else {
        Err(Failed(format!(
            "this failed; to repeat it:\n  {}",
            shell(command)
        )))
    }
}

fn not_started(command: &Command, error: &std::io::Error) -> Failed {
    Failed(format!("{} can't be run: {error}", shell(command)))
}

/// The command as one would type it.
fn shell(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}='{}'",
            name.to_string_lossy(),
            value?.to_string_lossy()
        ))
    });
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy().into_owned());
    let program = Path::new(command.get_program())
        .file_stem()
        .unwrap_or_default();
    variables
        .chain([program.to_string_lossy().into_owned()])
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}
