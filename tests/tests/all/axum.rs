//! A real server on loopback, a real client.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, Path, Request};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use ratelimit::{ManualClock, MemoryBackend, Registry, Rejection, aratelimit, testing};
use std::time::Duration;

use crate::backends::{Fault, Faulty};

#[aratelimit(name = "axum ip", key = "ip", rate = "2/m", algorithm = "fixed_window")]
async fn by_ip(ConnectInfo(from): ConnectInfo<SocketAddr>) -> Result<Json<bool>, Rejection> {
    Ok(Json(from.ip().is_loopback()))
}

#[aratelimit(
    name = "axum request",
    key = "ip",
    rate = "2/m",
    algorithm = "fixed_window"
)]
async fn by_request(request: Request) -> Response {
    request.uri().path().to_owned().into_response()
}

#[aratelimit(name = "axum header", key = "header:x-api-key", rate = "2/m")]
async fn by_header(_: HeaderMap) -> impl IntoResponse {
    (StatusCode::CREATED, "created")
}

#[aratelimit(name = "axum path", key = "path", rate = "2/m")]
async fn by_path(request: Request) -> Result<String, StatusCode> {
    Ok(request.uri().path().to_owned())
}

#[aratelimit(name = "axum cost", rate = "10/m", cost = cost)]
async fn by_cost(Path(cost): Path<i32>) -> Result<String, (StatusCode, String)> {
    Ok(cost.to_string())
}

#[aratelimit(name = "axum failing", rate = "2/m", backend = "failing")]
async fn failing() -> Result<String, Response> {
    Ok("ran".to_owned())
}

#[aratelimit(name = "axum not there", rate = "2/m", backend = "not there")]
async fn not_there() -> Result<String, Rejection> {
    Ok("ran".to_owned())
}

#[aratelimit(name = "axum no key", key = "ip", rate = "2/m")]
async fn no_key() -> Response {
    "ran".into_response()
}

/// Serves the router in a scope, and gives its address.
async fn serve(scope: &testing::Scope) -> SocketAddr {
    let router = Router::new()
        .route("/ip", get(by_ip))
        .route("/request", get(by_request))
        .route("/header", get(by_header))
        .route("/cost/{cost}", get(by_cost))
        .route("/failing", get(failing))
        .route("/not_there", get(not_there))
        .route("/no_key", get(no_key))
        .nest("/a", Router::new().route("/x", get(by_path)))
        .nest("/b", Router::new().route("/x", get(by_path)));
    // Connections are served by tasks of their own, which have to see the scope.
    let handle = scope.handle();
    let router = router.layer(axum::middleware::from_fn(
        move |request: Request, next: axum::middleware::Next| {
            let handle = handle.clone();
            async move { handle.wrap(next.run(request)).await }
        },
    ));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    address
}

struct Answer {
    status: u16,
    headers: ureq::http::HeaderMap,
    body: String,
}

fn send(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .build()
        .into();
    let mut request = agent.get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

fn scope() -> (testing::Scope, ManualClock) {
    let scope = testing::scope_with(|clock| {
        Registry::builder()
            .backend("memory", MemoryBackend::builder().clock(clock).build())
            .backend("failing", Faulty::new(Fault::Fails))
            .default_backend("memory")
    });
    let scope = scope.unwrap();
    let clock = scope.clock().clone();
    (scope, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statuses_headers_and_bodies() {
    let (scope, clock) = scope();
    let address = serve(&scope).await;
    tokio::task::spawn_blocking(move || {
        let get = |path: &str| send(address, path, &[]);
        clock.advance(Duration::from_millis(500));
        assert_eq!((get("/ip").status, get("/ip").body.as_str()), (200, "true"));
        let refused = get("/ip");
        assert_eq!(refused.status, 429);
        assert_eq!(refused.headers["retry-after"], "60", "59.5 s, rounded up");
        assert_eq!(refused.headers["cache-control"], "no-store");
        assert_eq!(refused.body, "rate limit exceeded, try again in 60 s\n");
        clock.advance(Duration::from_mins(1));
        assert_eq!(get("/ip").status, 200, "who obeys succeeds");

        assert_eq!([get("/request").status, get("/request").status], [200, 200]);
        assert_eq!(get("/request").status, 429);

        let keyed = |key: &str| send(address, "/header", &[("X-Api-Key", key)]).status;
        assert_eq!(
            [keyed("a"), keyed("a"), keyed("a"), keyed("b")],
            [201, 201, 429, 201]
        );
        let missing = get("/header");
        assert_eq!(
            (missing.status, missing.body.as_str()),
            (400, "the header x-api-key is required\n")
        );

        let paths = ["/a/x", "/a/x", "/a/x?y=z", "/b/x"].map(|path| get(path).status);
        assert_eq!(
            paths,
            [200, 200, 429, 200],
            "nested routers do not shorten the key"
        );

        let costs =
            ["0", "6", "5", "4", "11", "-1"].map(|cost| get(&format!("/cost/{cost}")).status);
        assert_eq!(costs, [200, 200, 429, 200, 400, 400]);

        let failed = get("/failing");
        assert_eq!(
            (failed.status, failed.body.as_str()),
            (503, "temporarily unavailable\n")
        );
        assert_eq!(failed.headers["retry-after"], "1");
        let mistaken = get("/not_there");
        assert_eq!(
            (mistaken.status, mistaken.body.as_str()),
            (500, "internal error\n")
        );
        assert!(
            !mistaken.headers.contains_key("retry-after"),
            "trying again is of no use"
        );
        let no_key = get("/no_key");
        assert_eq!(
            (no_key.status, no_key.body.as_str()),
            (500, "internal error\n")
        );
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn exactly_the_limit_gets_through_at_any_concurrency() {
    #[aratelimit(name = "axum flood", rate = "100/h")]
    async fn flood() -> Response {
        "through".into_response()
    }

    let (scope, _clock) = scope();
    let handle = scope.handle();
    let router = Router::new().route("/", get(move || handle.wrap(flood())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let clients: Vec<_> = (0..16)
        .map(|_| {
            tokio::task::spawn_blocking(move || {
                (0..25)
                    .filter(|_| send(address, "/", &[]).status == 200)
                    .count()
            })
        })
        .collect();
    let mut through = 0;
    for client in clients {
        through += client.await.unwrap();
    }
    assert_eq!(through, 100);
}
