//! How one question is asked and answered, whoever asks: guarded functions and the plain API.

use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use ratelimit_core::{
    Adjust, Answers, Backend, Check, Decision, Error, ErrorKind, Join, KeyRef, Limits, Mode,
    OnError, OwnedCheck, Policy, Source,
};

use super::failures::FailureLog;
use super::{Entry, Inner, unlimited};
use crate::Rejection;
use crate::bridge;
use crate::site::Site;
use crate::wait;

/// A policy with its override and its backend.
pub(crate) struct Resolved {
    pub(super) registry: Arc<Inner>,
    pub(super) entry: Option<Arc<Entry>>,
    pub(super) policy: Policy,
    /// The calls bring their limits.
    pub(super) dynamic: bool,
    pub(super) on_error: OnError,
    /// How long its calls wait for a place; zero where they do not.
    pub(super) wait: Duration,
    /// The annotated function, where it is one's.
    pub(super) site: Option<&'static Site>,
    /// Why it cannot be used at all.
    pub(super) fault: Option<Error>,
    /// Which registry it was made from; see [`global`](super::global).
    pub(super) stamp: u64,
}

impl Resolved {
    pub(crate) fn plan(&self) -> Plan<'_> {
        Plan { resolved: self }
    }
}

/// The key of a question, or the source that had none.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keyed<'a> {
    Key(KeyRef<'a>),
    Missing(&'static str),
}

/// What is asked of a policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) key: Keyed<'a>,
    pub(crate) cost: i128,
    /// The limits that the call brings.
    pub(crate) limits: Option<&'a Limits>,
    /// What was wrong with them.
    pub(crate) fault: Option<&'a Error>,
}

/// What happens to a call whose backend failed, and that is not rejected for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fallback {
    /// It runs, unlimited.
    Run,
    /// This process's memory decides.
    Local,
}

/// Asks questions under one policy.
#[derive(Clone, Copy)]
pub(crate) struct Plan<'a> {
    resolved: &'a Resolved,
}

impl<'a> Plan<'a> {
    /// Asks, and waits for the answer without blocking the thread.
    pub(crate) async fn ask(self, question: &Question<'_>) -> Result<Decision, Rejection> {
        let (entry, check) = match self.prepare(question) {
            Ok(prepared) => prepared,
            Err(early) => return self.apply_mode(early),
        };
        if !self.resolved.wait.is_zero() {
            // Boxed, so that the futures of calls that do not wait stay small.
            return Box::pin(wait::ask(self, entry, check)).await;
        }
        let answer = match entry.backend.decide_now(&check) {
            Some(answer) => answer,
            None => single(
                entry
                    .backend
                    .decide(core::slice::from_ref(&check), Join::Each)
                    .await,
            ),
        };
        self.apply_mode(self.conclude(&check, answer))
    }

    /// Asks, and blocks the thread until the answer is there.
    pub(crate) fn ask_blocking(self, question: &Question<'_>) -> Result<Decision, Rejection> {
        let (entry, check) = match self.prepare(question) {
            Ok(prepared) => prepared,
            Err(early) => return self.apply_mode(early),
        };
        if !self.resolved.wait.is_zero() {
            return wait::ask_blocking(self, entry, check);
        }
        let answer = match entry.backend.decide_now(&check) {
            Some(answer) => answer,
            None => self.decide_elsewhere(entry, &check),
        };
        self.apply_mode(self.conclude(&check, answer))
    }

    /// Asks a backend that does not answer at once, and blocks the thread.
    pub(crate) fn decide_elsewhere(
        self,
        entry: &Entry,
        check: &Check<'_>,
    ) -> Result<Decision, Error> {
        let checks = core::slice::from_ref(check);
        let registry = &self.resolved.registry;
        let answers = registry.block(entry, |backend| backend.decide(checks, Join::Each));
        answers.and_then(single)
    }

    pub(crate) fn registry(self) -> &'a Arc<Inner> {
        &self.resolved.registry
    }

    /// How long its calls wait for a place.
    pub(crate) fn wait(self) -> Duration {
        self.resolved.wait
    }

    /// Whether calls bring their limits.
    pub(crate) fn is_dynamic(self) -> bool {
        self.resolved.dynamic
    }

    /// Makes the question for the backend, or the answer where the backend need not be asked.
    pub(super) fn prepare<'q>(
        self,
        question: &Question<'q>,
    ) -> Result<(&'a Arc<Entry>, Check<'q>), Result<Decision, Rejection>>
    where
        'a: 'q,
    {
        let policy = &self.resolved.policy;
        if policy.mode() == Mode::Off || question.cost == 0 {
            return Err(Ok(unlimited()));
        }
        let key = match question.key {
            Keyed::Key(key) => key,
            Keyed::Missing(wanted) => {
                self.say_missing(wanted);
                return Err(Err(Rejection::MissingKey { wanted }));
            }
        };
        let fault = self.resolved.fault.as_ref().or(question.fault);
        let entry = match (fault, &self.resolved.entry) {
            (None, Some(entry)) => entry,
            (fault, _) => {
                let error = fault.cloned().unwrap_or_else(no_limits);
                self.say_unusable(&error);
                return Err(Err(Rejection::Unavailable(error)));
            }
        };
        let limits = match (self.resolved.dynamic, question.limits) {
            (false, _) => policy.limits(),
            (true, Some(limits)) => limits,
            (true, None) => return Err(Err(Rejection::Unavailable(no_limits()))),
        };
        if self.resolved.dynamic
            && let Some(refused) = entry
                .backend
                .capabilities()
                .refuse(policy.algorithm(), limits)
        {
            let error = Error::from(refused).with_backend(entry.name.clone());
            return Err(Err(Rejection::Unavailable(error)));
        }
        let capacity = limits.capacity(policy.algorithm());
        match u32::try_from(question.cost) {
            Ok(cost) if cost <= capacity => {
                Ok((entry, Check::new(policy, limits, key).with_cost(cost)))
            }
            _ => Err(Err(Rejection::Unsatisfiable {
                cost: question.cost,
                capacity,
            })),
        }
    }

    /// Makes an answer of what the backend said, or of its failure.
    pub(crate) fn conclude(
        self,
        check: &Check<'_>,
        answer: Result<Decision, Error>,
    ) -> Result<Decision, Rejection> {
        let decision = match unasked_delay(check, answer) {
            Ok(decision) => decision,
            Err(error) => match self.fall_back(check, error)? {
                Fallback::Run => return Ok(Decision::unlimited(Source::Open)),
                Fallback::Local => self.resolved.registry.decide_locally(check)?,
            },
        };
        if decision.is_allowed() {
            Ok(decision)
        } else {
            Err(Rejection::Limited(decision))
        }
    }

    /// What the posture makes of a failure of the backend.
    pub(super) fn fall_back(self, check: &Check<'_>, error: Error) -> Result<Fallback, Rejection> {
        match error.kind() {
            ErrorKind::Unsatisfiable => {
                let (cost, capacity) = (check.cost.into(), check.capacity());
                return Err(Rejection::Unsatisfiable { cost, capacity });
            }
            // What is wrong with the program is not answered by letting calls through.
            ErrorKind::Configuration | ErrorKind::Unsupported => {
                return Err(Rejection::Unavailable(self.named(error)));
            }
            _ => {}
        }
        let error = self.named(error);
        self.say_failed(&error);
        match self.resolved.on_error {
            OnError::Open => Ok(Fallback::Run),
            OnError::Local => Ok(Fallback::Local),
            // `closed`, and whatever posture may come to be that this does not know.
            _ => Err(Rejection::Unavailable(error)),
        }
    }

    /// In shadow mode every call runs, whatever was decided.
    pub(super) fn apply_mode(
        self,
        answer: Result<Decision, Rejection>,
    ) -> Result<Decision, Rejection> {
        let policy = &self.resolved.policy;
        match answer {
            Err(rejection) if policy.mode() == Mode::Shadow => {
                tracing::debug!(policy = policy.name(), %rejection, "shadow: would be rejected");
                match rejection {
                    Rejection::Limited(decision) => Ok(decision),
                    _ => Ok(unlimited()),
                }
            }
            answer => answer,
        }
    }

    pub(super) fn mode(self) -> Mode {
        self.resolved.policy.mode()
    }

    fn say_failed(self, error: &Error) {
        let Some(entry) = &self.resolved.entry else {
            return;
        };
        if let Some(failures) = entry.failures.due(Instant::now()) {
            tracing::warn!(
                backend = entry.name,
                policy = self.resolved.policy.name(),
                on_error = self.resolved.on_error.name(),
                failures,
                %error,
                "the backend failed"
            );
        }
    }

    fn say_unusable(self, error: &Error) {
        if let Some(failures) = self.misuses().due(Instant::now()) {
            let policy = self.resolved.policy.name();
            tracing::error!(policy, failures, %error, "the policy cannot be used");
        }
    }

    /// A header that is missing is the client's doing; anything else is the program's.
    fn say_missing(self, wanted: &'static str) {
        let policy = self.resolved.policy.name();
        if wanted.starts_with("header:") {
            tracing::debug!(policy, wanted, "the request has no key");
        } else if let Some(failures) = self.misuses().due(Instant::now()) {
            let hint = match wanted {
                "ip" => "; with axum, `into_make_service_with_connect_info::<SocketAddr>()` does",
                _ => "",
            };
            tracing::error!(
                policy,
                wanted,
                failures,
                "no argument of the guarded function provides the key{hint}"
            );
        }
    }

    /// Each site says for itself what is wrong with it.
    fn misuses(self) -> &'a FailureLog {
        self.resolved
            .site
            .map_or(&self.resolved.registry.misuses, |site| &site.misuses)
    }

    fn named(self, error: Error) -> Error {
        match &self.resolved.entry {
            Some(entry) => error.with_backend(entry.name.clone()),
            None => error,
        }
    }
}

impl Inner {
    /// Decides in this process's memory, because the backend failed.
    fn decide_locally(&self, check: &Check<'_>) -> Result<Decision, Rejection> {
        let mut decisions = self.decide_all_locally(core::slice::from_ref(check))?;
        decisions
            .pop()
            .ok_or_else(|| Rejection::Unavailable(miscounted(0, 1)))
    }

    /// Corrects what this process's memory has charged.
    pub(crate) fn adjust_locally(&self, adjust: &Adjust<'_>) -> Result<Decision, Error> {
        bridge::poll_now(self.local().adjust(core::slice::from_ref(adjust))).and_then(single)
    }

    /// Decides several checks as one in this process's memory.
    pub(super) fn decide_all_locally(
        &self,
        checks: &[Check<'_>],
    ) -> Result<Vec<Decision>, Rejection> {
        let answers = bridge::poll_now(self.local().decide(checks, Join::All));
        let decisions = answers.and_then(|answers| answers.into_iter().collect::<Result<_, _>>());
        let decisions: Vec<Decision> = decisions.map_err(Rejection::Unavailable)?;
        Ok(decisions
            .into_iter()
            .map(|decision| decision.with_source(Source::Local))
            .collect())
    }
}

/// Decides checks that the caller does not wait for any longer, if it gave up.
pub(crate) async fn decide_owned(
    backend: Arc<dyn Backend>,
    checks: Vec<OwnedCheck>,
    join: Join,
) -> Answers {
    let checks: Vec<_> = checks.iter().map(OwnedCheck::as_check).collect();
    backend.decide(&checks, join).await
}

/// The one answer to one question.
pub(crate) fn single(mut answers: Answers) -> Result<Decision, Error> {
    match (answers.len(), answers.pop()) {
        (1, Some(answer)) => answer,
        (count, _) => Err(miscounted(count, 1)),
    }
}

/// The answer, or an error where the call would have to wait, and nobody would make it.
pub(super) fn unasked_delay(
    check: &Check<'_>,
    answer: Result<Decision, Error>,
) -> Result<Decision, Error> {
    let delay = answer.as_ref().map(Decision::delay).unwrap_or_default();
    if delay <= check.max_delay {
        return answer;
    }
    let message = format!("the backend makes a call wait for {delay:?} that may not be made to");
    Err(Error::new(ErrorKind::Protocol, message))
}

/// The error of a backend that does not give one answer for each question.
pub(super) fn miscounted(answers: usize, questions: usize) -> Error {
    let message = format!("the backend gave {answers} answers to {questions} questions");
    Error::new(ErrorKind::Protocol, message)
}

fn no_limits() -> Error {
    Error::new(ErrorKind::Configuration, "the call brought no limits")
}
