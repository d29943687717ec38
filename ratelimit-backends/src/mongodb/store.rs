//! [`Store`]: the collection, and the commands that are given to it.

use core::fmt;
use std::collections::HashMap;
use std::sync::Arc;

use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::options::{ReadConcern, TransactionOptions, WriteConcern};
use ratelimit_core::{Clock, Error, ErrorKind, Timestamp};

use super::document::{BEFORE, EXPIRES, Stored, VERSION};
use super::errors::{Failure, OTHER_VERSION, nonsense, told_by_server};
use super::link::{Link, primary};
use super::template::Template;

/// The index by which the server removes what is over.
const INDEX: &str = "ratelimit_expires";

pub(super) struct Store {
    pub(super) link: Link,
    pub(super) collection: String,
    pub(super) concern: WriteConcern,
    pub(super) clock: Option<Arc<dyn Clock>>,
}

/// What was found of some keys, and when.
#[derive(Debug)]
pub(super) struct Looked {
    /// By the clock that decides.
    pub(super) now: Timestamp,
    /// By the server's clock, in milliseconds, which is the one by which it removes what is over.
    pub(super) server_now: i64,
    pub(super) found: HashMap<String, Stored>,
}

/// A document that takes the place of one that was found.
#[derive(Clone, Debug)]
pub(super) struct Swap {
    pub(super) name: String,
    /// That of the document that was found, if there was one.
    pub(super) found: Option<i64>,
    pub(super) version: i64,
    pub(super) fields: Document,
    /// Milliseconds.
    pub(super) expires: i64,
}

/// Whether a document took the place of another, or somebody was faster.
pub(super) type Swapped = Result<bool, Error>;

/// Some documents in the order of their names.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) last: Option<String>,
    pub(super) documents: u64,
    /// The names of those that are over.
    pub(super) over: Vec<String>,
}

impl Store {
    /// The time, unless the server's clock tells it.
    pub(super) fn time(&self) -> Option<Timestamp> {
        let clock = self.clock.as_ref()?;
        Some(clock.now())
    }

    fn concern(&self) -> Result<Document, Failure> {
        let written = mongodb::bson::serialize_to_document(&self.concern);
        written.map_err(|_| nonsense().into())
    }

    /// The command that decides by a pipeline, but for the key.
    pub(super) fn decision(&self, update: Document) -> Result<Document, Failure> {
        Ok(doc! {
            "findAndModify": &self.collection,
            "update": [update],
            "upsert": true,
            "new": true,
            "fields": { "_id": 0, "now": "$$NOW", "document": "$$ROOT" },
            "writeConcern": self.concern()?,
        })
    }

    /// Decides by it, and returns what is there then; `now` is what the pipeline was told.
    pub(super) async fn decide(
        &self,
        name: &str,
        template: &Template,
        version: i64,
        now: Option<Timestamp>,
    ) -> Result<(Looked, Document), Failure> {
        let command = template.command(name, version)?;
        let mut answer = self.link.run_raw(command).await?;
        let Some(Bson::Document(mut value)) = answer.remove("value") else {
            return Err(nonsense().into());
        };
        let Some(Bson::Document(document)) = value.remove("document") else {
            return Err(nonsense().into());
        };
        let found = HashMap::from([(name.to_owned(), Stored::of(&document))]);
        Ok((looked(&value, now, found)?, document))
    }

    /// The time, and what there is of these keys.
    pub(super) async fn look(&self, names: Vec<&str>) -> Result<Looked, Failure> {
        let now = self.time();
        let command = doc! {
            "aggregate": &self.collection,
            "pipeline": [
                { "$match": { "_id": { "$in": names } } },
                // There is one answer whatever is found, and it has the time.
                { "$facet": { "found": [{ "$project": { BEFORE: 0 } }] } },
                { "$set": { "now": "$$NOW" } },
            ],
            "cursor": {},
            // The newest, whatever is the default there: what is older would only be found to have changed.
            "readConcern": { "level": "local" },
        };
        let mut answer = self.link.run(command).await?;
        let first = first_batch(&mut answer).and_then(|mut batch| batch.pop());
        let Some(Bson::Document(mut all)) = first else {
            return Err(nonsense().into());
        };
        let Some(Bson::Array(documents)) = all.remove("found") else {
            return Err(nonsense().into());
        };
        let found = documents.iter().filter_map(|it| {
            let document = it.as_document()?;
            let name = document.get_str("_id").ok()?;
            Some((name.to_owned(), Stored::of(document)))
        });
        looked(&all, now, found.collect())
    }

    /// Puts documents in the place of those that were found, and says of each whether nobody was faster.
    pub(super) async fn swap(&self, swaps: &[Swap]) -> Result<Vec<Swapped>, Failure> {
        let mut command = self.update(swaps);
        command.insert("writeConcern", self.concern()?);
        let answer = self.link.run(command).await?;
        swapped(&answer, swaps.len())
    }

    /// The same for all of them, or none.
    pub(super) async fn swap_all(&self, swaps: &[Swap]) -> Result<bool, Failure> {
        // Whatever the URL says of reads: no transaction could do with that.
        let options = TransactionOptions::builder()
            .write_concern(self.concern.clone())
            .read_concern(ReadConcern::local())
            .selection_criteria(primary())
            .build();
        let command = self.update(swaps);
        // What fails in a transaction ends it.
        let holds = |answer: &Document| match write_errors(answer).next() {
            None => Ok(swapped(answer, swaps.len())?.len() == swaps.len()),
            Some((_, failure, code)) if failure.again || code == OTHER_VERSION => Ok(false),
            Some((_, failure, _)) => Err(failure),
        };
        self.link.transaction(command, options, holds).await
    }

    fn update(&self, swaps: &[Swap]) -> Document {
        let updates = swaps.iter().map(|swap| Bson::from(swap.statement()));
        doc! {
            "update": &self.collection,
            "updates": updates.collect::<Vec<_>>(),
            "ordered": false,
        }
    }

    /// Removes these keys.
    pub(super) async fn remove(&self, names: Vec<&str>) -> Result<(), Failure> {
        self.delete(doc! { "_id": { "$in": names } }).await?;
        Ok(())
    }

    /// Removes those of these keys that are over, and says how many.
    pub(super) async fn expire(&self, names: &[String]) -> Result<u64, Failure> {
        let over = doc! { "$expr": is_over() };
        self.delete(doc! { "$and": [{ "_id": { "$in": names } }, over] })
            .await
    }

    async fn delete(&self, which: Document) -> Result<u64, Failure> {
        let command = doc! {
            "delete": &self.collection,
            "deletes": [{ "q": which, "limit": 0 }],
            "writeConcern": self.concern()?,
        };
        let answer = self.link.run(command).await?;
        if let Some(failure) = write_errors(&answer).next() {
            return Err(failure.1);
        }
        let count = answer.get_i32("n").ok().and_then(|n| u64::try_from(n).ok());
        count.ok_or_else(|| nonsense().into())
    }

    /// So many documents behind that name.
    pub(super) async fn page(&self, behind: &str, documents: i64) -> Result<Page, Failure> {
        let command = doc! {
            "find": &self.collection,
            "filter": { "_id": { "$gt": behind } },
            "sort": { "_id": 1 },
            "limit": documents,
            "batchSize": documents,
            "singleBatch": true,
            "projection": { "over": is_over() },
        };
        let mut answer = self.link.run(command).await?;
        let mut page = Page::default();
        for found in first_batch(&mut answer).ok_or_else(nonsense)? {
            let document = found.as_document().ok_or_else(nonsense)?;
            let name = document.get_str("_id").map_err(|_| nonsense())?;
            page.documents += 1;
            if document.get_bool("over").unwrap_or_default() {
                page.over.push(name.to_owned());
            }
            page.last = Some(name.to_owned());
        }
        Ok(page)
    }

    /// Which version the server has, as it says it.
    pub(super) async fn version(&self) -> Result<String, Failure> {
        let answer = self.link.run(doc! { "buildInfo": 1 }).await?;
        let version = answer.get_str("version").map_err(|_| nonsense())?;
        Ok(version.to_owned())
    }

    /// What it says of itself.
    pub(super) async fn hello(&self) -> Result<Document, Failure> {
        self.link.run_admin(doc! { "hello": 1 }).await
    }

    /// What the collection is, if there is one, as the server says it.
    pub(super) async fn described(&self) -> Result<Option<Document>, Failure> {
        let command = doc! {
            "listCollections": 1,
            "filter": { "name": &self.collection },
        };
        let mut answer = self.link.run(command).await?;
        let mut found = first_batch(&mut answer).ok_or_else(nonsense)?;
        match found.pop() {
            None => Ok(None),
            Some(Bson::Document(collection)) => Ok(Some(collection)),
            Some(_) => Err(nonsense().into()),
        }
    }

    /// Makes the index by which the server removes what is over, and the collection with it.
    pub(super) async fn create_index(&self) -> Result<(), Failure> {
        let command = doc! {
            "createIndexes": &self.collection,
            "indexes": [{ "key": { EXPIRES: 1 }, "name": INDEX, "expireAfterSeconds": 0 }],
        };
        let made = self.link.run(command).await;
        made.map(drop).map_err(|failure| {
            let hint = match failure.error.kind() {
                ErrorKind::Refused | ErrorKind::Configuration => {
                    "; the index is for removing what is over: make one on `expires` with `expireAfterSeconds: 0`, and say \
                     `MongoBuilder::create_index(false)`"
                }
                _ => return failure,
            };
            let message = format!(
                "the index of the collection `{}` cannot be made: {}{hint}",
                self.collection,
                failure.error.message()
            );
            Error::new(failure.error.kind(), message).into()
        })
    }
}

impl Swap {
    /// It names the document by `_id` alone, for which the server has a shorter way, and looks for the version by itself. If
    /// that is another one, `_id` would change, which the server refuses, and so tells of which statement it was.
    fn statement(&self) -> Document {
        let is_same = match self.found {
            Some(found) => doc! { "$eq": [format!("${VERSION}"), found] },
            // It is added.
            None => doc! { "$eq": ["$$ROOT", { "_id": "$_id" }] },
        };
        let mut next = doc! {
            "_id": "$_id",
            VERSION: self.version,
            EXPIRES: DateTime::from_millis(self.expires),
        };
        next.extend(self.fields.clone());
        doc! {
            "q": { "_id": &self.name },
            "u": [{ "$replaceWith": { "$cond": [is_same, next, { "_id": 0 }] } }],
            "upsert": true,
        }
    }
}

/// Whether a document is over by the server's clock.
fn is_over() -> Document {
    doc! { "$and": [
        { "$eq": [{ "$type": format!("${EXPIRES}") }, "date"] },
        { "$lte": [format!("${EXPIRES}"), "$$NOW"] },
    ] }
}

fn first_batch(answer: &mut Document) -> Option<Vec<Bson>> {
    match answer
        .get_document_mut("cursor")
        .ok()?
        .remove("firstBatch")?
    {
        Bson::Array(batch) => Some(batch),
        _ => None,
    }
}

fn looked(
    answer: &Document,
    told: Option<Timestamp>,
    found: HashMap<String, Stored>,
) -> Result<Looked, Failure> {
    let server_now = answer.get_datetime("now").map_err(|_| nonsense())?;
    let server_now = server_now.timestamp_millis();
    let now = match told {
        Some(now) => now,
        None => instant(server_now)?,
    };
    Ok(Looked {
        now,
        server_now,
        found,
    })
}

fn instant(millis: i64) -> Result<Timestamp, Error> {
    let nanos = u64::try_from(millis)
        .ok()
        .and_then(|it| it.checked_mul(1_000_000));
    nanos.map(Timestamp::from_nanos).ok_or_else(|| {
        let message = "the server's clock is before 1970, or after 2500";
        Error::new(ErrorKind::Protocol, message)
    })
}

fn write_errors(answer: &Document) -> impl Iterator<Item = (usize, Failure, i32)> {
    let errors = answer.get_array("writeErrors").into_iter().flatten();
    errors.filter_map(|error| {
        let error = error.as_document()?;
        let index = usize::try_from(error.get_i32("index").ok()?).ok()?;
        let code = error.get_i32("code").ok()?;
        let message = error.get_str("errmsg").unwrap_or_default();
        Some((index, told_by_server(code, message), code))
    })
}

/// What each of so many statements did.
fn swapped(answer: &Document, statements: usize) -> Result<Vec<Swapped>, Failure> {
    let mut swapped: Vec<Swapped> = vec![Ok(true); statements];
    let (mut refused, mut stopped) = (0, nonsense());
    for (index, failure, code) in write_errors(answer) {
        let place = swapped.get_mut(index).ok_or_else(nonsense)?;
        refused += 1;
        if failure.error.kind() == ErrorKind::Connection {
            stopped = failure.error.clone();
        }
        *place = if failure.again || code == OTHER_VERSION {
            Ok(false)
        } else {
            Err(failure.error)
        };
    }
    let done = answer
        .get_i32("n")
        .ok()
        .and_then(|n| usize::try_from(n).ok());
    if done.is_some_and(|done| done + refused == statements) {
        Ok(swapped)
    } else {
        // A server that no longer writes says nothing of the statements that are left.
        Err(stopped.into())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}
