//! The status page in a real browser: Chromium, if it is installed.

use crate::{
    common::{Fixture, HOUR, Plan, with_canister},
    status_page::{HttpResponse, ask},
};
use integration_tests::user;
use serde::Deserialize;
use std::{
    env, fs,
    io::{self, BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Set it to have the picture in the book made anew.
const UPDATE: &str = "UPDATE_STATUS_PAGE";
const PICTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/src/status-page.png");

/// A telephone's width, and a desktop's, in CSS pixels.
const WIDTHS: [u32; 2] = [360, 1_280];

/// A picture's height: one store's part of the page, on a desktop.
const HEIGHT: u32 = 940;

/// The page in a frame of each width. It has no script, so this one looks into it, and says what it sees.
const FRAMES: &str = r#"<!DOCTYPE html><title>frames</title><pre id="seen"></pre><script>
const seen = [];
for (const width of [360, 1280]) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:800px;border:0`;
  frame.src = "/framed";
  frame.onload = () => {
    const page = frame.contentDocument, of = (what) => frame.contentWindow.getComputedStyle(page.querySelector(what));
    seen.push({
      width,
      inner: frame.contentWindow.innerWidth,
      scroll: page.documentElement.scrollWidth,
      background: of("body").backgroundColor,
      color: of("body").color,
      heading: page.querySelector("h1").textContent,
      stores: page.querySelectorAll("section").length,
      line: page.querySelector("path.entries").getBoundingClientRect().width,
      scripts: page.scripts.length,
      narrow: [...page.querySelectorAll("td, dd, p")].filter((it) => it.scrollWidth > it.clientWidth + 1).length,
      smallest: Math.min(...[...page.querySelectorAll("body *")].map((it) => parseFloat(frame.contentWindow.getComputedStyle(it).fontSize))),
    });
    if (seen.length == 2) document.getElementById("seen").textContent = JSON.stringify(seen);
  };
  document.body.append(frame);
}
</script>"#;

/// What the script saw in a frame.
#[derive(Debug, Deserialize)]
struct Seen {
    width: u32,
    inner: u32,
    scroll: u32,
    background: String,
    color: String,
    heading: String,
    stores: u32,
    line: f64,
    scripts: u32,
    narrow: u32,
    smallest: f64,
}

/// The browser, if there is one on the path.
fn browser() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let all = env::split_paths(&path).flat_map(|directory| names.map(|name| directory.join(name)));
    let found = all.into_iter().find(|program| program.is_file());
    if found.is_none() {
        // Past the harness, which keeps what a test prints unless it fails.
        let _ = writeln!(
            io::stderr(),
            "NOT RUN: there is no Chromium on the PATH, so no browser has shown the status page; on Debian `apt-get install chromium`"
        );
    }
    found
}

/// Serves the page at `/`, with the headers that the canister gave; at `/framed` without those that forbid frames; and the frames.
fn serve(page: HttpResponse) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = listener.local_addr().expect("it is bound").port();
    let page = Arc::new(page);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = Arc::clone(&page);
            // A browser opens connections that it may not use.
            thread::spawn(move || drop(answer(stream, &page)));
        }
    });
    port
}

fn answer(mut stream: TcpStream, page: &HttpResponse) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let html = (
        "Content-Type".to_owned(),
        "text/html; charset=utf-8".to_owned(),
    );
    let (status, headers, body) = match first.split(' ').nth(1) {
        Some("/") => (page.status_code, page.headers.clone(), page.text()),
        Some("/framed") => (200, vec![html], page.text()),
        Some("/frames") => (200, vec![html], FRAMES),
        _ => (404, vec![], ""),
    };
    write!(
        stream,
        "HTTP/1.1 {status} it\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    )?;
    for (name, value) in headers {
        write!(stream, "{name}: {value}\r\n")?;
    }
    write!(stream, "\r\n{body}")
}

/// Runs the browser without a window: what it prints.
fn browse(program: &Path, url: &str, is_dark: bool, options: &[String]) -> String {
    let profile = tempfile::tempdir().expect("there is room for a profile");
    let mut browser = Command::new(program)
        .args([
            "--headless=new",
            // Root has no sandbox. The page is ours.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-extensions",
            "--no-first-run",
            "--no-proxy-server",
            "--hide-scrollbars",
            "--virtual-time-budget=2000",
        ])
        .arg(format!(
            "--blink-settings=preferredColorScheme={}",
            u8::from(!is_dark)
        ))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .args(options)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(fs::File::create(profile.path().join("said")).expect("there is room"))
        .stderr(Stdio::null())
        .spawn()
        .expect("the browser starts");
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = browser.try_wait().expect("it is our process") {
            break status;
        }
        if begun.elapsed() > Duration::from_secs(60) {
            browser.kill().expect("it is our process");
            panic!("the browser does not end");
        }
        thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success(), "the browser failed: {status}");
    fs::read_to_string(profile.path().join("said")).expect("it is text")
}

/// Width and height of a PNG, in pixels.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"));
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().expect("four bytes"));
    (number(16), number(20))
}

/// A day of a store, in a minute: it fills, and forgets what is older than its window.
fn live(it: &Fixture<'_>) {
    let mut key = 0u64;
    for step in 0..60u64 {
        it.wait(HOUR / 45);
        let busy = step % 30;
        let sent: Vec<_> = (0..4 + busy.min(30 - busy))
            .map(|_| {
                key += 1;
                let args = (key.to_le_bytes().to_vec(), "hello");
                it.canister
                    .send(user(1), "say", args)
                    .expect("it is accepted")
            })
            .collect();
        for sent in sent {
            let answer: crate::common::Answer = it.canister.answer(sent).expect("it answers");
            answer.expect("it runs");
        }
    }
    for attempt in 0..12 {
        let key = (key - attempt % 3).to_le_bytes();
        let _ = it.say("say", &key, if attempt < 7 { "other" } else { "hello" });
    }
    for _ in 0..3 {
        it.say_dated(b"old", 0).expect_err("it is too old");
    }
    for key in [b"a", b"b"] {
        it.work("work", key, Plan::TrapLater).expect_err("it traps");
        it.wait(HOUR / 10);
    }
    it.run_timers();
}

#[test]
fn the_page_fits_a_telephone_and_a_desktop_in_light_and_dark() {
    let Some(browser) = browser() else { return };
    with_canister(|it| {
        live(&it);
        let port = serve(ask(&it.canister, "GET", "/"));
        thread::scope(|scope| {
            scope.spawn(|| take_pictures(&browser, port));
            look_into_frames(&browser, port);
        });
    });
}

/// What a browser makes of the page, seen from outside.
fn look_into_frames(browser: &Path, port: u16) {
    let mut backgrounds = vec![];
    for is_dark in [false, true] {
        let url = format!("http://127.0.0.1:{port}/frames");
        let said = browse(browser, &url, is_dark, &["--dump-dom".into()]);
        let seen = said
            .split("<pre id=\"seen\">")
            .nth(1)
            .and_then(|rest| rest.split("</pre>").next());
        let seen: Vec<Seen> =
            serde_json::from_str(seen.expect("the script ran")).expect("it is JSON");
        assert_eq!(seen.len(), WIDTHS.len());
        for frame in &seen {
            assert_eq!(
                (frame.inner, frame.scroll),
                (frame.width, frame.width),
                "{frame:?}"
            );
            assert_eq!(
                (frame.heading.as_str(), frame.stores),
                ("Deduplication status", 4)
            );
            assert_eq!((frame.scripts, frame.narrow), (0, 0), "{frame:?}");
            assert!(
                frame.line > f64::from(frame.width) / 2.0 && frame.smallest >= 14.0,
                "{frame:?}"
            );
            assert_ne!(frame.background, frame.color);
        }
        backgrounds.push((seen[0].background.clone(), seen[0].color.clone()));
    }
    assert_ne!(backgrounds[0].0, backgrounds[1].0);
    assert_ne!(backgrounds[0].1, backgrounds[1].1);
}

/// With its own headers: the policy lets its style through.
fn take_pictures(browser: &Path, port: u16) {
    for (width, is_dark) in WIDTHS
        .into_iter()
        .flat_map(|width| [(width, false), (width, true)])
    {
        let directory = tempfile::tempdir().expect("there is room");
        let picture = directory.path().join("page.png");
        let options = [
            format!("--screenshot={}", picture.display()),
            format!("--window-size={width},{HEIGHT}"),
        ];
        browse(
            browser,
            &format!("http://127.0.0.1:{port}/"),
            is_dark,
            &options,
        );
        let png = fs::read(&picture).expect("there is a picture");
        assert_eq!(size(&png), (width, HEIGHT));
        assert!(png.len() > 10_000, "{} bytes are an empty page", png.len());
        if env::var_os(UPDATE).is_some() && width == WIDTHS[1] && !is_dark {
            fs::copy(&picture, PICTURE).expect("it is written");
        }
    }
}
