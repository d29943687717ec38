//! A caller's questions: by pipelines or by exchange.

use core::pin::pin;

use ratelimit_core::{Adjust, Answers, Check, Decision, Error, Join, Swept};

use super::MongoBackend;
use super::errors::nonsense;
use crate::stepwise::{Work, refuse};

/// More documents than anybody should want to be without at once.
const MOST_DOCUMENTS: usize = 10_000;

impl MongoBackend {
    pub(super) async fn decide_batch(
        &self,
        checks: &[Check<'_>],
        join: Join,
    ) -> Result<Answers, Error> {
        match join {
            Join::Each => Ok(self.decide_each(checks).await),
            Join::All => self.client().exchange_all(checks).await,
        }
    }

    /// Each by itself, together with those of other callers.
    async fn decide_each(&self, checks: &[Check<'_>]) -> Answers {
        let client = self.client();
        let mut answers: Vec<Option<Result<Decision, Error>>> = vec![None; checks.len()];
        let (mut places, mut questions) = (Vec::new(), Vec::new());
        for (place, check) in checks.iter().enumerate() {
            if let Some(error) = refuse(&client.capabilities, check) {
                answers[place] = Some(Err(error));
            } else {
                places.push(place);
                questions.push(client.question(check));
            }
        }
        let told = self.batcher.ask(questions).await;
        for (place, told) in places.into_iter().zip(told) {
            answers[place] = Some(told);
        }
        let answers = answers.into_iter();
        answers
            .map(|answer| answer.unwrap_or_else(|| Err(nonsense())))
            .collect()
    }

    pub(super) async fn peek_batch(&self, checks: &[Check<'_>]) -> Answers {
        self.client().exchange(Work::Peek(checks), None).await
    }

    pub(super) async fn adjust_batch(&self, adjusts: &[Adjust<'_>]) -> Answers {
        let client = self.client();
        let corrections = adjusts.iter().map(|it| client.correction(it)).collect();
        self.batcher.ask(corrections).await
    }

    pub(super) async fn remove(&self, checks: &[Check<'_>]) -> Result<(), Error> {
        let client = self.client();
        let names: Vec<_> = checks.iter().map(|check| client.name(check)).collect();
        if names.is_empty() {
            return Ok(());
        }
        let remove = || client.store.remove(names.iter().map(|it| &**it).collect());
        client.again_and_again(remove).await
    }

    /// Page by page, in the order of the names, each within the time that a decision may take.
    pub(super) async fn sweep_all(&self, dry_run: bool, batch: usize) -> Result<Swept, Error> {
        let client = self.client();
        let documents = i64::try_from(batch.clamp(1, MOST_DOCUMENTS)).unwrap_or(1);
        let (mut removed, mut kept) = (0, 0);
        let mut behind = String::new();
        loop {
            let page = || client.store.page(&behind, documents);
            let page = self.in_time(pin!(client.again_and_again(page))).await??;
            let over = u64::try_from(page.over.len()).unwrap_or(u64::MAX);
            let gone = if dry_run || over == 0 {
                over
            } else {
                let expire = || client.store.expire(&page.over);
                self.in_time(pin!(client.again_and_again(expire))).await??
            };
            removed += gone;
            kept += page.documents.saturating_sub(over);
            match page.last {
                Some(last) if i64::try_from(page.documents) == Ok(documents) => behind = last,
                _ => return Ok(Swept::new(removed, kept)),
            }
        }
    }
}
