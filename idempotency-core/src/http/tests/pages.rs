//! What the page says of a store.

use super::{
    html::{check, text},
    *,
};
use crate::http::page::STYLE;
use std::collections::BTreeMap;

fn page(store: Observation, now: u64) -> String {
    let page = body(&get("/", &[("payments", store)], now));
    check(&page);
    page
}

#[test]
fn of_no_store() {
    let page = body(&get("/", &[], START));
    check(&page);
    assert!(!page.contains("<section"));
}

#[test]
fn of_an_empty_store() {
    let said = text(&page(
        Observation::of(&open(VectorMemory::default())),
        START,
    ));
    for part in [
        "payments Requests 0 of 10, 0 % Bytes 0 of 1,073,741,824, 0 %",
        "Nothing has been recorded since the last upgrade.",
        "Window 1 h",
        "Age of the oldest none is held",
        "Next eviction none",
        "No call was refused since the last upgrade.",
        "No request waits for somebody to find out what it did.",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn of_a_full_store() {
    let store = open(VectorMemory::default());
    let minute = 60_000_000_000;
    for key in 0..10 {
        execute(&store, key, START + u64::from(key) * minute).unwrap();
    }
    let now = START + 10 * minute;
    for _ in 0..1_234 {
        store.count_refusal(&execute(&store, 10, now).unwrap_err());
    }
    store.count_refusal(&IdempotencyError::TooOld);
    store.count_replay();
    let html = page(Observation::of(&store), now);
    let said = text(&html);
    for part in [
        "Requests 10 of 10, 100 %",
        "Bytes 1,280 of 1,073,741,824, under 1 %",
        "Occupancy over time",
        "10 min ago now",
        "Age of the oldest 10 min",
        "Since the last upgrade, 10 min ago Executed 10 Replayed 1 Refused 1,235",
        "Most frequent refusals Reason Calls Full 1,234 TooOld 1",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(html.contains("bar high") && html.contains("bar low"));
    // There are 75 s between samples at the least, so every second request is in one, and the last one in what is so now.
    let (_, line) = html.split_once("class=\"entries\" d=\"").unwrap();
    assert!(
        line.starts_with("M0 900H200V700H400V500H600V300H800V100H1000V0\""),
        "{line}"
    );
}

#[test]
fn of_requests_whose_outcome_is_unknown() {
    let mut store = extreme();
    let request = |endpoint: &str, step: Option<&str>, reason: Option<&str>| UnknownRequest {
        number: 1,
        identity: Identity([0xAB; 24]),
        endpoint: endpoint.into(),
        scope: ByteBuf::from(b"SCOPE".to_vec()),
        since: at(START),
        last_step: step.map(Into::into),
        reason: reason.map(Into::into),
    };
    store.unresolved = Ok(vec![
        request("order", Some("pay"), Some("REASON of the callee")),
        request("", None, None),
    ]);
    store.stats.unknown = 25;
    let html = page(store, START + 90 * 60_000_000_000);
    let said = text(&html);
    for part in [
        "Requests whose outcome is unknown Endpoint Began Last step State",
        "order 1 h 30 min ago pay parked",
        "none 1 h 30 min ago none cut off",
        "And 5 more.",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for secret in ["SCOPE", "REASON"] {
        assert!(!html.contains(secret), "{secret}");
    }
}

#[test]
fn names_are_no_html() {
    let page = body(&get("/", &[(HOSTILE, extreme())], START));
    check(&page);
    assert!(!page.contains("<script") && !page.contains('\u{202e}'));
    assert!(page.contains(
        "&lt;script&gt;alert(&#39;&quot;x&quot;&#39;)&lt;/script&gt;&amp;amp;\u{fffd}\u{fffd}"
    ));
}

#[test]
fn of_the_greatest_numbers() {
    for now in [0, START, u64::MAX] {
        let page = body(&get("/", &[("a", extreme()), ("b", extreme())], now));
        check(&page);
        assert!(
            text(&page).contains("18,446,744,073,709,551,615 of 18,446,744,073,709,551,615, 100 %")
        );
        // No line leaves its drawing.
        for path in page.split(" d=\"").skip(1) {
            let path = path.split('"').next().unwrap();
            let numbers = path
                .split(['M', 'H', 'V', 'Z', ' '])
                .filter(|it| !it.is_empty());
            assert!(numbers.clone().count() > 2);
            for number in numbers {
                assert!(number.parse::<u64>().unwrap() <= 1_000, "{path}");
            }
        }
    }
}

#[test]
fn an_answer_is_no_longer_than_promised() {
    // The longest characters, and those that grow most.
    for character in ["\u{1f600}", "&", "\"", "\u{7f}"] {
        let mut store = extreme();
        for request in store.unresolved.as_mut().unwrap() {
            request.endpoint = character.repeat(10_000);
            request.last_step = Some(character.repeat(10_000));
        }
        let name = character.repeat(10_000);
        for path in ["/", "/metrics"] {
            let response = get(path, &[(&name, store.clone())], START);
            assert!(response.body().len() < 64_000, "{}", response.body().len());
        }
    }
}

#[test]
fn of_a_store_that_another_has_opened() {
    let memory = VectorMemory::default();
    let store = open(memory.clone());
    execute(&store, 1, START).unwrap();
    assert!(!Observation::of(&store).is_damaged());
    let _other = open(memory);
    let observation = Observation::of(&store);
    assert!(observation.is_damaged());
    let said = text(&page(observation, START));
    assert!(
        said.contains("The memory of this store is damaged."),
        "{said}"
    );
    assert!(said.contains("can't be read"), "{said}");
}

#[test]
fn of_a_store_that_has_refused_a_call_as_damaged() {
    let store = open(VectorMemory::default());
    store.count_refusal(&IdempotencyError::StoreDamaged);
    let said = text(&page(Observation::of(&store), START));
    assert!(
        said.contains("The memory of this store is damaged."),
        "{said}"
    );
}

#[test]
fn samples_are_few_and_the_last_ones() {
    let store = open(VectorMemory::default());
    let interval = HOUR.as_nanos() as u64 / 48;
    for number in 0..1_000 {
        store.evict(at(START + number * interval / 4), 1).unwrap();
    }
    let samples = store.samples();
    assert_eq!(samples.len(), 96);
    let between = samples
        .windows(2)
        .map(|two| two[1].at.as_nanos() - two[0].at.as_nanos());
    assert!(between.into_iter().all(|between| between == interval));
    assert_eq!(samples[95].at, at(START + 249 * interval));
}

fn luminance(color: &str) -> f64 {
    let digits: String = match color.len() {
        3 => color.chars().flat_map(|digit| [digit, digit]).collect(),
        _ => color.to_owned(),
    };
    let linear = |place: usize| {
        let value = f64::from(u8::from_str_radix(&digits[place..place + 2], 16).unwrap()) / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * linear(0) + 0.7152 * linear(2) + 0.0722 * linear(4)
}

/// As WCAG 2 asks at its level AA: 4.5 for texts, 3 for lines.
#[test]
fn colours_differ_enough_in_light_and_dark() {
    let schemes: Vec<_> = STYLE.split(":root{").skip(1).collect();
    assert_eq!(schemes.len(), 2);
    for scheme in schemes {
        let colors: BTreeMap<_, _> = scheme
            .split('}')
            .next()
            .unwrap()
            .split(';')
            .filter_map(|declaration| declaration.strip_prefix("--")?.split_once(":#"))
            .collect();
        for (front, least) in [
            ("text", 7.0),
            ("muted", 4.5),
            ("entries", 4.5),
            ("bytes", 3.0),
            ("alarm", 4.5),
        ] {
            for back in ["page", "card"] {
                let (one, other) = (luminance(colors[front]), luminance(colors[back]));
                let contrast = (one.max(other) + 0.05) / (one.min(other) + 0.05);
                assert!(contrast >= least, "{front} on {back}: {contrast:.1}");
            }
        }
    }
}
