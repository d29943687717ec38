//! What is asked of a database at start-up.

use ratelimit_core::Error;

use super::ask::{Client, again_and_again};
use super::store::{Change, VERSION};
use crate::checks::wrong;

/// A name that no key has, which is written and removed.
const PROBE: &str = "probe";

/// Makes the table if it is to be made, and tries all that will be done with it.
pub(super) async fn check(client: &Client, migrate: bool) -> Result<(), Error> {
    let store = &client.store;
    if migrate {
        again_and_again(|| store.migrate()).await?;
    }
    let found = again_and_again(|| store.table_version()).await?;
    match found.as_deref() {
        Some([VERSION]) => {}
        Some(other) => return Err(other_version(other)),
        None => {
            let message = "the table does not say which version it has: its first row is missing";
            return Err(wrong(message));
        }
    }
    let write = || {
        let changing = |_, _: &[Vec<u8>]| ((), vec![probe(&[0]), probe(&[])]);
        store.change(vec![PROBE.to_owned()], Box::new(changing))
    };
    again_and_again(write).await
}

fn probe(state: &[u8]) -> Change {
    Change {
        name: PROBE.to_owned(),
        state: state.to_vec(),
        expires: 0,
    }
}

fn other_version(found: &[u8]) -> Error {
    let found = match found {
        [version] => version.to_string(),
        _ => "unknown".to_owned(),
    };
    let message =
        format!("the table is of version {found}, and this program knows version {VERSION}");
    wrong(message)
}
