//! The named sources of a key.

use ratelimit_core::{Key, KeyBuf};

use super::{RequestContext, identity};
use crate::Rejection;

/// A named source of a key, as in `key = "ip"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The client's address.
    Ip,
    /// A header, as the whole text of the source: `header:` and its name in lower case.
    Header(&'static str),
    /// The path of the request.
    Path,
    /// The method of the request.
    Method,
}

/// What a header's source starts with.
const HEADER: &str = "header:";

impl Source {
    /// The text, as in `key = "…"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Header(text) => text,
            Self::Path => "path",
            Self::Method => "method",
        }
    }

    /// The key that the first context gives which knows one.
    pub(crate) fn read(
        self,
        contexts: &[Option<&dyn RequestContext>],
    ) -> Result<KeyBuf, Rejection> {
        let mut contexts = contexts.iter().flatten();
        let key = match self {
            Self::Ip => contexts
                .find_map(RequestContext::peer_addr)
                .map(|address| KeyBuf::of(&identity::client(address.ip()))),
            Self::Header(text) => {
                let name = text.strip_prefix(HEADER).unwrap_or(text);
                contexts
                    .find_map(|context| context.header(name))
                    .map(|value| {
                        let mut key = KeyBuf::new();
                        key.bytes(value);
                        key
                    })
            }
            Self::Path => contexts
                .find_map(|context| RequestContext::path(context))
                .map(of_text),
            Self::Method => contexts.find_map(|context| context.method()).map(of_text),
        };
        key.ok_or(Rejection::MissingKey {
            wanted: self.name(),
        })
    }
}

fn of_text(text: &str) -> KeyBuf {
    let mut key = KeyBuf::new();
    text.encode(&mut key);
    key
}
