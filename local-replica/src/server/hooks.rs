//! What tests want to happen and PocketIC has no operation for: below `local-replica/`.

use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::body::Body;
use super::routes::{json, on, with};
use crate::errors::ApiError;
use crate::faults::Plan;
use crate::instance::Instance;

/// How long an agent's call waits for its answer.
#[derive(Deserialize)]
struct CallTimeout {
    millis: u64,
}

/// How far the clock of a live instance is ahead of the machine's.
#[derive(Deserialize)]
struct Clock {
    offset_ms: i64,
}

pub(super) async fn run(
    instance: &Instance,
    method: &str,
    hook: &str,
    body: &Body<'_>,
) -> Result<Response, ApiError> {
    match (method, hook) {
        ("GET", "faults") => on(instance, |replica| Ok(replica.faults.report().clone())).await,
        ("POST", "faults") => {
            with(instance, body, |replica, plan: Plan| {
                Ok(replica.faults.install(plan)?)
            })
            .await
        }
        ("DELETE", "faults") => {
            on(instance, |replica| {
                replica.faults.stop();
                Ok(())
            })
            .await
        }
        ("POST", "drop_replies") => {
            on(instance, |replica| {
                replica.ingress.drop_replies();
                Ok(())
            })
            .await
        }
        ("POST", "call_timeout") => {
            let timeout: CallTimeout = body.parse()?;
            instance.set_call_timeout(timeout.millis);
            Ok(json(StatusCode::OK, &()))
        }
        ("POST", "clock") => {
            let clock: Clock = body.parse()?;
            instance.set_clock_offset(clock.offset_ms).await?;
            Ok(json(StatusCode::OK, &()))
        }
        _ => Err(ApiError::unsupported(&format!(
            "{method} local-replica/{hook}"
        ))),
    }
}
