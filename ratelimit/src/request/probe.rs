//! Finds the arguments that are requests, without the user naming them.
//!
//! Which of two methods `(&&Probe(&argument)).context()` means is decided by the compiler: that of
//! [`ViaContext`] needs one dereference less, and exists only where the argument's type implements
//! [`RequestContext`]. (The technique is David Tolnay's "autoref-based stable specialization".)

use super::RequestContext;

/// Holds an argument that may be a request.
#[allow(missing_debug_implementations)] // it never leaves the expression that makes it
pub struct Probe<'a, T: ?Sized>(pub &'a T);

/// For arguments that are requests.
pub trait ViaContext<'a> {
    /// The request.
    fn context(&self) -> Option<&'a dyn RequestContext>;
}

impl<'a, T: RequestContext> ViaContext<'a> for &Probe<'a, T> {
    fn context(&self) -> Option<&'a dyn RequestContext> {
        Some(self.0)
    }
}

/// For all others.
pub trait ViaNothing<'a> {
    /// No request.
    fn context(&self) -> Option<&'a dyn RequestContext>;
}

impl<'a, T: ?Sized> ViaNothing<'a> for Probe<'a, T> {
    fn context(&self) -> Option<&'a dyn RequestContext> {
        None
    }
}

/// For the argument that `request = …` names.
pub fn request<T: RequestContext>(argument: &T) -> Option<&dyn RequestContext> {
    Some(argument)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::SocketAddr;
    use std::sync::Arc;

    struct Request;

    impl RequestContext for Request {
        fn peer_addr(&self) -> Option<SocketAddr> {
            Some(([192, 0, 2, 1], 80).into())
        }
    }

    fn generic<T: RequestContext>(argument: T) -> bool {
        (&&Probe(&argument)).context().is_some()
    }

    #[test]
    #[allow(clippy::needless_borrow)] // it is how the compiler is asked
    fn only_requests_and_what_refers_to_them_are_found() {
        assert!((&&Probe(&Request)).context().is_some());
        assert!((&&Probe(&&Request)).context().is_some());
        assert!((&&Probe(&&mut Request)).context().is_some());
        assert!((&&Probe(&Arc::new(Request))).context().is_some());
        let boxed: Box<dyn RequestContext> = Box::new(Request);
        assert!((&&Probe(&boxed)).context().is_some());
        assert!(generic(Request) && generic(&Request));
        assert!((&&Probe(&7)).context().is_none());
        assert!((&&Probe("text")).context().is_none());
        assert!((&&Probe(&Some(Request))).context().is_none());
    }
}
