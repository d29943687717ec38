//! What is asked of a server at start-up.

use core::time::Duration;
use std::time::Instant;

use mongodb::bson::Document;
use ratelimit_core::{
    Adjust, Algorithm, Answers, Charge, Check, Error, ErrorKind, Join, KeyBuf, Policy, Rate,
    Timestamp,
};

use super::MongoBackend;
use super::document::version;
use super::store::Swap;
use crate::checks::wrong;
use crate::stepwise::Work;
use crate::within::sleep;

/// The oldest that does: 4.4.
const OLDEST: i32 = 9;

/// How long nobody asks whether there is a server after all.
const PAUSE: Duration = Duration::from_millis(50);

/// What is written is over after a millisecond.
const PROBE: Rate = match Rate::parse("1000/s") {
    Ok(rate) => rate,
    Err(_) => panic!("it is a rate"),
};

/// Looks at the collection, makes the index if it is to be made, and tries all that will be done. It waits so long for a server.
pub(super) async fn check(
    backend: &MongoBackend,
    create_index: bool,
    patience: Duration,
) -> Result<(), Error> {
    let (client, started) = (backend.client(), Instant::now());
    let hello = loop {
        match client.store.hello().await {
            Ok(hello) => break hello,
            // There may be a server in a moment; who cannot log in never will.
            Err(failure) => {
                let waits = failure.error.kind() == ErrorKind::Connection;
                if !waits || started.elapsed() >= patience {
                    return Err(failure.error);
                }
                // Some failures come at once.
                sleep(PAUSE)?.await;
            }
        }
    };
    suits(&hello)?;
    match client.again_and_again(|| client.store.described()).await {
        Ok(None) => {}
        Ok(Some(collection)) => keeps_all(&collection)?,
        // Who may not look is not told.
        Err(error) if error.kind() == ErrorKind::Refused => {}
        Err(error) => return Err(error),
    }
    if create_index {
        client
            .again_and_again(|| client.store.create_index())
            .await?;
    }
    let policy = Policy::new("probe", Algorithm::TokenBucket, PROBE);
    // It is nobody's, also not that of somebody else who starts at the same time.
    let key = KeyBuf::of(&version());
    let check = Check::new(&policy, policy.limits(), key.as_ref());
    let first = |answers: Answers| answers.into_iter().next().map_or(Ok(()), |it| it.map(drop));
    first(backend.decide_batch(&[check], Join::Each).await?)?;
    let more = Adjust::new(check, Charge::new(Timestamp::default(), 0), 1);
    first(client.exchange(Work::Adjust(&[more]), None).await)?;
    first(client.exchange(Work::Peek(&[check]), None).await)?;
    let swap = Swap {
        name: client.name(&check),
        found: None,
        version: version(),
        fields: Document::new(),
        expires: 0,
    };
    client.store.swap(&[swap]).await?;
    client.store.page("", 1).await?;
    backend.remove(&[check]).await
}

fn suits(hello: &Document) -> Result<(), Error> {
    if hello.get_i32("maxWireVersion").is_ok_and(|it| it < OLDEST) {
        let message = "the server is too old: MongoDB 4.4 or later is needed";
        return Err(Error::new(ErrorKind::Unsupported, message));
    }
    if hello.get_bool("isWritablePrimary").is_ok_and(|it| !it) {
        let message = "the server is a secondary, which cannot be written to";
        return Err(Error::new(ErrorKind::Refused, message));
    }
    Ok(())
}

/// Whether a collection takes each name for itself alone, and forgets none by itself.
fn keeps_all(collection: &Document) -> Result<(), Error> {
    let name = collection.get_str("name").unwrap_or_default();
    let wrong = |what: String| Err(wrong(format!("the collection `{name}` {what}")));
    match collection.get_str("type") {
        Ok("collection") | Err(_) => {}
        Ok(other) => return wrong(format!("is a {other}, and has to be a collection")),
    }
    let Ok(options) = collection.get_document("options") else {
        return Ok(());
    };
    if options.get_bool("capped").unwrap_or_default() {
        return wrong("is capped, and so would forget keys".to_owned());
    }
    let collation = options.get_document("collation");
    match collation.and_then(|it| it.get_str("locale")) {
        Ok("simple") | Err(_) => Ok(()),
        Ok(locale) => wrong(format!(
            "has the collation `{locale}`, by which it may take one key for another: it has to be one without"
        )),
    }
}
