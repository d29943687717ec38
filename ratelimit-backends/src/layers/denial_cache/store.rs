//! [`Store`]: the denials of all keys, their number bounded.

use core::time::Duration;
use std::sync::Arc;
use std::thread::available_parallelism;

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, OptionsBuilder, Weighter};
use ratelimit_core::{Check, Clock, Decision, Error, ErrorKind, Outcome, Source, Timestamp};

use super::denials::{Denial, Denials, Known};
use super::epochs::Epochs;
use super::stats::DenialStats;
use crate::hash::{Fingerprint, Seeds};
use crate::layers::subject::{Asked, Mixed, Subject};

/// The fewest denials for which a shard of its own is worth it.
const SHARD: usize = 32;

/// What is asked, and when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) asked: Asked<'a>,
    /// The [epoch](super::epochs) in which it is asked.
    pub(super) epoch: u64,
}

/// What is remembered, shared by all backends that ask one store.
pub(super) struct Store {
    seeds: Seeds,
    epochs: Epochs,
    known: Cache<Subject, Arc<Denials>, Count, Mixed, Evicting>,
    max_age: Duration,
    clock: Arc<dyn Clock>,
    stats: DenialStats,
}

/// A key counts as many times as denials of it are remembered.
#[derive(Clone)]
struct Count;

impl Weighter<Subject, Arc<Denials>> for Count {
    fn weight(&self, _: &Subject, denials: &Arc<Denials>) -> u64 {
        denials.len() as u64
    }
}

/// Counts what is taken out for want of room.
#[derive(Clone)]
struct Evicting;

/// How many denials one insertion takes out.
#[derive(Default)]
struct Evicted {
    denials: u64,
    /// What is known of this key is replaced: that is handed over as well, and is no eviction.
    replaced: Option<Fingerprint>,
}

impl Lifecycle<Subject, Arc<Denials>> for Evicting {
    type RequestState = Evicted;

    fn on_evict(&self, evicted: &mut Evicted, key: Subject, denials: Arc<Denials>) {
        if evicted.replaced != Some(key.fingerprint) {
            evicted.denials += denials.len() as u64;
        }
    }
}

impl Store {
    pub(super) fn new(
        max_entries: usize,
        max_age: Duration,
        clock: Arc<dyn Clock>,
        stats: &DenialStats,
    ) -> Result<Arc<Self>, Error> {
        let threads = available_parallelism().map_or(1, usize::from);
        // A power of two, and as many as the cache takes without making them fewer.
        let most = 1 << (max_entries / SHARD).max(1).ilog2();
        let shards = threads.saturating_mul(4).next_power_of_two().min(most);
        // Each shard holds its part; the rest of the division is not used.
        let per_shard = (max_entries / shards) as u64;
        let mut options = OptionsBuilder::new();
        let options = options
            .shards(shards)
            .estimated_items_capacity(max_entries)
            .weight_capacity(per_shard.saturating_mul(shards as u64))
            .build();
        let options =
            options.map_err(|error| Error::new(ErrorKind::Configuration, error.to_string()))?;
        let store = Arc::new(Self {
            seeds: Seeds::random(),
            epochs: Epochs::for_keys(max_entries),
            known: Cache::with_options(options, Count, Mixed::default(), Evicting),
            max_age,
            clock,
            stats: stats.clone(),
        });
        stats.add(&store);
        Ok(store)
    }

    /// How many denials there are.
    pub(super) fn len(&self) -> u64 {
        self.known.weight()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn stats(&self) -> &DenialStats {
        &self.stats
    }

    /// A question that is asked now, not later.
    pub(super) fn question<'a>(&self, check: &'a Check<'a>) -> Question<'a> {
        let fingerprint = self.seeds.key(check.policy, check.key);
        Question {
            asked: Asked { check, fingerprint },
            epoch: self.epochs.now(fingerprint),
        }
    }

    /// The denial of a question, if it is known to be denied. What the question makes useless is
    /// forgotten, be it for nothing.
    pub(super) fn recall(&self, question: &Question<'_>) -> Option<Decision> {
        let denials = self.known.get(&question.asked)?;
        if denials.epoch != question.epoch {
            return None;
        }
        match denials.answer(question.asked.check, || self.now()) {
            Known::Denied(decision) => Some(decision),
            Known::Nothing => None,
            Known::Useless => {
                let is_same = |known: &Arc<Denials>| Arc::ptr_eq(known, &denials);
                self.removed(self.known.remove_if(&question.asked, is_same));
                None
            }
        }
    }

    /// Learns from the answer to a question that was sent then.
    pub(super) fn learn(
        &self,
        question: &Question<'_>,
        sent: Timestamp,
        answer: &Result<Decision, Error>,
    ) {
        match answer {
            Ok(decision) if decision.outcome() == Outcome::Denied => {
                self.remember(question, sent, decision);
            }
            Ok(_) => self.charged(question),
            Err(_) => {}
        }
    }

    fn remember(&self, question: &Question<'_>, sent: Timestamp, decision: &Decision) {
        // Whoever else decides remembers by itself, or does not know better.
        if question.asked.check.cost == 0 || decision.source() != Source::Store {
            return;
        }
        let Some(denial) = Denial::of(question.asked.check, sent, self.max_age, decision) else {
            return;
        };
        if self.epochs.now(question.asked.fingerprint) != question.epoch {
            return;
        }
        let limits = question.asked.check.limits;
        let known = self.known.peek(&question.asked);
        let known = known.filter(|known| known.epoch == question.epoch && known.are_of(limits));
        let denials = match known {
            Some(known) => known.with(denial),
            None => Some(Denials::new(question.epoch, limits, denial)),
        };
        if let Some(denials) = denials {
            let (subject, denials) = (question.asked.subject(), Arc::new(denials));
            let mut evicted = Evicted {
                replaced: Some(question.asked.fingerprint),
                ..Evicted::default()
            };
            self.known
                .insert_with_lifecycle(subject, denials, &mut evicted);
            self.stats.remember();
            self.stats.evict(evicted.denials);
        }
    }

    /// Something was charged: what is denied is still denied, but for longer.
    pub(super) fn charged(&self, question: &Question<'_>) {
        if question.asked.check.cost > 0 && self.known.contains_key(&question.asked) {
            self.removed(self.known.remove(&question.asked));
        }
    }

    /// Forgets every denial of a key, those included that are under way.
    pub(super) fn forget(&self, check: &Check<'_>) {
        let question = self.question(check);
        self.epochs.next(question.asked.fingerprint);
        self.removed(self.known.remove(&question.asked));
    }

    /// Forgets everything, what is under way included.
    pub(super) fn forget_all(&self) {
        self.epochs.next_of_all();
        self.stats.evict(self.len());
        self.known.clear();
    }

    fn removed(&self, removed: Option<(Subject, Arc<Denials>)>) {
        if let Some((_, denials)) = removed {
            self.stats.evict(denials.len() as u64);
        }
    }
}
