//! [`Runtimes`]: connections belong to the tokio runtime on which they were made, and make no progress while nobody polls that. So there
//! are some for each runtime that asks, for as long as it is there.

use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

/// Something for each runtime.
#[derive(Debug)]
pub(crate) struct Runtimes<T>(Vec<Kept<T>>);

#[derive(Debug)]
struct Kept<T> {
    runtime: Id,
    value: T,
    /// A task there waits for its end, and so tells whether the runtime is still there.
    ends: oneshot::Sender<()>,
}

impl<T> Default for Runtimes<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Runtimes<T> {
    /// That of a runtime.
    pub(crate) fn of(&mut self, runtime: Id) -> Option<&mut T> {
        let mut kept = self.0.iter_mut();
        kept.find(|it| it.runtime == runtime)
            .map(|it| &mut it.value)
    }

    /// Keeps it for a runtime that has none. Returns what is left of those that are no longer there.
    pub(crate) fn add(&mut self, runtime: &Handle, value: T) -> Vec<T> {
        let left = self.0.extract_if(.., |it| it.ends.is_closed());
        let left = left.map(|it| it.value).collect();
        let (ends, ended) = oneshot::channel();
        // On a runtime that shuts down it is dropped at once.
        runtime.spawn(async move { drop(ended.await) });
        self.0.push(Kept {
            runtime: runtime.id(),
            value,
            ends,
        });
        left
    }

    /// All of them, each with its runtime; none is kept.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (Id, T)> {
        let all = core::mem::take(&mut self.0);
        all.into_iter().map(|it| (it.runtime, it.value))
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn what_is_of_a_runtime_goes_after_it() {
        let runtime = || Builder::new_current_thread().build().unwrap();
        let (first, second, third) = (runtime(), runtime(), runtime());
        let mut kept = Runtimes::default();
        assert!(kept.add(first.handle(), 1).is_empty());
        assert!(kept.add(second.handle(), 2).is_empty());
        assert_eq!(kept.of(second.handle().id()), Some(&mut 2));
        assert_eq!(kept.of(third.handle().id()), None);
        drop(first);
        assert_eq!(kept.add(third.handle(), 3), [1]);
        let left: Vec<_> = kept.take().collect();
        assert_eq!(left, [(second.handle().id(), 2), (third.handle().id(), 3)]);
        assert!(kept.take().next().is_none());
    }
}
