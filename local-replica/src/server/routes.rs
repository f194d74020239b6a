//! PocketIC's HTTP routes.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use pocket_ic::common::rest::{
    AutoProgressConfig, CreateInstanceResponse, InstanceConfig, RawAddCycles, RawCanisterCall,
    RawCanisterId, RawCanisterResult, RawCycles, RawIngressStatusArgs, RawMessageId,
    RawMockCanisterHttpResponse, RawPrincipalId, RawSetStableMemory, RawStableMemory, RawSubnetId,
    RawTickConfigs, RawTime,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::Body;
use super::{Server, api, gateway, hooks};
use crate::errors::{ApiError, Reject};
use crate::ingress::principal;
use crate::instance::Instance;
use crate::replica::Replica;

pub(super) fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/status", get(|| async {}))
        .route("/blobstore", post(store_blob))
        .route("/blobstore/", post(store_blob))
        .route("/instances", get(list_instances).post(create_instance))
        .route("/instances/", get(list_instances).post(create_instance))
        .route("/instances/{id}", any(instance_itself))
        .route("/instances/{id}/", any(instance_itself))
        .route("/instances/{id}/{*operation}", any(operate))
        .route("/http_gateway", get(gateway::list).post(gateway::start))
        .route("/http_gateway/", get(gateway::list).post(gateway::start))
        .route("/http_gateway/{id}/stop", post(gateway::stop))
        .fallback(unsupported)
        .layer(DefaultBodyLimit::disable())
        .layer(middleware::from_fn_with_state(Arc::clone(&server), count))
        .with_state(server)
}

pub(super) async fn count(
    State(server): State<Arc<Server>>,
    request: Request,
    next: Next,
) -> Response {
    let _running = server.request_started();
    next.run(request).await
}

async fn unsupported(request: Request) -> Response {
    let what = format!("{} {}", request.method(), request.uri().path());
    ApiError::unsupported(&what).into_response()
}

/// The subnets of an instance.
pub(super) async fn topology(instance: &Instance) -> Result<Response, ApiError> {
    on(instance, |replica| Ok(replica.topology.to_raw())).await
}

async fn store_blob(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let gzipped = match headers
        .get(header::CONTENT_ENCODING)
        .map(|value| value.as_bytes())
    {
        None => false,
        Some(b"gzip") => true,
        Some(_) => {
            return ApiError::bad_request("Only the content encoding gzip is known")
                .into_response();
        }
    };
    match server.store_blob(&body, gzipped) {
        Ok(id) => hex(&id).into_response(),
        Err(error) => error.into_response(),
    }
}

async fn list_instances(State(server): State<Arc<Server>>) -> Response {
    json(StatusCode::OK, &server.list_instances())
}

async fn create_instance(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let body = Body::new(&headers, &bytes);
    let config = match body.parse::<InstanceConfig>() {
        Ok(config) => config,
        Err(error) => return error.into_response(),
    };
    match server.create_instance(&config).await {
        Ok((instance_id, topology, http_gateway_info)) => {
            let created = CreateInstanceResponse::Created {
                instance_id,
                topology,
                http_gateway_info,
            };
            json(StatusCode::CREATED, &created)
        }
        Err(error) => {
            let message = error.message;
            json(
                StatusCode::BAD_REQUEST,
                &CreateInstanceResponse::Error { message },
            )
        }
    }
}

async fn instance_itself(
    State(server): State<Arc<Server>>,
    method: Method,
    Path(id): Path<usize>,
) -> Response {
    if method != Method::DELETE {
        return ApiError::unsupported(&format!("{method} of an instance")).into_response();
    }
    match server.delete_instance(id) {
        Ok(()) => StatusCode::OK.into_response(),
        Err(error) => error.into_response(),
    }
}

async fn operate(
    State(server): State<Arc<Server>>,
    method: Method,
    Path((id, operation)): Path<(usize, String)>,
    headers: HeaderMap,
    bytes: Bytes,
) -> Response {
    let result = match (server.instance(id), operation.strip_prefix("api/")) {
        (Ok(instance), Some(path)) => {
            return api::serve(&instance, &method, path, bytes).await;
        }
        (Ok(instance), None) => {
            let body = Body::new(&headers, &bytes);
            run(&server, &instance, &method, &operation, &body).await
        }
        (Err(error), _) => Err(error),
    };
    result.unwrap_or_else(IntoResponse::into_response)
}

/// One operation of an instance.
async fn run(
    server: &Server,
    instance: &Instance,
    method: &Method,
    operation: &str,
    body: &Body<'_>,
) -> Result<Response, ApiError> {
    match (method.as_str(), operation) {
        ("GET", "read/topology" | "_/topology") => topology(instance).await,
        ("GET", "read/get_time") => {
            on(instance, |replica| {
                Ok(RawTime {
                    nanos_since_epoch: replica.time_ns,
                })
            })
            .await
        }
        ("POST", "read/pub_key") => {
            with(instance, body, |replica, subnet: RawSubnetId| {
                replica.subnet_key(principal(&subnet.subnet_id)?)
            })
            .await
        }
        ("GET", "read/get_canister_http") => {
            on(instance, |replica| Ok(replica.pending_outcalls())).await
        }
        ("POST", "read/get_cycles") => with(instance, body, get_cycles).await,
        ("POST", "read/get_controllers") => with(instance, body, get_controllers).await,
        ("POST", "read/get_subnet") => with(instance, body, get_subnet).await,
        ("POST", "read/get_stable_memory") => with(instance, body, get_stable_memory).await,
        ("POST", "read/query") => {
            with(instance, body, |replica, call: RawCanisterCall| {
                Ok(raw_result(replica.query(call)?, false))
            })
            .await
        }
        ("POST", "read/ingress_status") => with(instance, body, ingress_status).await,
        ("POST", "update/set_time") => {
            with(instance, body, |replica, time: RawTime| {
                replica.set_time(time.nanos_since_epoch)
            })
            .await
        }
        ("POST", "update/set_certified_time") => {
            with(instance, body, |replica, time: RawTime| {
                replica.set_certified_time(time.nanos_since_epoch)
            })
            .await
        }
        ("POST", "update/tick") => with(instance, body, tick).await,
        ("POST", "update/add_cycles") => with(instance, body, add_cycles).await,
        ("POST", "update/set_stable_memory") => {
            let args: RawSetStableMemory = body.parse()?;
            let blob = server.blob(&args.blob_id.0)?;
            on(instance, move |replica| {
                canister(replica, &args.canister_id)?.stable.replace(&blob);
                Ok(())
            })
            .await
        }
        ("POST", "update/submit_ingress_message") => with(instance, body, submit).await,
        ("POST", "update/await_ingress_message") => {
            with(instance, body, |replica, id: RawMessageId| {
                Ok(raw_result(replica.await_ingress(&id.message_id)?, true))
            })
            .await
        }
        ("POST", "update/mock_canister_http") => {
            with(
                instance,
                body,
                |replica, mock: RawMockCanisterHttpResponse| replica.mock_outcall(mock),
            )
            .await
        }
        (method, operation) if let Some(hook) = operation.strip_prefix("local-replica/") => {
            hooks::run(instance, method, hook, body).await
        }
        ("GET", "auto_progress") => Ok(json(StatusCode::OK, &instance.makes_progress().await?)),
        ("POST", "auto_progress") => {
            let config: AutoProgressConfig = body.parse()?;
            instance.start_progress(config.artificial_delay_ms).await?;
            Ok(json(StatusCode::OK, &()))
        }
        ("POST", "stop_progress") => {
            instance.stop_progress().await?;
            Ok(json(StatusCode::OK, &()))
        }
        (method, operation) => Err(ApiError::unsupported(&format!("{method} {operation}"))),
    }
}

pub(super) async fn on<T, F>(instance: &Instance, job: F) -> Result<Response, ApiError>
where
    T: Serialize + Send + 'static,
    F: FnOnce(&mut Replica) -> Result<T, ApiError> + Send + 'static,
{
    Ok(json(StatusCode::OK, &instance.call(job).await?))
}

pub(super) async fn with<A, T, F>(
    instance: &Instance,
    body: &Body<'_>,
    job: F,
) -> Result<Response, ApiError>
where
    A: DeserializeOwned + Send + 'static,
    T: Serialize + Send + 'static,
    F: FnOnce(&mut Replica, A) -> Result<T, ApiError> + Send + 'static,
{
    let args = body.parse()?;
    on(instance, move |replica| job(replica, args)).await
}

fn canister<'a>(
    replica: &'a mut Replica,
    id: &[u8],
) -> Result<&'a mut crate::canister::Canister, ApiError> {
    let id = principal(id)?;
    replica
        .canister(id)
        .map_err(|_| ApiError::canister_not_found(id))
}

fn get_cycles(replica: &mut Replica, id: RawCanisterId) -> Result<RawCycles, ApiError> {
    Ok(RawCycles {
        cycles: canister(replica, &id.canister_id)?.cycles,
    })
}

fn add_cycles(replica: &mut Replica, args: RawAddCycles) -> Result<RawCycles, ApiError> {
    let canister = canister(replica, &args.canister_id)?;
    canister.cycles = canister.cycles.saturating_add(args.amount);
    Ok(RawCycles {
        cycles: canister.cycles,
    })
}

fn get_controllers(
    replica: &mut Replica,
    id: RawCanisterId,
) -> Result<Vec<RawPrincipalId>, ApiError> {
    let controllers = &canister(replica, &id.canister_id)?.settings.controllers;
    Ok(controllers
        .iter()
        .map(|controller| (*controller).into())
        .collect())
}

fn get_subnet(replica: &mut Replica, id: RawCanisterId) -> Result<Option<RawSubnetId>, ApiError> {
    let id = principal(&id.canister_id)?;
    Ok(replica
        .canisters
        .get(&id)
        .map(|canister| canister.subnet.into()))
}

fn get_stable_memory(
    replica: &mut Replica,
    id: RawCanisterId,
) -> Result<RawStableMemory, ApiError> {
    Ok(RawStableMemory {
        blob: canister(replica, &id.canister_id)?.stable.read_all(),
    })
}

fn tick(replica: &mut Replica, configs: RawTickConfigs) -> Result<(), ApiError> {
    if configs.blockmakers.is_some() {
        return Err(ApiError::unsupported("choosing block makers"));
    }
    replica.round();
    Ok(())
}

fn submit(
    replica: &mut Replica,
    call: RawCanisterCall,
) -> Result<Result<RawMessageId, pocket_ic::RejectResponse>, ApiError> {
    let effective_principal = call.effective_principal.clone();
    Ok(replica
        .submit(call)?
        .map(|message_id| RawMessageId {
            effective_principal,
            message_id,
        })
        .map_err(|reject| reject.for_user(false)))
}

fn ingress_status(
    replica: &mut Replica,
    args: RawIngressStatusArgs,
) -> Result<Option<RawCanisterResult>, ApiError> {
    let id = args.raw_message_id.message_id;
    if let (Some(caller), Some(sender)) = (args.raw_caller, replica.ingress.sender(&id))
        && principal(&caller.principal_id)? != sender
    {
        return Err(ApiError::forbidden(
            "The user tries to access Request ID not signed by the caller.",
        ));
    }
    let result = replica.ingress.result(&id).flatten();
    Ok(result.map(|result| raw_result(result, true)))
}

fn raw_result(result: Result<Vec<u8>, Reject>, certified: bool) -> RawCanisterResult {
    result.map_err(|reject| reject.for_user(certified)).into()
}

pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => (status, [(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Body {
            message: String,
        }
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json(
            status,
            &Body {
                message: self.message,
            },
        )
    }
}
