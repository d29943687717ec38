//! Keys that are made of requests, through guarded functions in a test scope.
//!
//! The input makes two requests (`incoming`): methods, targets, header lines in any bytes that the
//! `http` crate takes, repeated and huge ones among them, and the peer's address. The second is like the
//! first in some of its parts. Every function of `guarded` is called with both; each allows one call an hour for a key.
//!
//! - Nothing panics.
//! - A request without the key is rejected as `MissingKey` that names the source, and nothing else is.
//! - The first request with a key is admitted by every function, whatever the others have admitted:
//!   no key of one policy is a key of another.
//! - The second request is refused exactly where it has the same key as the first, by what the lines
//!   that it was made of say.
//! - After the period, both can call again.

mod guarded;
mod incoming;

use core::time::Duration;

use arbitrary::{Result, Unstructured};
use ratelimit::{Rejection, testing};

use guarded::{SITES, Site};
use incoming::Incoming;

/// Checks all of it for one input.
pub fn check(input: &[u8]) {
    let _ = of_requests(&mut Unstructured::new(input));
}

fn of_requests(input: &mut Unstructured<'_>) -> Result<()> {
    let first = Incoming::new(input)?;
    let second = Incoming::like(&first, input)?;
    let requests = [first, second];
    let scope = testing::scope();
    for _ in 0..2 {
        for site in &SITES {
            of_one_site(site, &requests);
        }
        scope.clock().advance(Duration::from_hours(1));
    }
    Ok(())
}

fn of_one_site(site: &Site, [first, second]: &[Incoming; 2]) {
    let keys = [(site.key)(first), (site.key)(second)];
    let same = keys[0].is_some() && keys[0] == keys[1];
    is_as_expected(site, first, keys[0].as_deref(), true);
    is_as_expected(site, second, keys[1].as_deref(), !same);
}

fn is_as_expected(site: &Site, request: &Incoming, key: Option<&[u8]>, fresh: bool) {
    let answer = (site.call)(request);
    if let Err(rejection) = &answer {
        assert!(!rejection.to_string().is_empty());
    }
    let expected = match (key, &answer) {
        (None, Err(Rejection::MissingKey { wanted, .. })) => *wanted == site.source,
        (Some(_), Ok(())) => fresh,
        (Some(_), Err(Rejection::Limited(decision))) => !fresh && decision.limit() == 1,
        _ => false,
    };
    assert!(
        expected,
        "{} with {key:?}, {}: {answer:?} for {:?}",
        site.source,
        if fresh { "fresh" } else { "used" },
        request.parts
    );
}
