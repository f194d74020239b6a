//! The HTTP server: instances, blobs, and when to exit.

mod api;
mod body;
mod browser;
mod gateway;
mod hooks;
mod routes;

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::serve::ListenerExt;
use flate2::read::GzDecoder;
use gateway::Gateway;
use pocket_ic::common::rest::{
    HttpGatewayBackend, HttpGatewayConfig, HttpGatewayDetails, HttpGatewayInfo, InstanceConfig,
    Topology,
};
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::errors::ApiError;
use crate::instance::Instance;

/// What a gzipped blob may unpack to.
const MAX_BLOB: u64 = 4 << 30;
const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Everything the server holds.
#[derive(Debug)]
pub struct Server {
    /// [`crate::replica::Replica::order`] of every instance.
    order: u64,
    /// `None` where an instance was deleted: numbers are never used again.
    instances: Mutex<Vec<Option<Instance>>>,
    /// `None` where one was stopped.
    gateways: Mutex<Vec<Option<Gateway>>>,
    blobs: Mutex<BTreeMap<Vec<u8>, Arc<Vec<u8>>>>,
    running_requests: AtomicUsize,
    last_request: Mutex<Instant>,
}

impl Server {
    /// A server without instances; those made later have this [`crate::replica::Replica::order`].
    pub fn new(order: u64) -> Self {
        Self {
            order,
            instances: Mutex::default(),
            gateways: Mutex::default(),
            blobs: Mutex::default(),
            running_requests: AtomicUsize::new(0),
            last_request: Mutex::new(Instant::now()),
        }
    }

    /// Serves until nothing was asked for `ttl`.
    pub async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        ttl: Duration,
    ) -> std::io::Result<()> {
        // Without this, each small answer waits 40 ms for the client's delayed acknowledgement.
        let listener = listener.tap_io(|stream| {
            // A connection that is gone already is noticed when it is served.
            let _ = stream.set_nodelay(true);
        });
        let server = Arc::clone(&self);
        let idle = async move {
            while !server.is_idle(ttl) {
                tokio::time::sleep(IDLE_CHECK_INTERVAL.min(ttl)).await;
            }
        };
        tokio::select! {
            result = axum::serve(listener, routes::router(self)).into_future() => result,
            () = idle => Ok(()),
        }
    }

    fn is_idle(&self, ttl: Duration) -> bool {
        self.running_requests.load(Ordering::Relaxed) == 0
            && lock(&self.last_request).elapsed() >= ttl
    }

    fn request_started(self: &Arc<Self>) -> RunningRequest {
        self.running_requests.fetch_add(1, Ordering::Relaxed);
        RunningRequest(Arc::clone(self))
    }

    /// Makes an instance, with the gateway that is asked for.
    async fn create_instance(
        self: &Arc<Self>,
        config: &InstanceConfig,
    ) -> Result<(usize, Topology, Option<HttpGatewayInfo>), ApiError> {
        let (instance, topology) = Instance::start(config, self.order)?;
        let id = {
            let mut instances = lock(&self.instances);
            instances.push(Some(instance));
            instances.len() - 1
        };
        let Some(wanted) = config.http_gateway_config.clone() else {
            return Ok((id, topology, None));
        };
        let gateway = HttpGatewayConfig {
            ip_addr: wanted.ip_addr,
            port: wanted.port,
            forward_to: HttpGatewayBackend::PocketIcInstance(id),
            domains: wanted.domains,
            https_config: wanted.https_config,
            domain_custom_provider_local_file: wanted.domain_custom_provider_local_file,
        };
        match self.start_gateway(&gateway).await {
            Ok(info) => Ok((id, topology, Some(info))),
            Err(error) => {
                self.delete_instance(id)?;
                Err(error)
            }
        }
    }

    fn instance(&self, id: usize) -> Result<Instance, ApiError> {
        lock(&self.instances)
            .get(id)
            .cloned()
            .flatten()
            .ok_or_else(|| ApiError::not_found(format!("Instance {id} not found.")))
    }

    /// Deletes an instance, and stops its gateways.
    fn delete_instance(&self, id: usize) -> Result<(), ApiError> {
        for gateway in lock(&self.gateways).iter_mut() {
            if gateway
                .as_ref()
                .is_some_and(|gateway| gateway.instance == id)
            {
                *gateway = None;
            }
        }
        lock(&self.instances)
            .get_mut(id)
            .and_then(Option::take)
            .map(drop)
            .ok_or_else(|| ApiError::not_found(format!("Instance {id} not found.")))
    }

    async fn start_gateway(
        self: &Arc<Self>,
        config: &HttpGatewayConfig,
    ) -> Result<HttpGatewayInfo, ApiError> {
        let gateway = Gateway::start(self, config).await?;
        let port = gateway.port;
        let mut gateways = lock(&self.gateways);
        gateways.push(Some(gateway));
        Ok(HttpGatewayInfo {
            instance_id: gateways.len() - 1,
            port,
        })
    }

    fn list_gateways(&self) -> Vec<HttpGatewayDetails> {
        let gateways = lock(&self.gateways);
        let running = gateways.iter().enumerate();
        let details = |(instance_id, gateway): (usize, &Option<Gateway>)| {
            let gateway = gateway.as_ref()?;
            Some(HttpGatewayDetails {
                instance_id,
                port: gateway.port,
                forward_to: HttpGatewayBackend::PocketIcInstance(gateway.instance),
                domains: gateway.domains.clone(),
                https_config: None,
            })
        };
        running.filter_map(details).collect()
    }

    fn stop_gateway(&self, id: usize) -> Result<(), ApiError> {
        lock(&self.gateways)
            .get_mut(id)
            .and_then(Option::take)
            .map(drop)
            .ok_or_else(|| ApiError::not_found(format!("HTTP gateway {id} not found.")))
    }

    fn list_instances(&self) -> Vec<&'static str> {
        lock(&self.instances)
            .iter()
            .map(|instance| {
                if instance.is_some() {
                    "Available"
                } else {
                    "Deleted"
                }
            })
            .collect()
    }

    fn store_blob(&self, data: &[u8], gzipped: bool) -> Result<Vec<u8>, ApiError> {
        let id = Sha256::digest(data).to_vec();
        let blob = if gzipped { unzip(data)? } else { data.to_vec() };
        lock(&self.blobs).insert(id.clone(), Arc::new(blob));
        Ok(id)
    }

    fn blob(&self, id: &[u8]) -> Result<Arc<Vec<u8>>, ApiError> {
        lock(&self.blobs)
            .get(id)
            .cloned()
            .ok_or_else(|| ApiError::bad_request("BlobNotFound: no blob with this id was uploaded"))
    }
}

/// Counts a request as running until it is dropped.
struct RunningRequest(Arc<Server>);

impl Drop for RunningRequest {
    fn drop(&mut self) {
        *lock(&self.0.last_request) = Instant::now();
        self.0.running_requests.fetch_sub(1, Ordering::Relaxed);
    }
}

fn unzip(data: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut unpacked = Vec::new();
    GzDecoder::new(data)
        .take(MAX_BLOB)
        .read_to_end(&mut unpacked)
        .map_err(|error| ApiError::bad_request(format!("The blob isn't valid gzip: {error}")))?;
    Ok(unpacked)
}

/// Nothing is ever half done under these locks, so a poisoned one is as good as new.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
