//! Keys that are over are removed: page by page, when somebody asks for it, or [now and then](Rounds).

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use ratelimit_core::{Error, ErrorKind, Sweep, Swept};
use tokio::runtime::Handle;

use super::ask::again_and_again;
use super::store::Store;

/// More rows than anybody should want to be without at once.
const MOST_ROWS: usize = 10_000;

/// When the next sweep is due that nobody asks for.
#[derive(Debug)]
pub(super) struct Rounds {
    every: Option<Duration>,
    started: Instant,
    /// Milliseconds since the start.
    due: AtomicU64,
}

impl Rounds {
    /// The first is due at a random time, so that not all processes sweep at the same one.
    pub(super) fn new(every: Option<Duration>) -> Self {
        let first = every.unwrap_or_default().mul_f64(fastrand::f64());
        Self {
            every,
            started: Instant::now(),
            due: AtomicU64::new(millis(first)),
        }
    }

    /// Whether one is due, which one caller is told.
    fn is_due(&self) -> bool {
        let Some(every) = self.every else {
            return false;
        };
        let due = self.due.load(Ordering::Relaxed);
        let now = millis(self.started.elapsed());
        if now < due {
            return false;
        }
        let next = now.saturating_add(millis(every));
        let taken = self
            .due
            .compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed);
        taken.is_ok()
    }

    /// Sweeps in the background, if it is time to. Whoever decides comes by here: a table to which nobody writes need not be swept.
    pub(super) fn pass(&self, store: &Arc<Store>) {
        if self.is_due()
            && let Ok(runtime) = Handle::try_current()
        {
            let store = Arc::clone(store);
            runtime.spawn(async move { report(sweep(&store, Sweep::new()).await) });
        }
    }
}

fn report(swept: Result<Swept, Error>) {
    match swept {
        Ok(swept) => tracing::debug!(
            removed = swept.removed,
            kept = swept.kept,
            "rows that are over were removed"
        ),
        Err(error) if error.kind() == ErrorKind::Closed => {}
        Err(error) => tracing::warn!(%error, "rows that are over could not be removed"),
    }
}

/// Page by page, in the order of the names: no page is locked for longer than its own removal takes.
pub(super) async fn sweep(store: &Store, sweep: Sweep) -> Result<Swept, Error> {
    let rows = u32::try_from(sweep.batch.clamp(1, MOST_ROWS)).unwrap_or(1);
    let (mut removed, mut kept) = (0, 0);
    let mut behind = String::new();
    loop {
        let page = again_and_again(|| store.page(behind.clone(), rows)).await?;
        let over = u64::try_from(page.over.len()).unwrap_or(u64::MAX);
        let gone = if sweep.dry_run || over == 0 {
            over
        } else {
            again_and_again(|| store.expire(page.over.clone(), page.now)).await?
        };
        removed += gone;
        kept += page.rows.saturating_sub(gone);
        match page.last {
            Some(last) if page.rows == u64::from(rows) => behind = last,
            _ => return Ok(Swept::new(removed, kept)),
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
