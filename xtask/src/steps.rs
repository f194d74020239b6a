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

/// How a step ended that did not fail.
pub(crate) enum Ended {
    /// As it should.
    Done,
    /// With something that somebody must read, such as what this machine can't do.
    Warned(String),
}

/// What a step does.
enum Work {
    /// Runs a command and shows its output only if it fails.
    Quiet(Command),
    /// Runs a command and shows its output as it comes.
    Shown(Command),
    /// Calls a function.
    Call(Function),
    /// Calls a function that says itself how far it is.
    Told(Function),
}

type Function = Box<dyn FnOnce() -> Result<Ended, Failed>>;

/// One step of a chore.
pub(crate) struct Step {
    what: String,
    work: Work,
}

impl Step {
    /// A command whose output matters only if it fails.
    pub(crate) fn new(what: &str, command: Command) -> Self {
        Self::of(what, Work::Quiet(command))
    }

    /// A command whose output is shown as it comes.
    pub(crate) fn shown(what: &str, command: Command) -> Self {
        Self::of(what, Work::Shown(command))
    }

    /// A function.
    pub(crate) fn call(what: &str, call: impl FnOnce() -> Result<Ended, Failed> + 'static) -> Self {
        Self::of(what, Work::Call(Box::new(call)))
    }

    /// A function that says itself how far it is.
    pub(crate) fn told(what: &str, call: impl FnOnce() -> Result<Ended, Failed> + 'static) -> Self {
        Self::of(what, Work::Told(Box::new(call)))
    }

    fn of(what: &str, work: Work) -> Self {
        Self {
            what: what.to_owned(),
            work,
        }
    }

    /// Sets an environment variable of its command.
    pub(crate) fn with_env(mut self, name: &str, value: &str) -> Self {
        if let Work::Quiet(command) | Work::Shown(command) = &mut self.work {
            command.env(name, value);
        }
        self
    }
}

/// `cargo` with arguments that hold no spaces, in the root of the workspace.
pub(crate) fn cargo(arguments: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments.split_whitespace()).current_dir(ROOT);
    command
}

/// The root of the workspace.
pub(crate) const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Runs the steps in order and stops at the first that fails. Warnings are said again at the end, where they are seen;
/// the answer is how many there were.
pub(crate) fn run(steps: Vec<Step>) -> Result<usize, Failed> {
    let all = steps.len();
    let mut warnings = vec![];
    for (index, Step { what, work }) in steps.into_iter().enumerate() {
        let title = format!("[{}/{all}] {what}", index + 1);
        let begun = Instant::now();
        let ended = match work {
            Work::Shown(mut command) => {
                eprintln!("{title}");
                let status = command.status();
                let status = status.map_err(|error| not_started(&command, &error))?;
                succeeded(status.success(), &command).map(|()| Ended::Done)
            }
            Work::Quiet(mut command) => {
                watched(&title, || quietly(&mut command)).map(|()| Ended::Done)
            }
            Work::Call(call) => watched(&title, call),
            Work::Told(call) => {
                eprintln!("{title}");
                call()
            }
        };
        match ended? {
            Ended::Done => eprintln!("{title}: done in {:.1} s", begun.elapsed().as_secs_f32()),
            Ended::Warned(why) => {
                eprintln!("{title}: WARNING: {why}");
                warnings.push(format!("WARNING: {what}: {why}"));
            }
        }
    }
    for warning in &warnings {
        eprintln!("{warning}");
    }
    Ok(warnings.len())
}

/// Runs the steps in order; a warning is a failure, too.
pub(crate) fn run_strictly(steps: Vec<Step>) -> Result<(), Failed> {
    match run(steps)? {
        0 => Ok(()),
        _ => Err(Failed("see the warning".to_owned())),
    }
}

/// Runs a command and shows its output only if it fails.
pub(crate) fn quietly(command: &mut Command) -> Result<(), Failed> {
    output(command).map(drop)
}

/// Runs a command to its end: what it wrote to stdout. All its output is shown if it fails.
pub(crate) fn output(command: &mut Command) -> Result<String, Failed> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(command, &error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        eprint!("{text}");
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
    }
    succeeded(output.status.success(), command).map(|()| text)
}

/// Does something with a spinner and the time so far on a terminal; elsewhere with a line, so that a log shows what is being
/// waited for.
fn watched<T>(title: &str, work: impl FnOnce() -> T) -> T {
    if !std::io::stderr().is_terminal() {
        eprintln!("{title} ...");
        return work();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
    let progress = ProgressBar::new_spinner().with_message(title.to_owned());
    progress.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    progress.enable_steady_tick(Duration::from_millis(100));
    let result = work();
    progress.finish_and_clear();
    result
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
