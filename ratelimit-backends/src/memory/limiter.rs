//! [`MemoryLimiter`]: one policy, with everything worked out once.

use core::fmt;
use std::sync::Arc;

use ratelimit_core::algorithm::WholeBucket;
use ratelimit_core::{Check, Checked, Error, Key, KeyBuf, KeyRef, Policy};

use super::MemoryBackend;
use super::engine::Engine;
use crate::hash::{Fingerprint, Mixed};

/// The shortest way to ask a [`MemoryBackend`] about one policy, for code that asks by itself: what
/// follows from the policy is worked out once, and the answer is only what most callers look at.
///
/// It decides on the same states as [`Backend::decide`](ratelimit_core::Backend::decide) with the same
/// policy does: the two can be mixed, and several limiters of one policy share its budget. The
/// policy's own limits hold. As with every backend, its [mode](Policy::mode) and
/// [posture](Policy::on_error) are not looked at, which are a registry's.
///
/// Bucket algorithms of one rate whose interval is a whole number of nanoseconds take the short way
/// (`100/s` does, `3/s` does not), on the backend's own clock; anything else takes the backend's usual
/// one, as does a key that was asked about with several rates or another period.
///
/// ```
/// use std::sync::Arc;
/// use ratelimit_backends::memory::MemoryBackend;
/// use ratelimit_core::{Algorithm, Policy};
///
/// let backend = Arc::new(MemoryBackend::new());
/// let logins = backend.limiter(Policy::new("login", Algorithm::TokenBucket, "2/h".parse()?));
/// assert!(logins.check("alice")?.is_allowed());
/// assert_eq!(logins.check("alice")?.remaining(), 0);
/// let third = logins.check("alice")?;
/// assert!(!third.is_allowed() && third.retry_after().as_secs() > 1_700);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct MemoryLimiter {
    bucket: Option<PackedBucket>,
    mixed: Mixed,
    /// The key of who has none.
    unkeyed: Fingerprint,
    backend: Arc<MemoryBackend>,
    policy: Policy,
}

/// A bucket, and the number of the packing of its states.
#[derive(Clone, Copy, Debug)]
struct PackedBucket {
    bucket: WholeBucket,
    packing: u8,
}

impl MemoryBackend {
    /// A limiter of that policy, on what this backend keeps.
    pub fn limiter(self: &Arc<Self>, policy: Policy) -> MemoryLimiter {
        let engine = &self.engine;
        let mixed = engine.seeds.policy(&policy);
        let bucket = engine.states.whole_bucket(&policy);
        MemoryLimiter {
            bucket: bucket.map(|(bucket, packing)| PackedBucket { bucket, packing }),
            mixed,
            unkeyed: engine.seeds.key_of(mixed, KeyBuf::new().as_ref()),
            backend: Arc::clone(self),
            policy,
        }
    }
}

impl MemoryLimiter {
    /// Decides one unit for a key, and charges it if it is admitted.
    ///
    /// An error says that the backend was [closed](ratelimit_core::ErrorKind::Closed), or cannot
    /// decide such a policy at all, as its answers to [checks](Check) do; a denial is none.
    #[inline(always)]
    pub fn check<K: Key + ?Sized>(&self, key: &K) -> Result<Checked, Error> {
        self.check_n(key, 1)
    }

    /// The same for so many units. A cost of zero asks and charges nothing; one above the capacity
    /// is an error of the kind [`Unsatisfiable`](ratelimit_core::ErrorKind::Unsatisfiable).
    #[inline(always)]
    pub fn check_n<K: Key + ?Sized>(&self, key: &K, cost: u32) -> Result<Checked, Error> {
        let mut scratch = KeyBuf::new();
        let key = key.key_ref(&mut scratch);
        let fingerprint = |engine: &Engine| engine.seeds.key_of(self.mixed, key);
        match self.at_once(fingerprint, cost) {
            Some(checked) => Ok(checked),
            // In parts, which need no place in memory when this is not called.
            None => {
                let (head, length, tail) = key.parts();
                self.the_long_way(head, length, tail, cost)
            }
        }
    }

    /// Decides one unit of the policy's one bucket for all.
    #[inline(always)]
    pub fn check_unkeyed(&self) -> Result<Checked, Error> {
        self.check_unkeyed_n(1)
    }

    /// The same for so many units.
    #[inline(always)]
    pub fn check_unkeyed_n(&self, cost: u32) -> Result<Checked, Error> {
        match self.at_once(|_| self.unkeyed, cost) {
            Some(checked) => Ok(checked),
            None => self.the_long_way([0; 2], 0, &[], cost),
        }
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The backend that keeps its keys.
    pub fn backend(&self) -> &Arc<MemoryBackend> {
        &self.backend
    }

    #[inline(always)]
    pub(super) fn at_once(
        &self,
        key: impl FnOnce(&Engine) -> Fingerprint,
        cost: u32,
    ) -> Option<Checked> {
        let PackedBucket { bucket, packing } = self.bucket.as_ref()?;
        let engine = &self.backend.engine;
        if engine.is_closed() {
            return None;
        }
        let found = engine.states.table.find_packed(key(engine), *packing)?;
        let (step, _) = engine.charge(found, bucket, cost)?;
        Some(bucket.checked(&step))
    }

    /// In whichever way it takes.
    #[cold]
    #[inline(never)]
    fn the_long_way(
        &self,
        head: [u64; 2],
        length: u8,
        tail: &[u8],
        cost: u32,
    ) -> Result<Checked, Error> {
        let key = KeyRef::from_parts(head, length, tail);
        let check = Check::new(&self.policy, self.policy.limits(), key).with_cost(cost);
        let decision = self.backend.engine.decide(&check)?;
        Ok(Checked::from(&decision))
    }
}

impl fmt::Debug for MemoryLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryLimiter")
            .field("policy", &self.policy)
            .field("backend", &self.backend)
            .finish_non_exhaustive()
    }
}
