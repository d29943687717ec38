//! [`RequestContext`] for the types of the `http` crate.

use core::net::SocketAddr;

use http::request::Parts;
use http::{Extensions, HeaderMap, Method, Request, Uri};

use super::RequestContext;

impl RequestContext for HeaderMap {
    fn header(&self, name: &str) -> Option<&[u8]> {
        self.get(name).map(http::HeaderValue::as_bytes)
    }
}

impl RequestContext for Method {
    fn method(&self) -> Option<&str> {
        Some(self.as_str())
    }
}

impl RequestContext for Uri {
    fn path(&self) -> Option<&str> {
        Some(self.path())
    }
}

impl RequestContext for Parts {
    fn peer_addr(&self) -> Option<SocketAddr> {
        peer_addr(&self.extensions)
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        RequestContext::header(&self.headers, name)
    }

    fn method(&self) -> Option<&str> {
        Some(self.method.as_str())
    }

    fn path(&self) -> Option<&str> {
        Some(path(&self.extensions, &self.uri))
    }
}

impl<B> RequestContext for Request<B> {
    fn peer_addr(&self) -> Option<SocketAddr> {
        peer_addr(self.extensions())
    }

    fn header(&self, name: &str) -> Option<&[u8]> {
        RequestContext::header(self.headers(), name)
    }

    fn method(&self) -> Option<&str> {
        Some(self.method().as_str())
    }

    fn path(&self) -> Option<&str> {
        Some(path(self.extensions(), self.uri()))
    }
}

/// The peer's address, where the server has left it: as axum's `ConnectInfo`, or as it is.
fn peer_addr(extensions: &Extensions) -> Option<SocketAddr> {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::ConnectInfo(address)) = extensions.get() {
        return Some(*address);
    }
    extensions.get::<SocketAddr>().copied()
}

/// The path that the client asked for, which axum's nested routers shorten.
fn path<'a>(extensions: &'a Extensions, uri: &'a Uri) -> &'a str {
    #[cfg(feature = "axum")]
    if let Some(axum::extract::OriginalUri(uri)) = extensions.get() {
        return uri.path();
    }
    let _ = extensions;
    uri.path()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_its_parts_say_the_same() {
        let mut request = Request::put("http://example.org/a/b?c=d").header("X-Api-Key", "k");
        request
            .extensions_mut()
            .unwrap()
            .insert(SocketAddr::from(([192, 0, 2, 1], 80)));
        let request = request.body(()).unwrap();
        let (parts, ()) = request.clone().into_parts();
        let contexts: [&dyn RequestContext; 2] = [&request, &parts];
        for context in contexts {
            assert_eq!(context.path(), Some("/a/b"));
            assert_eq!(context.method(), Some("PUT"));
            assert_eq!(context.header("x-api-key"), Some(b"k".as_slice()));
            assert_eq!(context.header("cookie"), None);
            assert_eq!(context.peer_addr(), Some(([192, 0, 2, 1], 80).into()));
        }
        assert_eq!(HeaderMap::new().peer_addr(), None);
    }
}
