//! [`Cached`]: the backend that asks only for what it does not remember.

use std::collections::HashSet;
use std::sync::Arc;

use ratelimit_core::{
    Adjust, Answers, Backend, BoxFuture, Capabilities, Check, Decision, Error, Join, Outcome, Pong,
    Sweep, Swept,
};

use super::super::miscounted;
use super::store::{Question, Store};

/// A backend, and what is remembered of its denials.
pub(super) struct Cached {
    inner: Arc<dyn Backend>,
    store: Arc<Store>,
}

impl Cached {
    pub(super) fn new(inner: Arc<dyn Backend>, store: Arc<Store>) -> Self {
        Self { inner, store }
    }

    async fn decide_each(&self, checks: &[Check<'_>]) -> Answers {
        let questions = checks.iter().map(|check| self.store.question(check));
        let questions: Vec<_> = questions.collect();
        let known = self.known(&questions);
        let stats = self.store.stats();
        let (mut asked, mut rest) = (Vec::new(), Vec::new());
        for (question, known) in questions.iter().zip(&known) {
            if known.is_some() {
                stats.hit(&question.asked);
                continue;
            }
            stats.missed(&question.asked);
            asked.push(*question);
            rest.push(*question.asked.check);
        }
        let mut told = self.ask(&asked, &rest).await.into_iter();
        let answers = known.into_iter().map(|known| match known {
            Some(decision) => Some(Ok(decision)),
            None => told.next(),
        });
        // There is one for each.
        answers.flatten().collect()
    }

    /// Asks the inner backend, and learns from what it says: one answer for each question.
    async fn ask(&self, asked: &[Question<'_>], checks: &[Check<'_>]) -> Answers {
        if asked.is_empty() {
            return Vec::new();
        }
        let sent = self.store.now();
        let answers = self.inner.decide(checks, Join::Each).await;
        if answers.len() != asked.len() {
            let error = miscounted(answers.len(), asked.len());
            return vec![Err(error); asked.len()];
        }
        for (question, answer) in asked.iter().zip(&answers) {
            self.store.learn(question, sent, answer);
        }
        answers
    }

    /// What is known to be denied. A question behind another one of its key that has to be asked is
    /// not, as that one may be charged.
    fn known(&self, questions: &[Question<'_>]) -> Vec<Option<Decision>> {
        let known = questions.iter().map(|question| self.store.recall(question));
        let mut known: Vec<_> = known.collect();
        if known.iter().all(Option::is_none) || known.iter().all(Option::is_some) {
            return known;
        }
        let mut asked = HashSet::new();
        for (question, known) in questions.iter().zip(&mut known) {
            if asked.contains(&question.asked.fingerprint) {
                *known = None;
            } else if known.is_none() && question.asked.check.cost > 0 {
                asked.insert(question.asked.fingerprint);
            }
        }
        known
    }

    async fn decide_all(&self, checks: &[Check<'_>]) -> Answers {
        let questions = checks.iter().map(|check| self.store.question(check));
        let questions: Vec<_> = questions.collect();
        for question in &questions {
            // It is asked anyway, but may make useless what is known.
            self.store.recall(question);
        }
        let answers = self.inner.decide(checks, Join::All).await;
        for (question, answer) in questions.iter().zip(&answers) {
            if answer.as_ref().is_ok_and(Decision::is_allowed) {
                self.store.charged(question);
            }
        }
        answers
    }
}

/// Forgets the denials of these keys twice: now, and when it is dropped. What is done between the two
/// may be done by the store at any moment of that time, also if nobody waits for it any longer.
struct Forgetting<'a> {
    store: &'a Store,
    keys: Vec<Check<'a>>,
}

impl<'a> Forgetting<'a> {
    fn of(store: &'a Store, keys: impl Iterator<Item = Check<'a>>) -> Self {
        let forgetting = Self {
            store,
            keys: keys.collect(),
        };
        forgetting.forget();
        forgetting
    }

    fn forget(&self) {
        for key in &self.keys {
            self.store.forget(key);
        }
    }
}

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        self.forget();
    }
}

impl Backend for Cached {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        match join {
            Join::Each => Box::pin(self.decide_each(checks)),
            Join::All => Box::pin(self.decide_all(checks)),
        }
    }

    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        let question = self.store.question(check);
        if let Some(decision) = self.store.recall(&question) {
            self.store.stats().hit(&question.asked);
            return Some(Ok(decision));
        }
        let sent = self.store.now();
        // If it cannot say, it is asked, and counted, by `decide`.
        let answer = self.inner.decide_now(check)?;
        self.store.stats().missed(&question.asked);
        let denied = matches!(&answer, Ok(decision) if decision.outcome() == Outcome::Denied);
        // What knows everything at once can be asked again as fast as it is remembered.
        if !(denied && self.inner.capabilities().immediate) {
            self.store.learn(&question, sent, &answer);
        }
        Some(answer)
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        self.inner.peek(checks)
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(async move {
            let keys = adjusts.iter().map(|adjust| adjust.check);
            let _forgetting = Forgetting::of(&self.store, keys);
            self.inner.adjust(adjusts).await
        })
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let _forgetting = Forgetting::of(&self.store, checks.iter().copied());
            self.inner.reset(checks).await
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        self.inner.ping()
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        self.inner.sweep(sweep)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.store.forget_all();
            self.inner.close().await;
            // What was asked meanwhile.
            self.store.forget_all();
        })
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let inner = self.inner.bridged()?;
        let store = Arc::clone(&self.store);
        Some(Arc::new(Self { inner, store }))
    }
}
