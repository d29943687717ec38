//! A backend that says that it can do some things, and fails whenever it is asked.

use core::future::ready;
use core::time::Duration;

use arbitrary::{Result, Unstructured};
use ratelimit::{
    Adjust, Algorithm, AlgorithmSet, Answers, Backend, BoxFuture, Capabilities, Check, ClockKind,
    Decision, Error, ErrorKind, Join, Pong, Sweep, Swept,
};

/// How it fails, and what it says of itself.
#[derive(Clone, Debug)]
pub(super) struct Broken {
    failure: Failure,
    pub(super) capabilities: Capabilities,
}

#[derive(Clone, Copy, Debug)]
enum Failure {
    Error(ErrorKind),
    /// It gives no answer at all.
    Silence,
}

impl Broken {
    pub(super) fn new(input: &mut Unstructured<'_>) -> Result<Self> {
        let kind = match input.int_in_range(0..=4)? {
            0 => ErrorKind::Timeout,
            1 => ErrorKind::Refused,
            2 => ErrorKind::Protocol,
            _ => ErrorKind::Connection,
        };
        let failure = match input.ratio(1, 4)? {
            true => Failure::Silence,
            false => Failure::Error(kind),
        };
        let mut algorithms = AlgorithmSet::ALL;
        if input.ratio(1, 4)? {
            algorithms = algorithms.without(*input.choose(&Algorithm::ALL)?);
        }
        let resolution = match input.int_in_range(0..=2)? {
            0 => Duration::from_nanos(1),
            1 => Duration::from_millis(1),
            _ => Duration::from_nanos(input.arbitrary::<u32>()?.into()),
        };
        Ok(Self {
            failure,
            capabilities: Capabilities::new(algorithms)
                .with_clock(ClockKind::Process, resolution)
                .with_immediate(true),
        })
    }

    fn answers(&self, count: usize) -> Answers {
        match self.failure {
            Failure::Error(kind) => (0..count)
                .map(|_| Err(Error::new(kind, "it is broken")))
                .collect(),
            Failure::Silence => Vec::new(),
        }
    }

    fn error(&self) -> Error {
        match self.failure {
            Failure::Error(kind) => Error::new(kind, "it is broken"),
            Failure::Silence => Error::new(ErrorKind::Other, "it is silent"),
        }
    }
}

impl Backend for Broken {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    fn decide<'a>(&'a self, checks: &'a [Check<'a>], _join: Join) -> BoxFuture<'a, Answers> {
        Box::pin(ready(self.answers(checks.len())))
    }

    fn decide_now(&self, _check: &Check<'_>) -> Option<core::result::Result<Decision, Error>> {
        match self.failure {
            Failure::Error(_) => Some(Err(self.error())),
            Failure::Silence => None,
        }
    }

    fn peek<'a>(&'a self, checks: &'a [Check<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(ready(self.answers(checks.len())))
    }

    fn adjust<'a>(&'a self, adjusts: &'a [Adjust<'a>]) -> BoxFuture<'a, Answers> {
        Box::pin(ready(self.answers(adjusts.len())))
    }

    fn reset<'a>(
        &'a self,
        _checks: &'a [Check<'a>],
    ) -> BoxFuture<'a, core::result::Result<(), Error>> {
        Box::pin(ready(Err(self.error())))
    }

    fn ping(&self) -> BoxFuture<'_, core::result::Result<Pong, Error>> {
        Box::pin(ready(Err(self.error())))
    }

    fn sweep(&self, _sweep: Sweep) -> BoxFuture<'_, core::result::Result<Swept, Error>> {
        Box::pin(ready(Err(self.error())))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}
