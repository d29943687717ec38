//! Where a named key comes from: [`RequestContext`], what implements it, and how it is found among
//! a function's arguments.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "http")]
mod http;
mod identity;
mod probe;
mod source;

use core::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

pub use probe::{Probe, ViaContext, ViaNothing, request};
pub use source::Source;

/// What a request can say about who sent it and what it asks for; each answer is `None` where it
/// does not know.
///
/// `key = "ip"`, `"path"`, `"method"` and `"header:NAME"` ask the arguments of the guarded function
/// that implement this, in order. It is implemented for references, `Box`, `Rc` and `Arc` of what
/// implements it, and (with their features) for the request types of the `http` crate and of axum.
///
/// | key | what it is |
/// |---|---|
/// | `"ip"` | the peer's address: IPv4 as it is, also where it is mapped into IPv6, and the /64 network of an IPv6 address. No proxy is trusted: **behind a load balancer, all clients have its address** |
/// | `"path"` | of a `Request` or `Parts`, the path that the client asked for, also in a nested axum router; of a `Uri`, what the router left of it; of a `MatchedPath`, the route, such as `/users/{id}` |
/// | `"method"` | the method, such as `GET` |
/// | `"header:NAME"` | the value of the first line of that header |
///
/// ```
/// use std::net::SocketAddr;
/// use ratelimit::{Rejection, RequestContext, ratelimit};
///
/// struct Incoming {
///     from: SocketAddr,
/// }
///
/// impl RequestContext for Incoming {
///     fn peer_addr(&self) -> Option<SocketAddr> {
///         Some(self.from)
///     }
/// }
///
/// #[ratelimit(key = "ip", rate = "1/h")]
/// fn serve(_request: &Incoming) -> Result<&'static str, Rejection> {
///     Ok("hello")
/// }
///
/// let incoming = |from: &str| Incoming { from: from.parse().unwrap() };
/// assert!(serve(&incoming("192.0.2.1:5000")).is_ok());
/// assert!(serve(&incoming("192.0.2.1:6000")).is_err(), "the port does not matter");
/// assert!(serve(&incoming("192.0.2.2:5000")).is_ok());
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a request that a named key can be read from",
    label = "this argument does not implement `RequestContext`",
    note = "requests are `http::Request`, `http::request::Parts`, `http::HeaderMap` and axum's extractors, with the features `http` and `axum`; implement `ratelimit::RequestContext` for a type of your own"
)]
pub trait RequestContext {
    /// The address of the other end of the connection.
    fn peer_addr(&self) -> Option<SocketAddr> {
        None
    }

    /// The first line of a header; `name` is in lower case.
    fn header(&self, name: &str) -> Option<&[u8]> {
        let _ = name;
        None
    }

    /// The method, such as `GET`.
    fn method(&self) -> Option<&str> {
        None
    }

    /// The path, such as `/search`, without the query.
    fn path(&self) -> Option<&str> {
        None
    }
}

macro_rules! pointers {
    ($($type:ty)*) => {$(
        impl<T: RequestContext + ?Sized> RequestContext for $type {
            fn peer_addr(&self) -> Option<SocketAddr> {
                (**self).peer_addr()
            }

            fn header(&self, name: &str) -> Option<&[u8]> {
                (**self).header(name)
            }

            fn method(&self) -> Option<&str> {
                (**self).method()
            }

            fn path(&self) -> Option<&str> {
                (**self).path()
            }
        }
    )*};
}

pointers!(&T &mut T Box<T> Rc<T> Arc<T>);
