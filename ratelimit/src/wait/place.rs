//! [`Place`]: one call's place in a queue, given up when it is dropped.

use core::future::poll_fn;
use core::task::Poll;

use ratelimit_core::{Decision, Error, ErrorKind, KeyBuf, Timestamp};

use super::queue::{Known, Look, Out, Queues};
use super::sleep::Sleeper;

pub(super) struct Place<'a> {
    queues: &'a Queues,
    key: &'a KeyBuf,
    id: u64,
}

/// What a call whose turn came is to do.
pub(super) enum Turn {
    Ask,
    Leave(Out),
}

impl<'a> Place<'a> {
    pub(super) fn new(queues: &'a Queues, key: &'a KeyBuf, id: u64) -> Self {
        Self { queues, key, id }
    }

    /// Sleeps until it is this call's turn to ask, or to leave.
    pub(super) async fn turn(&self, sleeper: &mut Sleeper) -> Result<Turn, Error> {
        poll_fn(|context| {
            let waker = context.waker();
            let look = self.queues.look(self.key, self.id, sleeper.now(), waker);
            match look {
                Look::Ask => Poll::Ready(Ok(Turn::Ask)),
                Look::Leave(out) => Poll::Ready(Ok(Turn::Leave(out))),
                Look::Sleep(until) => match sleeper.wake_at(until, waker) {
                    Ok(()) => Poll::Pending,
                    Err(error) => Poll::Ready(Err(error)),
                },
            }
        })
        .await
    }

    /// Tells those behind what the backend answered. Says whether this call is to wait on.
    pub(super) fn answered(
        &self,
        answer: &Result<Decision, Error>,
        denied: Option<(Known, Timestamp)>,
    ) -> bool {
        match (answer, denied) {
            (_, Some((denial, retry_at))) => {
                self.queues.denied(self.key, self.id, denial, retry_at)
            }
            (Err(error), None) if concerns_everybody(error) => {
                self.queues.failed(self.key, self.id, error);
                false
            }
            _ => false,
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.queues.leave(self.key, self.id);
    }
}

/// Whether it is the backend that failed, not this call that cannot be decided.
fn concerns_everybody(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Unsatisfiable | ErrorKind::Unsupported | ErrorKind::Configuration
    )
}
