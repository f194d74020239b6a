//! HTTP gateways: a port for one instance, where agents find `/api`, and browsers what canisters serve.
//!
//! A request goes to the canister that its host names, as in `http://<canister>.localhost:<port>/`, or its query, as in
//! `?canisterId=<canister>`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::serve::ListenerExt;
use candid::Principal;
use pocket_ic::common::rest::{CreateHttpGatewayResponse, HttpGatewayBackend, HttpGatewayConfig};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::body::Body;
use super::routes::json;
use super::{Server, api, browser};
use crate::errors::ApiError;

const LOCALHOST: &str = "localhost";

/// A port that is being served.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) instance: usize,
    pub(super) port: u16,
    pub(super) domains: Option<Vec<String>>,
    task: AbortHandle,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What a gateway's requests are answered from.
#[derive(Debug)]
struct Site {
    server: Arc<Server>,
    instance: usize,
    domains: Vec<String>,
}

impl Gateway {
    /// Binds the port and serves it until the gateway is dropped.
    pub(super) async fn start(
        server: &Arc<Server>,
        config: &HttpGatewayConfig,
    ) -> Result<Self, ApiError> {
        let HttpGatewayBackend::PocketIcInstance(instance) = config.forward_to else {
            return Err(ApiError::unsupported("gateways to other replicas"));
        };
        if config.https_config.is_some() || config.domain_custom_provider_local_file.is_some() {
            return Err(ApiError::unsupported(
                "gateways with HTTPS or custom domains",
            ));
        }
        server.instance(instance)?;
        let address = match &config.ip_addr {
            Some(address) => address.parse().map_err(|error| {
                ApiError::bad_request(format!("Not an IP address: {address}: {error}"))
            })?,
            None => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        let address = SocketAddr::new(address, config.port.unwrap_or_default());
        let failed = |error: std::io::Error| {
            ApiError::bad_request(format!("Failed to bind to address {address}: {error}"))
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let port = listener.local_addr().map_err(failed)?.port();
        let site = Arc::new(Site {
            server: Arc::clone(server),
            instance,
            domains: config
                .domains
                .clone()
                .unwrap_or_else(|| vec![LOCALHOST.to_owned()]),
        });
        let router = Router::new()
            .fallback(serve)
            .layer(DefaultBodyLimit::disable())
            .layer(middleware::from_fn_with_state(
                Arc::clone(server),
                super::routes::count,
            ))
            .with_state(site);
        let listener = listener.tap_io(|stream| {
            // A connection that is gone already is noticed when it is served.
            let _ = stream.set_nodelay(true);
        });
        let task = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Ok(Self {
            instance,
            port,
            domains: config.domains.clone(),
            task,
        })
    }
}

/// The gateways that run.
pub(super) async fn list(State(server): State<Arc<Server>>) -> Response {
    json(StatusCode::OK, &server.list_gateways())
}

/// Starts one.
pub(super) async fn start(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let config = match Body::new(&headers, &bytes).parse::<HttpGatewayConfig>() {
        Ok(config) => config,
        Err(error) => return error.into_response(),
    };
    match server.start_gateway(&config).await {
        Ok(info) => json(
            StatusCode::CREATED,
            &CreateHttpGatewayResponse::Created(info),
        ),
        Err(error) => {
            let message = error.message;
            json(
                StatusCode::BAD_REQUEST,
                &CreateHttpGatewayResponse::Error { message },
            )
        }
    }
}

/// Stops one.
pub(super) async fn stop(State(server): State<Arc<Server>>, Path(id): Path<usize>) -> Response {
    match server.stop_gateway(id) {
        Ok(()) => json(StatusCode::OK, &()),
        Err(error) => error.into_response(),
    }
}

async fn serve(
    State(site): State<Arc<Site>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let instance = match site.server.instance(site.instance) {
        Ok(instance) => instance,
        Err(error) => return error.into_response(),
    };
    let path = uri.path();
    if let Some(path) = path.strip_prefix("/api/") {
        return api::serve(&instance, &method, path, body).await;
    }
    let result = match site.canister(&uri, &headers) {
        _ if path == "/_/topology" => super::routes::topology(&instance).await,
        Some(canister) => browser::ask(&instance, canister, &method, &uri, &headers, body).await,
        None => Err(ApiError::bad_request(
            "canister_id_not_found: neither the host nor `canisterId` in the query names a canister",
        )),
    };
    result.unwrap_or_else(|error| {
        let status =
            StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, error.message).into_response()
    })
}

impl Site {
    fn canister(&self, uri: &Uri, headers: &HeaderMap) -> Option<Principal> {
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        let host = host.or_else(|| uri.host()).unwrap_or_default();
        let host = host.split(':').next().unwrap_or_default();
        let by_host = self.domains.iter().find_map(|domain| {
            let name = host.strip_suffix(domain.as_str())?.strip_suffix('.')?;
            Principal::from_text(name).ok()
        });
        by_host.or_else(|| {
            let query = uri.query().unwrap_or_default();
            query
                .split('&')
                .find_map(|pair| Principal::from_text(pair.strip_prefix("canisterId=")?).ok())
        })
    }
}
