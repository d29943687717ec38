//! [`Refills`]: takes units from the store, for those who need them now and for those who come.

use core::pin::pin;
use core::time::Duration;
use std::sync::Arc;

use ratelimit_core::{Backend, Check, Decision, Error, Join, Source};
use tokio::runtime::Handle;

use super::account::{Account, Plan};
use super::keeper::keep;
use super::ladder::rungs;
use super::returns::Return;
use super::shared::Shared;
use super::slice::{Report, Slice};
use crate::batcher::Ask;
use crate::layers::miscounted;
use crate::within::within;

/// How long a trip to the store may take that nobody waits for.
pub(super) const LONGEST: Duration = Duration::from_secs(10);

/// Somebody needs so many units of a key; or none, if more is fetched ahead of need.
pub(super) struct Wanted {
    pub(super) account: Arc<Account>,
    pub(super) cost: u32,
}

/// Asks the store for what several calls of one key need together, and for some more.
pub(super) struct Refills {
    pub(super) shared: Arc<Shared>,
    pub(super) inner: Arc<dyn Backend>,
}

/// What the store gave.
#[derive(Debug, Default)]
struct Taken {
    slice: Option<(Slice, Report)>,
    units: u32,
    /// What it says to one unit, if it denies even that.
    denial: Option<Decision>,
    /// Who gave it, if that was not the store: then no budget was charged.
    others: Option<Source>,
}

/// Those who wait: what they need, and what they are told.
struct Waiting {
    costs: Vec<u32>,
    answers: Vec<Option<Told>>,
}

/// What somebody is told who waits; nothing if it needs nothing.
pub(super) type Told = Result<Option<Decision>, Error>;

impl Waiting {
    fn new(wanted: &[Wanted]) -> Self {
        let costs: Vec<_> = wanted.iter().map(|wanted| wanted.cost).collect();
        // Who needs nothing waits for no answer.
        let answer = |cost: &u32| (*cost == 0).then_some(Ok(None));
        let answers = costs.iter().map(answer).collect();
        Self { costs, answers }
    }

    /// Tells those who have no answer yet, in order, until there is none for one of them.
    fn tell(&mut self, mut answer: impl FnMut(u32) -> Option<Result<Decision, Error>>) {
        for (cost, told) in self.costs.iter().zip(&mut self.answers) {
            if told.is_none() {
                *told = answer(*cost).map(|answer| answer.map(Some));
            }
            if told.is_none() {
                return;
            }
        }
    }

    /// Whether there were some, and all have their answers.
    fn are_told(&self) -> bool {
        self.costs.iter().any(|cost| *cost > 0) && self.open().next().is_none()
    }

    /// What those need who have no answer.
    fn open(&self) -> impl Iterator<Item = u32> {
        let told = self.costs.iter().zip(&self.answers);
        told.filter(|(_, told)| told.is_none())
            .map(|(cost, _)| *cost)
    }

    fn done(self) -> Vec<Told> {
        let answers = self.answers.into_iter();
        // Everybody has one.
        answers.map(|told| told.unwrap_or(Ok(None))).collect()
    }
}

impl Ask for Refills {
    type Question = Wanted;
    type Answer = Option<Decision>;
    /// The account's address: it is there as long as somebody asks for it.
    type Lane = usize;

    fn lane(&self, wanted: &Wanted) -> usize {
        Arc::as_ptr(&wanted.account).addr()
    }

    fn bound(&self) -> Duration {
        LONGEST
    }

    async fn ask(&self, wanted: Vec<Wanted>) -> Vec<Told> {
        let _trip = self.shared.start_trip();
        let mut waiting = Waiting::new(&wanted);
        let Some(Wanted { account, .. }) = wanted.into_iter().next() else {
            return Vec::new();
        };
        let now = self.shared.now();
        // Others may have taken more meanwhile.
        waiting.tell(|cost| account.spend_later(cost, now).map(Ok));
        if waiting.are_told() {
            // They are not to wait for what is fetched ahead.
            return waiting.done();
        }
        let runtime = Handle::try_current().ok();
        // Somebody has to give back what is not spent.
        let may_hold = runtime.is_some() && !self.shared.is_closed();
        let needed = waiting.open().fold(0, u32::saturating_add);
        let plan = account.plan(needed, now, may_hold);
        if plan.amount == 0 {
            return waiting.done();
        }
        let Taken {
            mut slice,
            denial,
            others,
            ..
        } = match self.take(&account, plan).await {
            Ok(taken) => taken,
            Err(error) => {
                waiting.tell(|_| Some(Err(error.clone())));
                return waiting.done();
            }
        };
        let now = self.shared.now();
        waiting.tell(|cost| match &mut slice {
            // They asked before the store was, so that its answer is theirs however old it is.
            Some((slice, report)) if slice.left >= cost => {
                let charge = slice.spend(cost)?;
                let told = report.told(now, slice.left, charge);
                Some(Ok(match others {
                    Some(others) => told.with_source(others),
                    None => told,
                }))
            }
            _ => denial.clone().filter(|_| cost == 1).map(Ok),
        });
        if let Some((slice, _)) = slice.take_if(|_| others.is_some()) {
            self.shared.stats.lose(slice.left.into());
        }
        if waiting.open().next().is_some() {
            let back = match slice {
                Some((slice, _)) => account.take_all_and(slice, plan.generation),
                None => account.take_all(),
            };
            self.one_by_one(back, &mut waiting).await;
        } else if let Some((slice, report)) = slice
            && slice.left > 0
        {
            self.hold(account, slice, report, plan.generation, runtime);
        }
        waiting.done()
    }
}

impl Refills {
    /// Takes as much as was planned, or as there is.
    async fn take(&self, account: &Account, plan: Plan) -> Result<Taken, Error> {
        let mut taken = Taken::default();
        if !plan.short {
            taken = self.ask_for(account, &[plan.amount]).await?;
        }
        if taken.units == 0 && (plan.short || plan.amount > 1) {
            let costs: Vec<_> = rungs(plan.amount).collect();
            taken = self.ask_for(account, &costs).await?;
        }
        account.learn(taken.units, plan.amount);
        Ok(taken)
    }

    /// Asks the store for these costs, one after the other in one call.
    async fn ask_for(&self, account: &Account, costs: &[u32]) -> Result<Taken, Error> {
        let checks: Vec<_> = costs.iter().map(|cost| account.check(*cost)).collect();
        self.shared.stats.start_trip();
        let sent = self.shared.now();
        let answers = self.inner.decide(&checks, Join::Each).await;
        let heard = self.shared.now();
        if answers.len() != checks.len() {
            return Err(miscounted(answers.len(), checks.len()));
        }
        let mut taken = Taken::default();
        let mut failed = None;
        let mut newest: Option<Decision> = None;
        for (check, answer) in checks.iter().zip(answers) {
            match answer {
                Ok(decision) if decision.is_allowed() => {
                    // Units of a window that is over are of no use.
                    if newest
                        .as_ref()
                        .is_some_and(|it| !is_as_good(check, it, &decision))
                    {
                        self.shared.stats.lose(taken.units.into());
                        taken.units = 0;
                    }
                    taken.units = taken.units.saturating_add(check.cost);
                    newest = Some(decision);
                }
                Ok(decision) if check.cost == 1 => taken.denial = Some(decision),
                Ok(_) => {}
                Err(error) => failed = Some(error),
            }
        }
        let Some(decision) = newest else {
            return failed.map_or(Ok(taken), Err);
        };
        self.shared.stats.took(taken.units);
        let is_budget = matches!(decision.source(), Source::Store | Source::Lease);
        taken.others = (!is_budget).then(|| decision.source());
        let algorithm = account.check(0).policy.algorithm();
        let slice = Slice::new(algorithm, taken.units, &decision, sent, self.shared.term);
        taken.slice = Some((slice, Report::new(decision, heard)));
        Ok(taken)
    }

    /// Asks for those who were not told anything, each by itself. That this process holds something
    /// must not be why they are denied, so it is given back before.
    async fn one_by_one(&self, held: Return, waiting: &mut Waiting) {
        let account = Arc::clone(&held.account);
        self.shared.give_back(&*self.inner, held).await;
        let checks: Vec<_> = waiting.open().map(|cost| account.check(cost)).collect();
        let answers = self.inner.decide(&checks, Join::Each).await;
        let (told, asked) = (answers.len(), checks.len());
        let mut answers = answers.into_iter();
        waiting.tell(|_| match answers.next() {
            Some(answer) if told == asked => Some(answer),
            _ => Some(Err(miscounted(told, asked))),
        });
    }

    /// Holds what is left for those who come; what must not be held is given back.
    fn hold(
        &self,
        account: Arc<Account>,
        slice: Slice,
        report: Report,
        generation: u64,
        runtime: Option<Handle>,
    ) {
        let Some(runtime) = runtime else {
            return self.shared.stats.lose(slice.left.into());
        };
        let put = account.put(slice, report, generation, self.shared.now());
        self.shared.stats.lose(put.void.into());
        let (shared, inner) = (Arc::clone(&self.shared), Arc::clone(&self.inner));
        if let Some(excess) = put.excess {
            let (shared, inner) = (Arc::clone(&shared), Arc::clone(&inner));
            runtime.spawn(async move {
                let given = shared.give_back(&*inner, excess);
                let _ = within(LONGEST, pin!(given)).await;
            });
        }
        if put.keep {
            runtime.spawn(keep(shared, inner, account));
        }
    }
}

/// Whether units of the two decisions can be given back as if one had charged them: those of buckets,
/// which one call charges one after the other, and those of the same windows.
fn is_as_good(check: &Check<'_>, one: &Decision, other: &Decision) -> bool {
    let window = |decision: &Decision, period: Duration| {
        u128::from(decision.charge().at().as_nanos()) / period.as_nanos().max(1)
    };
    let mut limits = check.limits.as_slice().iter();
    check.policy.algorithm().is_bucket()
        || limits.all(|limit| {
            let period = limit.rate().period();
            window(one, period) == window(other, period)
        })
}
