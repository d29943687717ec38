//! Guarded functions, for each source and each way to hand a request over, and what each of them
//! should take for its key.
//!
//! A source that is added to the product is added here: a function, and a line in [`SITES`].

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, Method, Request, Uri};
use ratelimit::{Rejection, RequestContext, ratelimit};

use super::incoming::Incoming;

type Outcome = Result<(), Rejection>;

/// A guarded function with a budget of one call an hour for each key, and what it should do.
pub(super) struct Site {
    /// The source, as a rejection names it.
    pub(super) source: &'static str,
    /// The key that it should find.
    pub(super) key: fn(&Incoming) -> Option<Vec<u8>>,
    pub(super) call: fn(&Incoming) -> Outcome,
}

#[ratelimit(key = "ip", rate = "1/h")]
fn ip(_request: &Parts) -> Outcome {
    Ok(())
}

#[ratelimit(key = "ip", rate = "1/h", algorithm = "sliding_window")]
fn ip_of_the_second(_headers: &HeaderMap, _request: &Request<()>) -> Outcome {
    Ok(())
}

#[ratelimit(key = "path", rate = "1/h")]
fn path(_request: &Parts) -> Outcome {
    Ok(())
}

#[ratelimit(key = "path", rate = "1/h")]
fn path_of_uri(_count: u8, _uri: Uri) -> Outcome {
    Ok(())
}

#[ratelimit(key = "method", rate = "1/h")]
fn method(_request: Arc<Parts>) -> Outcome {
    Ok(())
}

#[ratelimit(key = "method", rate = "1/h", request = asked)]
fn method_of_method(_request: &Parts, asked: &Method) -> Outcome {
    let _ = asked;
    Ok(())
}

#[ratelimit(key = "header:x-api-key", rate = "1/h")]
fn api_key(_request: &Parts) -> Outcome {
    Ok(())
}

#[ratelimit(key = "header:X-API-Key", rate = "1/h", algorithm = "fixed_window")]
fn api_key_of_headers(_headers: &HeaderMap) -> Outcome {
    Ok(())
}

#[ratelimit(key = "header:cookie", rate = "1/h")]
fn cookie(_request: &dyn RequestContext, _parts: &Parts) -> Outcome {
    Ok(())
}

/// No request can say it.
#[ratelimit(key = "ip", rate = "1/h")]
fn ip_of_headers(_headers: &HeaderMap) -> Outcome {
    Ok(())
}

/// Keys that are arguments, of the values that others take for their keys.
#[ratelimit(key = path, rate = "1/h")]
fn argument(path: &str) -> Outcome {
    let _ = path;
    Ok(())
}

fn request(incoming: &Incoming) -> Request<()> {
    Request::from_parts(incoming.parts.clone(), ())
}

fn api_key_of(incoming: &Incoming) -> Option<Vec<u8>> {
    incoming.header("x-api-key").map(<[u8]>::to_vec)
}

/// All of them.
pub(super) const SITES: [Site; 11] = [
    Site {
        source: "ip",
        key: Incoming::client,
        call: |incoming| ip(&incoming.parts),
    },
    Site {
        source: "ip",
        key: Incoming::client,
        call: |incoming| ip_of_the_second(&incoming.parts.headers, &request(incoming)),
    },
    Site {
        source: "path",
        key: |incoming| Some(incoming.path()),
        call: |incoming| path(&incoming.parts),
    },
    Site {
        source: "path",
        key: |incoming| Some(incoming.path()),
        call: |incoming| path_of_uri(0, incoming.parts.uri.clone()),
    },
    Site {
        source: "method",
        key: |incoming| Some(incoming.method()),
        call: |incoming| method(Arc::new(incoming.parts.clone())),
    },
    Site {
        source: "method",
        key: |incoming| Some(incoming.method()),
        call: |incoming| method_of_method(&incoming.parts, &incoming.parts.method),
    },
    Site {
        source: "header:x-api-key",
        key: api_key_of,
        call: |incoming| api_key(&incoming.parts),
    },
    Site {
        source: "header:x-api-key",
        key: api_key_of,
        call: |incoming| api_key_of_headers(&incoming.parts.headers),
    },
    Site {
        source: "header:cookie",
        key: |incoming| incoming.header("cookie").map(<[u8]>::to_vec),
        call: |incoming| cookie(&incoming.parts.headers, &incoming.parts),
    },
    Site {
        source: "ip",
        key: |_| None,
        call: |incoming| ip_of_headers(&incoming.parts.headers),
    },
    Site {
        source: "path",
        key: |incoming| Some(incoming.path()),
        call: |incoming| argument(incoming.parts.uri.path()),
    },
];
