//! Who is asked: this crate, and what a user would do instead.

use core::future::Future;
use std::sync::Arc;

use ratelimit::{Algorithm, Ask, Backend, Limits, Policy, Registry, Rejection};
use redis::Script;
use redis::aio::ConnectionManager;

/// What decides.
pub trait Contender: Send + Sync + 'static {
    const NAME: &'static str;

    /// Whether the call is admitted.
    fn decide(&self, key: &str) -> impl Future<Output = bool> + Send;
}

/// A million a second, of which as many at once: nobody is denied.
pub const GENEROUS: &str = "1000000/s";

pub struct Ours {
    registry: Registry,
    policy: Policy,
}

impl Ours {
    pub fn new(registry: Registry, rate: &str) -> Self {
        let limits = rate.parse().expect("a rate");
        Self {
            registry,
            policy: policy(limits),
        }
    }

    /// Who asks this backend, and no other.
    pub fn alone(backend: impl Backend, rate: &str) -> Self {
        let builder = Registry::builder().backend("store", backend);
        let builder = builder.default_backend("store");
        Self::new(builder.build().expect("no faults"), rate)
    }

    /// So many may come at once.
    pub fn with_burst(self, burst: u32) -> Self {
        let limits = self.policy.limits().with_bursts(&[burst]);
        Self {
            policy: policy(limits.expect("a burst")),
            ..self
        }
    }
}

fn policy(limits: Limits) -> Policy {
    Policy::named("benchmark".into(), Algorithm::TokenBucket, limits)
}

impl Contender for Ours {
    const NAME: &'static str = "ratelimit";

    async fn decide(&self, key: &str) -> bool {
        match self.registry.ask(&Ask::new(&self.policy, key)).await {
            Ok(decision) => decision.is_allowed(),
            Err(Rejection::Limited(_)) => false,
            Err(failure) => panic!("it does not answer: {failure}"),
        }
    }
}

/// GCRA as it is usually written by hand: doubles, the server's clock, one call a check.
pub const GCRA: &str = "
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1e6
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local tat = tonumber(redis.call('GET', KEYS[1]) or now)
if tat < now then tat = now end
local new_tat = tat + interval
local allow_at = new_tat - interval * burst
if now < allow_at then
  return {0, tostring(allow_at - now)}
end
redis.call('SET', KEYS[1], string.format('%.6f', new_tat), 'PX', math.ceil((new_tat - now) * 1000) + 1)
return {1, '0'}
";

/// The `redis` crate's connection manager and a script, one call a check.
pub struct ByHand {
    connection: ConnectionManager,
    script: Script,
}

impl ByHand {
    pub async fn new(url: &str) -> Self {
        let client = redis::Client::open(url).expect("a URL");
        let connection = client.get_connection_manager().await;
        Self {
            connection: connection.expect("it is there"),
            script: Script::new(GCRA),
        }
    }
}

impl Contender for ByHand {
    const NAME: &'static str = "redis crate, by hand";

    async fn decide(&self, key: &str) -> bool {
        let mut connection = self.connection.clone();
        let mut call = self.script.prepare_invoke();
        call.key(key).arg(1e-6).arg(1_000_000);
        let answer: (i64, String) = call
            .invoke_async(&mut connection)
            .await
            .expect("it answers");
        answer.0 == 1
    }
}

/// This crate, asked about several keys at once; a decision is a batch.
pub struct Many {
    ours: Ours,
    size: usize,
    keys: Arc<Vec<String>>,
}

impl Many {
    pub fn new(ours: Ours, size: usize, keys: &Arc<Vec<String>>) -> Self {
        let keys = Arc::clone(keys);
        Self { ours, size, keys }
    }
}

impl Contender for Many {
    const NAME: &'static str = "batches";

    async fn decide(&self, key: &str) -> bool {
        let first = key.rsplit(':').next().and_then(|it| it.parse().ok());
        let first: usize = first.unwrap_or(0);
        let asks: Vec<_> = (first..first + self.size)
            .map(|index| &self.keys[index % self.keys.len()][..])
            .map(|key| Ask::new(&self.ours.policy, key))
            .collect();
        let answers = self.ours.registry.check_many(&asks).await;
        answers.iter().all(Result::is_ok)
    }
}
