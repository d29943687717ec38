//! A server with several policies:
//!
//! ```text
//! cargo run -p ratelimit-examples --features axum --bin axum_api               # on 127.0.0.1:3000
//! cargo run -p ratelimit-examples --features axum --bin axum_api 127.0.0.1:0   # on any free port
//! curl -i 127.0.0.1:3000/login -d account=ada
//! ```

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Query, Request};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use ratelimit::{MemoryBackend, Registry, Rejection, aratelimit};

/// What a handler of this program fails with. `From<Rejection>` is all that the attribute needs.
enum ApiError {
    Limited(Rejection),
    NotFound,
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
            Self::NotFound => StatusCode::NOT_FOUND.into_response(),
        }
    }
}

#[derive(Clone, Copy)]
enum Plan {
    Free,
    Pro,
}

impl Plan {
    /// A real program looks the key up.
    fn of(headers: &HeaderMap) -> Self {
        match headers.get("x-api-key") {
            Some(key) if key.as_bytes().starts_with(b"pro-") => Self::Pro,
            _ => Self::Free,
        }
    }
}

/// Ten logins a minute from each address; the request is found among the arguments.
#[aratelimit(name = "login", key = "ip", rate = "10/m", algorithm = "fixed_window")]
async fn login(ConnectInfo(from): ConnectInfo<SocketAddr>) -> Result<String, Rejection> {
    Ok(format!("welcome, {from}\n"))
}

/// By API key, as much as its plan allows.
#[aratelimit(
    name = "search",
    key = "header:x-api-key",
    rate = match Plan::of(&headers) { Plan::Free => "5/m", Plan::Pro => "500/m" },
    algorithm = "sliding_window_counter",
)]
async fn search(headers: HeaderMap) -> Result<Json<Vec<&'static str>>, ApiError> {
    Ok(Json(vec!["a result", "another"]))
}

#[derive(serde::Deserialize)]
struct Page {
    rows: u32,
}

/// A thousand rows at once, whoever asks for them, then one every 3.6 seconds.
#[aratelimit(name = "rows", rate = "1000/h", cost = page.rows)]
async fn rows(Query(page): Query<Page>) -> Result<String, ApiError> {
    match page.rows {
        0 => Err(ApiError::NotFound),
        rows => Ok("row\n".repeat(rows as usize)),
    }
}

/// Twenty calls at once for each path, then a hundred a second.
#[aratelimit(name = "files", key = "path", rate = "100/s", burst = 20, request = request)]
async fn files(request: Request) -> impl IntoResponse {
    format!("the file {}\n", request.uri().path())
}

/// For load tests: a thousand a day.
#[aratelimit(name = "flood", rate = "1000/d", algorithm = "fixed_window")]
async fn flood() -> Response {
    "through\n".into_response()
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    Registry::builder()
        .backend("memory", MemoryBackend::new())
        .install()?;

    let router = Router::new()
        .route("/login", post(login))
        .route("/search", get(search))
        .route("/rows", get(rows))
        .route("/files/{*path}", get(files))
        .route("/flood", get(flood));
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, service)
        .with_graceful_shutdown(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
