//! Gateways: a port for agents and browsers.

use candid::CandidType;
use pocket_ic::common::rest::InstanceHttpGatewayConfig;
use pocket_ic::nonblocking::get_default_effective_canister_id;

use crate::world::{World, builder, counter_wasm, install};

#[derive(CandidType)]
struct HttpResponse {
    status_code: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    upgrade: Option<bool>,
}

/// A canister that serves one response to queries, and another after an upgrade to an update call.
fn site(upgrade: bool) -> Vec<u8> {
    let response = |status_code, body: &str, upgrade| {
        let headers = vec![
            ("content-type".to_owned(), "text/x-test".to_owned()),
            ("set-cookie".to_owned(), "a=1".to_owned()),
            ("set-cookie".to_owned(), "b=2".to_owned()),
        ];
        candid::encode_one(HttpResponse {
            status_code,
            headers,
            body: body.as_bytes().to_vec(),
            upgrade,
        })
        .unwrap()
    };
    let text = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|it| format!("\\{it:02x}"))
            .collect::<String>()
    };
    let query = response(418, "from a query", upgrade.then_some(true));
    let update = response(201, "from an update", None);
    let wat = format!(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (data (i32.const 0) "{}")
            (data (i32.const 4096) "{}")
            (func (export "canister_query http_request")
                (call $append (i32.const 0) (i32.const {})) (call $reply))
            (func (export "canister_update http_request_update")
                (call $append (i32.const 4096) (i32.const {})) (call $reply)))"#,
        text(&query),
        text(&update),
        query.len(),
        update.len()
    );
    wat::parse_str(wat).unwrap()
}

async fn get(url: &str, host: Option<String>) -> (u16, Vec<String>, String) {
    let mut request = reqwest::Client::new().get(url);
    if let Some(host) = host {
        request = request.header("host", host);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    let header = |name| {
        let values = response.headers().get_all(name).iter();
        values
            .map(|it| it.to_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let headers = [header("content-type"), header("set-cookie")].concat();
    (status, headers, response.text().await.unwrap())
}

#[tokio::test]
async fn canisters_serve_browsers() {
    let world = World::live().await;
    let port = world.pic.url().unwrap().port().unwrap();
    for (upgrade, status, body) in [(false, 418, "from a query"), (true, 201, "from an update")] {
        let canister = install(&world.pic, site(upgrade)).await;
        let host = Some(format!("{canister}.localhost:{port}"));
        let by_host = get(&format!("http://127.0.0.1:{port}/page?x=1"), host).await;
        let url = format!("http://127.0.0.1:{port}/page?x=1&canisterId={canister}");
        let by_query = get(&url, None).await;
        let headers = ["text/x-test", "a=1", "b=2"].map(str::to_owned).to_vec();
        assert_eq!(by_host, (status, headers, body.to_owned()));
        assert_eq!(by_query, by_host);
    }
    let url = format!("http://127.0.0.1:{port}/");
    assert_eq!(get(&url, None).await.0, 400, "no canister is named");
    let url = format!("{url}?canisterId={}", world.canister);
    assert_eq!(get(&url, None).await.0, 502, "the canister serves nothing");
}

#[tokio::test]
async fn live_instance_can_be_stopped_and_started_again() {
    let mut world = World::live().await;
    let url = world.url.clone();
    assert_eq!(
        world.pic.make_live(None).await.to_string(),
        url,
        "it is live"
    );
    world.pic.stop_live().await;
    assert!(reqwest::get(format!("{url}api/v2/status")).await.is_err());
    world.url = world.pic.make_live(None).await.to_string();
    let agent = world.agent(1).await;
    agent.update(&world.canister, "inc").await.unwrap();
    assert_eq!(
        agent
            .status()
            .await
            .unwrap()
            .replica_health_status
            .as_deref(),
        Some("healthy")
    );
}

#[tokio::test]
async fn gateway_tells_where_canisters_are_created() {
    let world = World::live().await;
    let id = get_default_effective_canister_id(world.url.clone())
        .await
        .unwrap();
    assert_eq!(id, world.canister);
}

#[tokio::test]
async fn instance_can_be_made_with_a_gateway() {
    let gateway = InstanceHttpGatewayConfig {
        ip_addr: None,
        port: None,
        domains: None,
        https_config: None,
        domain_custom_provider_local_file: None,
    };
    let builder = builder().with_application_subnet().with_auto_progress();
    let pic = builder.with_http_gateway(gateway).build_async().await;
    let canister = install(&pic, counter_wasm()).await;
    let url = pic.url().expect("a gateway").to_string();
    let world = World { pic, canister, url };
    world.agent(1).await.update(&canister, "inc").await.unwrap();
    assert_eq!(world.count().await, 1);
}

#[tokio::test]
async fn gateway_goes_with_its_instance() {
    let world = World::live().await;
    let url = format!("{}api/v2/status", world.url);
    assert_eq!(reqwest::get(&url).await.unwrap().status(), 200);
    // The client that made the instance deletes it.
    world.pic.drop().await;
    assert!(reqwest::get(&url).await.is_err());
    let pic = builder().with_application_subnet().build_async().await;
    assert_eq!(pic.root_key().await, None, "there is no NNS");
    pic.drop().await;
}
