//! Instances: each runs on a thread of its own and does what it is sent, one thing after the other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use pocket_ic::common::rest::{InitialTime, InstanceConfig, Topology};
use tokio::sync::{oneshot, watch};

use crate::errors::ApiError;
use crate::replica::Replica;

/// Time between the rounds of an instance that makes progress by itself.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(10);
/// How long an agent's call waits for its answer, as on the IC.
const CALL_TIMEOUT_MS: u64 = 10_000;
const STACK_BYTES: usize = 16 << 20;

type Job = Box<dyn FnOnce(&mut Worker) + Send>;

/// A running instance. Dropping it ends its thread.
#[derive(Debug, Clone)]
pub struct Instance {
    jobs: Sender<Job>,
    rounds: watch::Receiver<u64>,
    call_timeout_ms: Arc<AtomicU64>,
}

/// What an instance's thread works on.
pub struct Worker {
    replica: Replica,
    /// Time between rounds, while the instance makes progress by itself.
    progress: Option<Duration>,
    /// By how much its clock is ahead of this machine's then.
    clock_offset_ms: i64,
    /// The time of the last round, for those who wait for one.
    rounds: watch::Sender<u64>,
    /// An earlier job panicked halfway: the state can't be trusted any more.
    broken: bool,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Instance {
    /// Checks the configuration and starts an instance; `order` is [`Replica::order`].
    pub fn start(config: &InstanceConfig, order: u64) -> Result<(Self, Topology), ApiError> {
        check_supported(config)?;
        let mut replica = Replica::new(config)?;
        replica.order = order;
        let topology = replica.topology.to_raw();
        let progress = match &config.initial_time {
            Some(InitialTime::AutoProgress(progress)) => {
                Some(interval(progress.artificial_delay_ms))
            }
            _ => None,
        };
        let (sender, rounds) = watch::channel(replica.round_time_ns);
        let mut worker = Worker {
            replica,
            progress,
            clock_offset_ms: 0,
            rounds: sender,
            broken: false,
        };
        if progress.is_some() {
            worker.make_progress();
        }
        let (jobs, inbox) = mpsc::channel();
        thread::Builder::new()
            .name("instance".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || worker.run(&inbox))
            .map_err(|error| ApiError::internal(format!("no thread for the instance: {error}")))?;
        let instance = Self {
            jobs,
            rounds,
            call_timeout_ms: Arc::new(AtomicU64::new(CALL_TIMEOUT_MS)),
        };
        Ok((instance, topology))
    }

    /// Changes when a round has been executed.
    pub fn rounds(&self) -> watch::Receiver<u64> {
        self.rounds.clone()
    }

    /// How long an agent's call waits for its answer; then it is told to ask for the status.
    pub fn call_timeout(&self) -> Duration {
        Duration::from_millis(self.call_timeout_ms.load(Ordering::Relaxed))
    }

    /// Sets [`Instance::call_timeout`], in milliseconds.
    pub fn set_call_timeout(&self, millis: u64) {
        self.call_timeout_ms.store(millis, Ordering::Relaxed);
    }

    /// Does something with the replica and waits for what comes of it.
    pub async fn call<T, F>(&self, job: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Replica) -> Result<T, ApiError> + Send + 'static,
    {
        self.work(move |worker| job(&mut worker.replica)).await
    }

    /// Whether the instance makes progress by itself.
    pub async fn makes_progress(&self) -> Result<bool, ApiError> {
        self.work(|worker| Ok(worker.progress.is_some())).await
    }

    /// Switches progress on; the first round with the real time has run when this returns.
    pub async fn start_progress(&self, delay_ms: Option<u64>) -> Result<(), ApiError> {
        self.work(move |worker| {
            if worker.progress.is_some() {
                return Err(ApiError::bad_request(
                    "Auto progress mode has already been enabled.",
                ));
            }
            worker.progress = Some(interval(delay_ms));
            worker.make_progress();
            Ok(())
        })
        .await
    }

    /// Sets by how much the clock is ahead of this machine's (or behind it, if the number is negative) while the instance
    /// makes progress by itself. Time never goes back: a clock that was ahead waits until the other has caught up.
    pub async fn set_clock_offset(&self, offset_ms: i64) -> Result<(), ApiError> {
        self.work(move |worker| {
            worker.clock_offset_ms = offset_ms;
            Ok(())
        })
        .await
    }

    /// Switches progress off.
    pub async fn stop_progress(&self) -> Result<(), ApiError> {
        self.work(|worker| {
            worker.progress = None;
            Ok(())
        })
        .await
    }

    async fn work<T, F>(&self, job: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Worker) -> Result<T, ApiError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |worker| {
            // The client may have gone away meanwhile; nobody is left to tell then.
            let _ = answer.send(worker.guarded(job));
        });
        let gone = || ApiError::internal("the instance has ended");
        self.jobs.send(job).map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

impl Worker {
    fn run(mut self, inbox: &Receiver<Job>) {
        let mut last_round = Instant::now();
        loop {
            let job = match self.progress {
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(interval) => inbox.recv_timeout(interval.saturating_sub(last_round.elapsed())),
            };
            match job {
                Ok(job) => job(&mut self),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            // Whoever makes no point of slowness shall not wait for the next round.
            let called =
                |interval| interval == PROGRESS_INTERVAL && !self.replica.ingress.is_idle();
            if self
                .progress
                .is_some_and(|interval| last_round.elapsed() >= interval || called(interval))
            {
                // A panic here is told to the next request.
                let _ = self.guarded(|worker| {
                    worker.make_progress();
                    Ok(())
                });
                last_round = Instant::now();
            }
            let time_ns = self.replica.round_time_ns;
            self.rounds
                .send_if_modified(|last| std::mem::replace(last, time_ns) != time_ns);
        }
    }

    fn make_progress(&mut self) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let offset = Duration::from_millis(self.clock_offset_ms.unsigned_abs());
        let now = if self.clock_offset_ms < 0 {
            now.saturating_sub(offset)
        } else {
            now.saturating_add(offset)
        };
        let now = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        self.replica.time_ns = self.replica.time_ns.max(now);
        self.replica.round();
    }

    /// A panic spoils this instance only, and is told to whoever uses it.
    fn guarded<T>(
        &mut self,
        job: impl FnOnce(&mut Worker) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let broken = || ApiError::internal("local-replica failed in this instance; see its stderr");
        if self.broken {
            return Err(broken());
        }
        catch_unwind(AssertUnwindSafe(|| job(self))).unwrap_or_else(|_| {
            self.broken = true;
            Err(broken())
        })
    }
}

fn interval(delay_ms: Option<u64>) -> Duration {
    delay_ms
        .map_or(PROGRESS_INTERVAL, Duration::from_millis)
        .max(PROGRESS_INTERVAL)
}

fn check_supported(config: &InstanceConfig) -> Result<(), ApiError> {
    let features = config.icp_features.clone().unwrap_or_default();
    let wanted = [
        (config.state_dir.is_some(), "state directories"),
        (config.bitcoind_addr.is_some(), "Bitcoin"),
        (config.dogecoind_addr.is_some(), "Dogecoin"),
        (features != Default::default(), "ICP features"),
        (
            config.mainnet_nns_subnet_id == Some(true),
            "the NNS subnet's id on mainnet",
        ),
        (
            config
                .icp_config
                .as_ref()
                .is_some_and(|config| config.beta_features.is_some()),
            "beta features",
        ),
    ];
    match wanted.into_iter().find(|(wanted, _)| *wanted) {
        Some((_, what)) => Err(ApiError::unsupported(what)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use pocket_ic::common::rest::{ExtendedSubnetConfigSet, SubnetSpec};

    use super::*;

    fn instance() -> Instance {
        let config = InstanceConfig {
            subnet_config_set: ExtendedSubnetConfigSet {
                application: vec![SubnetSpec::default()],
                ..Default::default()
            },
            ..Default::default()
        };
        Instance::start(&config, 0).unwrap().0
    }

    #[test]
    fn panic_spoils_its_own_instance_only() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (bad, good) = (instance(), instance());
            let result = bad
                .call(|_| -> Result<(), ApiError> { panic!("planned") })
                .await;
            assert_eq!(result.unwrap_err().status, 500);
            let result = bad.call(|replica| Ok(replica.time_ns)).await;
            assert_eq!(result.unwrap_err().status, 500);
            assert!(good.call(|replica| Ok(replica.time_ns)).await.is_ok());
        });
    }
}
