//! [`Leased`]: the backend that spends from slices first.

use core::pin::pin;
use std::sync::Arc;

use futures_util::future::join;
use ratelimit_core::{
    Adjust, AlgorithmSet, Answers, Backend, BoxFuture, Capabilities, Check, Decision, Error,
    ErrorKind, Join, Pong, Sweep, Swept, Timestamp,
};
use tokio::runtime::Handle;
use tokio::task::JoinError;

use super::account::Account;
use super::order::{Behind, Line};
use super::refills::{LONGEST, Refills, Told, Wanted};
use super::shared::Shared;
use crate::batcher::{Batcher, Bounds};
use crate::layers::miscounted;
use crate::within::within;

/// One trip to the store for each key, however many wait for it.
const BOUNDS: Bounds = Bounds {
    in_flight: 1,
    merged: 4_096,
    largest: 4_096,
    waiting: 100_000,
};

/// A backend, and what is held of its budgets.
pub(super) struct Leased {
    asking: Arc<Asking>,
    /// Its callers block, and it is asked on the runtime that serves them.
    blocking: bool,
}

/// What asks the store, with connections of its own.
pub(super) struct Asking {
    shared: Arc<Shared>,
    inner: Arc<dyn Backend>,
    capabilities: Capabilities,
    refills: Batcher<Refills>,
}

impl Asking {
    /// Has units fetched by a task: who waits for it may go away, or not go on, and neither takes what
    /// is fetched for others with it nor holds them up. Nor is it held up by a runtime that stands still.
    async fn refill(self: &Arc<Self>, wanted: Vec<Wanted>) -> Vec<Told> {
        let count = wanted.len();
        if count == 0 {
            return Vec::new();
        }
        let Ok(runtime) = Handle::try_current() else {
            return self.refills.ask(wanted).await;
        };
        let asking = Arc::clone(self);
        let refill = async move { within(LONGEST, pin!(asking.refills.ask(wanted))).await };
        let told = match within(LONGEST, pin!(runtime.spawn(refill))).await {
            Ok(ended) => ended.unwrap_or_else(|error| Err(forsaken(error))),
            Err(error) => Err(error),
        };
        told.unwrap_or_else(|error| vec![Err(error); count])
    }
}

/// What those are told whose task panicked, or was on a runtime that has ended.
fn forsaken(error: JoinError) -> Error {
    let message = "the task that asked the store has ended";
    Error::new(ErrorKind::Connection, message).with_source(error)
}

/// How a check is answered.
enum Way {
    Told(Result<Decision, Error>),
    /// Together with others of its key.
    Refill(Wanted),
    /// By itself.
    Alone,
}

impl Leased {
    pub(super) fn new(inner: Arc<dyn Backend>, shared: Arc<Shared>, has: AlgorithmSet) -> Self {
        Self::of(inner, shared, has, false)
    }

    fn of(inner: Arc<dyn Backend>, shared: Arc<Shared>, has: AlgorithmSet, blocking: bool) -> Self {
        let mut capabilities = inner.capabilities().clone();
        capabilities.algorithms = has;
        capabilities.immediate = false;
        capabilities.leases = true;
        let refills = Refills {
            shared: Arc::clone(&shared),
            inner: Arc::clone(&inner),
        };
        let asking = Arc::new(Asking {
            shared,
            inner,
            capabilities,
            refills: Batcher::new(refills, BOUNDS),
        });
        Self { asking, blocking }
    }

    fn shared(&self) -> &Shared {
        &self.asking.shared
    }

    fn inner(&self) -> &dyn Backend {
        &*self.asking.inner
    }

    fn is_leased(&self, check: &Check<'_>) -> bool {
        let algorithm = check.policy.algorithm();
        self.asking.capabilities.algorithms.contains(algorithm)
    }

    /// Spends from what is held, and has more fetched if it is time.
    fn spend(&self, account: &Arc<Account>, cost: u32, now: Timestamp) -> Option<Decision> {
        let (decision, fetch) = account.spend(cost, now)?;
        if fetch {
            self.fetch(account);
        }
        Some(decision)
    }

    /// Has more fetched in the background: where threads that block are served, if any are, as what asks
    /// there is not held up by its caller; else on the caller's runtime. Outside of both it is left to
    /// who has to wait for it.
    #[inline(never)]
    fn fetch(&self, account: &Arc<Account>) {
        let here = || Some((Handle::try_current().ok()?, Arc::clone(&self.asking)));
        let fetching = Fetching(Arc::clone(account));
        let Some((runtime, asking)) = self.shared().blocking().or_else(here) else {
            return;
        };
        let wanted = Wanted {
            account: Arc::clone(account),
            cost: 0,
        };
        runtime.spawn(async move {
            let _fetching = fetching;
            let _ = within(LONGEST, pin!(asking.refills.ask(vec![wanted]))).await;
        });
    }

    /// How a check is answered that comes after others.
    fn way(&self, check: &Check<'_>, now: Timestamp, behind: &mut Behind) -> Way {
        let capabilities = &self.asking.capabilities;
        if !self.is_leased(check) {
            let refused = capabilities.refuse(check.policy.algorithm(), check.limits);
            return refused.map_or(Way::Alone, |refused| Way::Told(Err(refused.into())));
        }
        let asked = self.shared().accounts.asked(check);
        let account = self.shared().accounts.open(&asked, now);
        let first = behind.first(&asked);
        if let Some(account) = &account
            && first != Some(Line::Refill)
            && let Some(decision) = self.spend(account, check.cost, now)
        {
            self.shared().stats.hit(&asked);
            return Way::Told(Ok(decision));
        }
        self.shared().stats.missed(&asked);
        match account {
            Some(account) if account.missed(check.cost, now) && first != Some(Line::Alone) => {
                behind.refill(&asked);
                let cost = check.cost;
                Way::Refill(Wanted { account, cost })
            }
            _ => {
                behind.alone(&asked);
                Way::Alone
            }
        }
    }

    async fn decide_each(&self, checks: &[Check<'_>]) -> Answers {
        if self.blocking {
            self.shared().serves_blocking(&self.asking);
        }
        let now = self.shared().now();
        let mut answers: Vec<Option<Result<Decision, Error>>> = Vec::with_capacity(checks.len());
        let (mut wanted, mut waiting) = (Vec::new(), Vec::new());
        let (mut alone, mut others) = (Vec::new(), Vec::new());
        let mut behind = Behind::of_batch(checks.len());
        for (place, check) in checks.iter().enumerate() {
            let told = match self.way(check, now, &mut behind) {
                Way::Told(told) => Some(told),
                Way::Refill(wants) => {
                    wanted.push(wants);
                    waiting.push(place);
                    None
                }
                Way::Alone => {
                    alone.push(*check);
                    others.push(place);
                    None
                }
            };
            answers.push(told);
        }
        let refilled = self.asking.refill(wanted);
        let decided = async {
            if alone.is_empty() {
                return Vec::new();
            }
            self.inner().decide(&alone, Join::Each).await
        };
        let (refilled, decided) = if behind.is_crossed() {
            (refilled.await, decided.await)
        } else {
            join(refilled, decided).await
        };
        for (place, told) in waiting.into_iter().zip(refilled) {
            answers[place] = told.transpose();
        }
        let count = decided.len();
        let mut decided = decided.into_iter();
        for place in &others {
            answers[*place] = decided.next().filter(|_| count == others.len());
        }
        let lost = || Err(miscounted(count, others.len()));
        answers
            .into_iter()
            .map(|told| told.unwrap_or_else(lost))
            .collect()
    }

    async fn peek_each(&self, checks: &[Check<'_>]) -> Answers {
        let answers = self.inner().peek(checks).await;
        let now = self.shared().now();
        let seen = checks.iter().zip(answers);
        seen.map(|(check, answer)| self.seen(check, answer, now))
            .collect()
    }

    /// What the store says of a key, and what is held of it besides.
    fn seen(
        &self,
        check: &Check<'_>,
        answer: Result<Decision, Error>,
        now: Timestamp,
    ) -> Result<Decision, Error> {
        let accounts = &self.shared().accounts;
        match accounts.get(&accounts.asked(check)) {
            Some(account) => answer.map(|decision| account.seen(decision, check.cost, now)),
            None => answer,
        }
    }

    /// Gives units back to the slice that they are from, if it is still held.
    fn take_back(&self, adjust: &Adjust<'_>, now: Timestamp) -> Option<Decision> {
        if adjust.by >= 0 {
            return None;
        }
        let units = u32::try_from(adjust.by.unsigned_abs()).unwrap_or(u32::MAX);
        let units = units.min(adjust.charge.cost());
        let accounts = &self.shared().accounts;
        let account = accounts.get(&accounts.asked(&adjust.check))?;
        account.take_back(&adjust.charge, units, now)
    }

    async fn adjust_each(&self, adjusts: &[Adjust<'_>]) -> Answers {
        let now = self.shared().now();
        let told = adjusts.iter().map(|adjust| self.take_back(adjust, now));
        let told: Vec<_> = told.collect();
        let asked = adjusts.iter().zip(&told);
        let asked = asked.filter(|(_, told)| told.is_none());
        let asked: Vec<_> = asked.map(|(adjust, _)| adjust.clone()).collect();
        let mut answers = if asked.is_empty() {
            Vec::new()
        } else {
            self.inner().adjust(&asked).await
        };
        if answers.len() != asked.len() {
            let error = miscounted(answers.len(), asked.len());
            answers = vec![Err(error); asked.len()];
        }
        let mut answers = answers.into_iter();
        let answers = adjusts.iter().zip(told).map(|(adjust, told)| match told {
            Some(decision) => Some(Ok(decision)),
            None => answers
                .next()
                .map(|answer| self.seen(&adjust.check.with_cost(0), answer, now)),
        });
        // There is one for each.
        answers.flatten().collect()
    }
}

/// More is fetched for an account, until it is there or nobody fetches it any longer.
struct Fetching(Arc<Account>);

impl Drop for Fetching {
    fn drop(&mut self) {
        self.0.is_fetched();
    }
}

/// Makes void what is held of these keys twice: now, and when it is dropped. The store may make them
/// fresh at any moment in between, in which nothing is given back either.
struct Forgetting<'a> {
    shared: &'a Shared,
    checks: &'a [Check<'a>],
    accounts: Vec<Arc<Account>>,
}

impl<'a> Forgetting<'a> {
    fn of(shared: &'a Shared, checks: &'a [Check<'a>]) -> Self {
        let mut forgetting = Self {
            shared,
            checks,
            accounts: Vec::new(),
        };
        forgetting.accounts = forgetting.all().collect();
        for account in &forgetting.accounts {
            shared.stats.lose(account.start_reset());
        }
        forgetting
    }

    fn all(&self) -> impl Iterator<Item = Arc<Account>> {
        let accounts = &self.shared.accounts;
        let checks = self.checks.iter();
        checks.flat_map(|check| accounts.any(&accounts.asked(check)))
    }

    /// Waits for what is on its way back, which the store must not hear of after it made the keys fresh.
    async fn returned(&self) {
        for account in &self.accounts {
            account.returned().await;
        }
    }
}

impl Drop for Forgetting<'_> {
    fn drop(&mut self) {
        for account in self.all() {
            self.shared.stats.lose(account.forget());
        }
        for account in &self.accounts {
            account.end_reset();
        }
    }
}

impl Backend for Leased {
    fn capabilities(&self) -> &Capabilities {
        &self.asking.capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], join: Join) -> BoxFuture<'a, Answers> {
        match join {
            Join::Each => Box::pin(self.decide_each(checks)),
            Join::All => self.inner().decide(checks, join),
        }
    }

    fn decide_now(&self, check: &Check<'_>) -> Option<Result<Decision, Error>> {
        if !self.is_leased(check) {
            return None;
        }
        let asked = self.shared().accounts.asked(check);
        if check.cost > 0
            && let Some(account) = self.shared().accounts.get(&asked)
            && let Some(decision) = self.spend(&account, check.cost, self.shared().now())
        {
            self.shared().stats.hit(&asked);
            return Some(Ok(decision));
        }
        let answer = self.inner().decide_now(check)?;
        self.shared().stats.missed(&asked);
        Some(answer)
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(self.peek_each(checks))
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(self.adjust_each(adjusts))
    }

    fn reset<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Result<(), Error>> {
        Box::pin(async move {
            let forgetting = Forgetting::of(self.shared(), checks);
            // What takes longer than that is not waited for.
            let _ = within(LONGEST, pin!(forgetting.returned())).await;
            self.inner().reset(checks).await
        })
    }

    fn ping(&self) -> BoxFuture<'_, Result<Pong, Error>> {
        self.inner().ping()
    }

    fn sweep(&self, sweep: Sweep) -> BoxFuture<'_, Result<Swept, Error>> {
        self.inner().sweep(sweep)
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            // What is under way longer than that is not waited for.
            let _ = within(LONGEST, pin!(self.shared().close())).await;
            let given = async {
                for account in self.shared().accounts.all() {
                    let held = account.take_all();
                    self.shared().give_back(self.inner(), held).await;
                }
                // Others may give back as well.
                for account in self.shared().accounts.all() {
                    account.returned().await;
                }
            };
            let _ = within(LONGEST, pin!(given)).await;
            self.inner().close().await;
        })
    }

    fn bridged(&self) -> Option<Arc<dyn Backend>> {
        let inner = self.asking.inner.bridged()?;
        let shared = Arc::clone(&self.asking.shared);
        let has = self.asking.capabilities.algorithms;
        Some(Arc::new(Self::of(inner, shared, has, true)))
    }
}
