//! [`RequestContext`] for axum's extractors.

use core::net::SocketAddr;

use axum::extract::{ConnectInfo, MatchedPath, OriginalUri};

use super::RequestContext;

impl RequestContext for ConnectInfo<SocketAddr> {
    fn peer_addr(&self) -> Option<SocketAddr> {
        Some(self.0)
    }
}

impl RequestContext for OriginalUri {
    fn path(&self) -> Option<&str> {
        Some(self.0.path())
    }
}

/// The route's template, such as `/users/{id}`.
impl RequestContext for MatchedPath {
    fn path(&self) -> Option<&str> {
        Some(self.as_str())
    }
}
