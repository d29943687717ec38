//! MongoDB, and GCRA as it is usually written by hand for it: one `find_one_and_update` with a pipeline for each check.

use mongodb::bson::{Document, doc};
use mongodb::options::{Acknowledgment, ClientOptions, ReturnDocument, WriteConcern};
use mongodb::{Client, Collection};
use ratelimit::MongoBackend;
use ratelimit::mongodb::{Durability, MongoBuilder};
use ratelimit_tests::servers::mongodb::MongoDb;

use crate::contenders::{Contender, Ours};
use crate::side_by_side::{compare, setting, settings_head};
use crate::{PATIENCE, Settings, runtime};

/// As many as a clock of milliseconds can tell apart: one in each.
const RATE: &str = "1000/s";
const INTERVAL: i64 = 1;

/// How many may come at once, so that nobody is denied.
const BURST: u32 = 1_000_000_000;

/// The error of two that add the same document.
const DUPLICATE_KEY: i32 = 11_000;

/// A replica set of one node, whose answers do not wait for its journal.
pub fn mongodb(settings: &Settings) {
    let server = MongoDb::start();
    let runtime = runtime(2);
    let ours = runtime.block_on(ours(MongoBackend::builder(server.url())));
    let by_hand = runtime.block_on(ByHand::new(&server.url()));
    compare("MongoDB", &runtime, ours, by_hand, settings);
}

/// What each write concern costs on such a node.
pub fn write_concern(settings: &Settings) {
    let server = MongoDb::start();
    let runtime = runtime(2);
    println!("\n## What a write concern costs in MongoDB, 10,000 keys\n");
    settings_head();
    for (name, durability) in [
        ("`w: 1, j: false` (default)", Durability::Primary),
        ("`w: 1, j: true`", Durability::Journal),
        ("`w: \"majority\"`", Durability::Majority),
    ] {
        let builder = MongoBackend::builder(server.url()).durability(durability);
        let ours = runtime.block_on(ours(builder));
        setting(name, &runtime, ours, settings);
    }
}

async fn ours(builder: MongoBuilder) -> Ours {
    let backend = builder.timeout(PATIENCE).connect().await;
    Ours::alone(backend.expect("it is there"), RATE).with_burst(BURST)
}

/// The driver, and nothing that would remove what is over.
struct ByHand {
    collection: Collection<Document>,
    decision: Vec<Document>,
}

impl ByHand {
    async fn new(url: &str) -> Self {
        let mut options = ClientOptions::parse(url).await.expect("a URL");
        // As ours: the server's default is to wait for most nodes' journals, and that of the driver to have it write down each
        // question, so that it could be repeated.
        let mut concern = WriteConcern::from(Acknowledgment::Nodes(1));
        concern.journal = Some(false);
        options.write_concern = Some(concern);
        options.retry_writes = Some(false);
        let client = Client::with_options(options).expect("a client");
        let collection = client.database("benchmark").collection("by_hand");
        // What is missing is less than any time.
        let ahead = INTERVAL * i64::from(BURST - 1);
        let ok = doc! { "$lte": ["$tat", { "$add": ["$$NOW", ahead] }] };
        let next = doc! { "$add": [{ "$max": ["$tat", "$$NOW"] }, INTERVAL] };
        let tat = doc! { "$cond": [&ok, next, "$tat"] };
        Self {
            collection,
            decision: vec![doc! { "$set": { "ok": ok, "tat": tat } }],
        }
    }
}

impl Contender for ByHand {
    const NAME: &'static str = "by hand";

    async fn decide(&self, key: &str) -> bool {
        loop {
            let decision = self
                .collection
                .find_one_and_update(doc! { "_id": key }, self.decision.clone())
                .upsert(true)
                .return_document(ReturnDocument::After);
            match decision.await {
                Ok(after) => {
                    let after = after.expect("it was added");
                    return after.get_bool("ok").expect("a decision");
                }
                Err(error) if is_duplicate(&error) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

fn is_duplicate(error: &mongodb::error::Error) -> bool {
    use mongodb::error::ErrorKind::Command;
    matches!(&*error.kind, Command(failed) if failed.code == DUPLICATE_KEY)
}
