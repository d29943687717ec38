//! Axum handlers: where the request is found, and what they return.
#![deny(warnings)]
#![forbid(unsafe_code, unused)]

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, OriginalUri, Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ratelimit::{Rejection, aratelimit, ratelimit};

enum ApiError {
    Limited(Rejection),
}

impl From<Rejection> for ApiError {
    fn from(rejection: Rejection) -> Self {
        Self::Limited(rejection)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        match self {
            Self::Limited(rejection) => rejection.into_response(),
        }
    }
}

#[aratelimit(key = "ip", rate = "10/m", algorithm = "token_bucket")]
async fn by_parts(req: Parts, Json(form): Json<Vec<u32>>) -> Result<Json<usize>, ApiError> {
    let _ = req;
    Ok(Json(form.len()))
}

#[aratelimit(key = "ip", rate = "10/m")]
async fn by_connect_info(ConnectInfo(from): ConnectInfo<SocketAddr>) -> Result<String, Rejection> {
    Ok(from.to_string())
}

#[aratelimit(key = "ip", rate = "10/m", cost = cost)]
async fn by_wildcard(_: ConnectInfo<SocketAddr>, Path(cost): Path<u32>) -> Response {
    cost.to_string().into_response()
}

#[aratelimit(key = "header:X-Api-Key", rate = "10/m")]
async fn by_header(_headers: HeaderMap) -> impl IntoResponse {
    if _headers.is_empty() {
        return (StatusCode::OK, "none".to_owned());
    }
    (StatusCode::OK, "some".to_owned())
}

#[aratelimit(key = "path", rate = "10/m", request = request)]
async fn by_request(State(()): State<()>, request: Request) -> Result<StatusCode, StatusCode> {
    let _ = request;
    Ok(StatusCode::OK)
}

#[aratelimit(key = "method", rate = "10/m")]
async fn by_method(verb: Method, uri: Uri) -> Result<String, (StatusCode, String)> {
    Ok(format!("{verb} {uri}"))
}

#[aratelimit(key = "path", rate = "10/m")]
async fn by_uri(OriginalUri(uri): OriginalUri) -> Result<String, Response> {
    Ok(uri.to_string())
}

#[aratelimit(rate = "10/m")]
async fn without_a_key() -> Option<&'static str> {
    Some("ran")
}

#[aratelimit(key = "ip", rate = "10/m")]
async fn result_of_impl(parts: Parts) -> Result<impl IntoResponse, ApiError> {
    Ok((StatusCode::OK, parts.uri.to_string()))
}

#[aratelimit(key = "ip", rate = "10/m")]
fn future_of_impl(parts: Parts) -> impl Future<Output = impl IntoResponse> + Send {
    async move { (StatusCode::OK, parts.uri.to_string()) }
}

#[ratelimit(rate = "10/m")]
fn sync_helper(name: &str) -> impl IntoResponse + use<> {
    format!("hello, {name}")
}

#[aratelimit(key = "header:authorization", rate = "10/m")]
#[aratelimit(key = "ip", rate = "100/m")]
async fn twice(headers: HeaderMap, _: ConnectInfo<SocketAddr>) -> impl IntoResponse {
    headers.len().to_string()
}

#[aratelimit(key = "ip", rate = "10/m")]
async fn late_pattern(
    State((one, _)): State<(u32, u32)>,
    request: Request,
) -> Result<(StatusCode, String), (StatusCode, String)> {
    Ok((StatusCode::OK, format!("{one} {}", request.uri())))
}

fn main() {
    let _: Router = Router::new()
        .route("/parts", post(by_parts))
        .route("/info", get(by_connect_info))
        .route("/wildcard/{cost}", get(by_wildcard))
        .route("/header", get(by_header))
        .route("/request", get(by_request))
        .route("/method", get(by_method))
        .route("/uri", get(by_uri))
        .route("/result", get(result_of_impl))
        .route("/future", get(future_of_impl))
        .route("/sync", get(|| async { sync_helper("x") }))
        .route("/twice", get(twice))
        .route("/late", get(late_pattern).with_state((1, 2)))
        .route(
            "/none",
            get(|| async { without_a_key().await.unwrap_or("limited") }),
        );
}
