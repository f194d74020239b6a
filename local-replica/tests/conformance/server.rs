//! The server as a process: version, port file, idle exit.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SERVER: &str = env!("CARGO_BIN_EXE_local-replica");

fn start(port_file: &Path, args: &[&str]) -> Child {
    Command::new(SERVER)
        .arg("--port-file")
        .arg(port_file)
        .args(args)
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the server when a test ends early.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Running {
    fn exits_within(&mut self, limit: Duration) -> bool {
        let start = Instant::now();
        while start.elapsed() < limit {
            if self.0.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

fn port(file: &Path) -> u16 {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(10) {
        match std::fs::read_to_string(file) {
            Ok(text) if text.ends_with('\n') => return text.trim_end().parse().unwrap(),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("no port in {}", file.display());
}

#[test]
fn version_names_the_stand_in() {
    let output = Command::new(SERVER).arg("--version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("pocket-ic-server 16."), "{text}");
    assert!(text.contains("local-replica"), "{text}");
}

#[test]
fn port_file_belongs_to_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("port");
    let mut first = Running(start(&file, &["--ttl", "30"]));
    let port = port(&file);
    let mut second = Running(start(&file, &[]));
    assert!(second.exits_within(Duration::from_secs(5)));
    assert!(!first.exits_within(Duration::from_millis(200)));
    let status = reqwest::blocking::get(format!("http://127.0.0.1:{port}/status")).unwrap();
    assert!(status.status().is_success());
}

#[test]
fn idle_server_exits() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("port");
    let mut server = Running(start(&file, &["--ttl", "1"]));
    assert!(server.exits_within(Duration::from_secs(20)));
    assert!(!file.exists(), "the port file is removed");
}

#[test]
fn hard_limit_ends_a_busy_server() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("port");
    let mut server = Running(start(&file, &["--hard-ttl", "1"]));
    assert!(server.exits_within(Duration::from_secs(20)));
}
