//! What canisters serve to browsers: `http_request`, and `http_request_update` where the canister asks for that.
//!
//! Responses are passed on as they are: whether they are certified is not looked at.

use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use candid::{CandidType, Principal};
use pocket_ic::common::rest::{RawCanisterCall, RawEffectivePrincipal};
use serde::{Deserialize, Serialize};

use crate::errors::{ApiError, Reject};
use crate::instance::Instance;

/// As canisters expect it; candid ignores what they don't.
#[derive(CandidType, Serialize)]
struct HttpRequest {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    certificate_version: Option<u16>,
}

#[derive(CandidType, Deserialize)]
struct HttpResponse {
    status_code: u16,
    headers: Vec<(String, String)>,
    #[serde(with = "serde_bytes")]
    body: Vec<u8>,
    upgrade: Option<bool>,
    streaming_strategy: Option<candid::Reserved>,
}

/// Lets a canister answer a browser.
pub(super) async fn ask(
    instance: &Instance,
    canister: Principal,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let request = HttpRequest {
        method: method.to_string(),
        url: uri
            .path_and_query()
            .map_or_else(|| uri.path().to_owned(), ToString::to_string),
        headers: headers
            .iter()
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect(),
        body: body.to_vec(),
        certificate_version: Some(2),
    };
    let call = raw_call(canister, "http_request", &request)?;
    let answer = instance.call(move |replica| replica.query(call)).await?;
    let mut response = decode(answer)?;
    if response.upgrade == Some(true) {
        let call = raw_call(canister, "http_request_update", &request)?;
        response = decode(update(instance, call).await?)?;
    }
    if response.streaming_strategy.is_some() {
        return Err(ApiError::unsupported("responses that are streamed"));
    }
    let status = StatusCode::from_u16(response.status_code)
        .map_err(|error| bad_gateway(format!("The canister's status: {error}")))?;
    let mut answer = (status, response.body).into_response();
    answer.headers_mut().remove(header::CONTENT_TYPE);
    for (name, value) in response.headers {
        // The length is ours to say.
        if name.eq_ignore_ascii_case("content-length") {
            continue;
        }
        let header = HeaderName::try_from(name)
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        let (name, value) =
            header.ok_or_else(|| bad_gateway("The canister's answer has an invalid header"))?;
        answer.headers_mut().append(name, value);
    }
    Ok(answer)
}

fn raw_call(
    canister: Principal,
    method: &str,
    request: &HttpRequest,
) -> Result<RawCanisterCall, ApiError> {
    Ok(RawCanisterCall {
        sender: Principal::anonymous().as_slice().to_vec(),
        canister_id: canister.as_slice().to_vec(),
        effective_principal: RawEffectivePrincipal::None,
        method: method.to_owned(),
        payload: crate::management::reply(request)?,
        sender_info: None,
    })
}

/// An update call of a browser's, answered when a round has executed it.
async fn update(
    instance: &Instance,
    call: RawCanisterCall,
) -> Result<Result<Vec<u8>, Reject>, ApiError> {
    let mut rounds = instance.rounds();
    let id = match instance.call(move |replica| replica.submit(call)).await? {
        Ok(id) => id,
        Err(reject) => return Ok(Err(reject)),
    };
    let deadline = tokio::time::Instant::now() + instance.call_timeout();
    loop {
        rounds.borrow_and_update();
        let asked = id.clone();
        let answer = instance
            .call(move |replica| Ok(replica.ingress.result(&asked).flatten()))
            .await?;
        if let Some(answer) = answer {
            return Ok(answer);
        }
        if !matches!(
            tokio::time::timeout_at(deadline, rounds.changed()).await,
            Ok(Ok(()))
        ) {
            return Err(ApiError {
                status: 504,
                message: "The canister did not answer in time".to_owned(),
            });
        }
    }
}

fn decode(answer: Result<Vec<u8>, Reject>) -> Result<HttpResponse, ApiError> {
    let bytes =
        answer.map_err(|reject| bad_gateway(format!("{}: {}", reject.error, reject.message)))?;
    Ok(crate::management::decode(&bytes)?)
}

fn bad_gateway(message: impl Into<String>) -> ApiError {
    ApiError {
        status: 502,
        message: message.into(),
    }
}
