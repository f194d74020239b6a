//! `/api/v2`, `/api/v3` and `/api/v4`: the Internet Computer's own interface, for agents.

use axum::body::Bytes;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use candid::Principal;
use ic_transport_types::{EnvelopeContent, ReadStateResponse, TransportCallResponse};
use serde::Serialize;

use crate::agent_api::{Effective, Routes, Signed, to_transport};
use crate::certification::cbor;
use crate::errors::ApiError;
use crate::instance::Instance;

/// What an agent gets for a request below `/api/`. Errors are plain text, as on the IC.
pub(super) async fn serve(
    instance: &Instance,
    method: &Method,
    path: &str,
    body: Bytes,
) -> Response {
    match answer(instance, method, path, body).await {
        Ok(response) => response,
        Err(error) => {
            let status =
                StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, error.message).into_response()
        }
    }
}

async fn answer(
    instance: &Instance,
    method: &Method,
    path: &str,
    body: Bytes,
) -> Result<Response, ApiError> {
    let parts: Vec<&str> = path.split('/').collect();
    let (version, scope, id, operation) = match (method.as_str(), parts.as_slice()) {
        ("GET", ["v2", "status"]) => return status(instance).await,
        ("POST", [version, scope, id, operation]) => (*version, *scope, *id, *operation),
        _ => return Err(not_found(method, path)),
    };
    let id = Principal::from_text(id)
        .map_err(|error| ApiError::bad_request(format!("Invalid principal in URL: {error}")))?;
    let effective = match scope {
        "canister" => Effective::Canister(id),
        "subnet" => Effective::Subnet(id),
        _ => return Err(not_found(method, path)),
    };
    let routes = match (version, operation) {
        ("v2", _) | ("v3", "call") => Routes::Older,
        ("v3", _) | ("v4", "call") => Routes::Newer,
        _ => return Err(not_found(method, path)),
    };
    match (operation, effective) {
        ("call", Effective::Subnet(_)) if version != "v4" => Err(not_found(method, path)),
        ("call", _) => {
            let waits = version != "v2";
            call(instance, effective, routes, body, waits).await
        }
        ("read_state", _) => {
            let request = Signed::open(&body)?;
            let certificate = instance
                .call(move |replica| replica.read_state(&request, effective, routes))
                .await?
                .sign();
            Ok(in_cbor(StatusCode::OK, &ReadStateResponse { certificate }))
        }
        ("query", Effective::Subnet(_)) if version != "v3" => Err(not_found(method, path)),
        ("query", _) => {
            let request = Signed::open(&body)?;
            let answer = instance
                .call(move |replica| replica.answer_query(request, effective, routes))
                .await?;
            Ok(bytes(StatusCode::OK, answer))
        }
        _ => Err(not_found(method, path)),
    }
}

async fn status(instance: &Instance) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Status {
        impl_version: &'static str,
        replica_health_status: &'static str,
        #[serde(with = "serde_bytes")]
        root_key: Vec<u8>,
    }
    let root_key = instance.call(|replica| Ok(replica.root_key())).await?;
    let status = Status {
        impl_version: concat!("local-replica ", env!("CARGO_PKG_VERSION")),
        replica_health_status: "healthy",
        root_key,
    };
    Ok(in_cbor(StatusCode::OK, &status))
}

/// Submits a call, and waits for its answer if the agent wants to.
async fn call(
    instance: &Instance,
    effective: Effective,
    routes: Routes,
    body: Bytes,
    waits: bool,
) -> Result<Response, ApiError> {
    let request = Signed::open(&body)?;
    if !matches!(request.content, EnvelopeContent::Call { .. }) {
        return Err(ApiError::bad_request("Expected a request of type `call`"));
    }
    let id = request.id;
    let mut rounds = instance.rounds();
    let submitted = instance
        .call(move |replica| replica.take_call(request, effective))
        .await?;
    if let Err(reject) = submitted {
        let rejection = TransportCallResponse::NonReplicatedRejection(to_transport(&reject));
        return Ok(in_cbor(StatusCode::OK, &rejection));
    }
    if !waits {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    let deadline = tokio::time::Instant::now() + instance.call_timeout();
    loop {
        rounds.borrow_and_update();
        let certificate = instance
            .call(move |replica| replica.answer_certificate(effective, routes, &id[..]))
            .await?;
        if let Some(certificate) = certificate {
            let certificate = certificate.sign();
            let replied = TransportCallResponse::Replied { certificate };
            return Ok(in_cbor(StatusCode::OK, &replied));
        }
        match tokio::time::timeout_at(deadline, rounds.changed()).await {
            Ok(Ok(())) => {}
            // The agent asks for the status from now on.
            Err(_) => return Ok(StatusCode::ACCEPTED.into_response()),
            Ok(Err(_)) => return Err(ApiError::internal("the instance has ended")),
        }
    }
}

fn not_found(method: &Method, path: &str) -> ApiError {
    ApiError::not_found(format!(
        "not supported by local-replica: {method} /api/{path}"
    ))
}

fn in_cbor<T: Serialize>(status: StatusCode, value: &T) -> Response {
    bytes(status, cbor(value))
}

fn bytes(status: StatusCode, body: Vec<u8>) -> Response {
    (status, [(header::CONTENT_TYPE, "application/cbor")], body).into_response()
}
