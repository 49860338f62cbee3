//! A team's own tower layer in the sidecar: it tells how long each request took.
//!
//! ```sh
//! cargo run -p vestibule-examples --example own_layer_in_sidecar
//! curl -i http://127.0.0.1:8080/hello        # 200, with server-timing
//! curl -i http://127.0.0.1:8080/nowhere      # 401: what no route names asks for a key
//! ```
//!
//! The layer stands around everything, so it sees refusals and replays too. One that is
//! put there with `inner_layer` sees only what the layers of the API let pass. Another
//! address may follow as an argument.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::routing::get;
use http::{HeaderName, HeaderValue, Request, Response};
use tokio::time::Instant;
use tower::{Layer, Service};
use vestibule_sidecar::Sidecar;
use vestibule_sidecar::config::Config;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:8080");
    let service = start_a_service()?;
    let config = format!(
        "
        listen   = \"{address}\"
        upstream = \"{service}\"
        store    = \"memory:\"
        [drain]
        lag = \"0s\"
        [[route]]
        match = \"GET /hello\"
        auth  = \"none\"
        "
    );
    let config = Config::parse("example.toml", &config)?;
    Sidecar::new(config).layer(TimingLayer).run()?;
    Ok(())
}

/// Layer that applies [`Timing`].
#[derive(Clone, Copy, Debug)]
struct TimingLayer;

/// Middleware that says in `Server-Timing` how long an answer took.
#[derive(Clone, Debug)]
struct Timing<S> {
    inner: S,
}

// === impl TimingLayer ===

impl<S> Layer<S> for TimingLayer {
    type Service = Timing<S>;

    fn layer(&self, inner: S) -> Timing<S> {
        Timing { inner }
    }
}

// === impl Timing ===

impl<S, B, R> Service<Request<B>> for Timing<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let began = Instant::now();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            let millis = began.elapsed().as_millis();
            let value = HeaderValue::from_str(&format!("total;dur={millis}"));
            let name = HeaderName::from_static("server-timing");
            response
                .headers_mut()
                .extend(value.map(|value| (name, value)));
            Ok(response)
        })
    }
}

/// Something to stand behind the sidecar: it has a runtime of its own, as another process has.
fn start_a_service() -> std::io::Result<std::net::SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Runtime::new()?;
    std::thread::spawn(move || {
        let app = Router::new().route("/hello", get(|| async { "hello\n" }));
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            axum::serve(listener, app).await
        })
    });
    Ok(address)
}
