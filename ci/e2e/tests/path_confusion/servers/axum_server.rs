//! axum with its defaults: a path is matched as it is written.

use std::path::Path;

use anyhow::Result;
use axum::Router;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, post};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

/// Serves on a Unix socket until the process ends.
pub fn serve(socket: &Path) -> Result<()> {
    let runtime = Runtime::new()?;
    let _guard = runtime.enter();
    let listener = UnixListener::bind(socket)?;
    std::thread::spawn(move || runtime.block_on(async { axum::serve(listener, router()).await }));
    Ok(())
}

fn router() -> Router {
    let admin = |request: Request| async move { answer("admin", &request) };
    let public = |request: Request| async move { answer("public", &request) };
    let fallback = |request: Request| async move { answer("fallback", &request) };
    Router::new()
        .route("/admin", any(admin))
        .route("/admin/{*rest}", any(admin))
        .route("/keys", any(admin))
        .route("/orders", post(admin).fallback(fallback))
        .route("/public/{*rest}", any(public))
        .fallback(fallback)
        .layer(middleware::from_fn(by_host))
}

async fn by_host(request: Request, next: Next) -> Response {
    let host = request.headers().get(HOST).map(|host| host.as_bytes()).unwrap_or_default();
    let name = host.split(|byte| *byte == b':').next().unwrap_or_default();
    if name.eq_ignore_ascii_case(b"admin.example.com") {
        return answer("admin", &request);
    }
    next.run(request).await
}

fn answer(handler: &str, request: &Request) -> Response {
    format!("{handler} {}\n", request.uri().path()).into_response()
}
