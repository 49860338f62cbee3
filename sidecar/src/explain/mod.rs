//! `vestibule explain`: what each layer would say to a request, and why.
//!
//! ```text
//! vestibule explain --config vestibule.toml --request request.http
//! vestibule explain --admin unix:/run/pod/admin.sock --curl - < command.txt
//! vestibule explain --config vestibule.toml --curl 'curl https://api.example.com/v1/charges/17 -H …' --json
//! ```
//!
//! `--request` is a request as HTTP/1.1 has it, head and body; `--curl` a command as people
//! paste it, read as a POSIX shell reads it. `-` is standard input: what stands among the
//! arguments can be read by every user of the machine, the API key in it too.
//!
//! `--admin` asks the sidecar that runs, over its admin socket; `--config` does the same where
//! the configuration names a Unix socket and a process listens there. Otherwise it opens the
//! stores itself, as far as another process lets it: what only that process remembers, as
//! counters in memory, is then not seen.
//!
//! Nothing is charged, claimed or sent. It ends with 0 where the request would pass, with 1
//! where it would be refused, and with 2 where that cannot be said. The API key is not in
//! the answer.
//!
//! # On the admin socket
//!
//! `POST /v1/explain` with `{"method", "target", "headers": [[name, value]…], "body"}`, where
//! `body_hex` can stand in the place of `body`; the answer is the [`Explanation`] as JSON.

mod curl;
mod origin;
mod raw;
mod remote;
pub(crate) mod wire;
mod words;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use vestibule::stack::explain::Explanation;
use vestibule::{ApiLayer, Store, StoreKeyring};

pub use self::curl::of_curl;
pub use self::origin::open;
pub use self::raw::of_http;
pub use self::remote::ask;

/// Why a request cannot be explained: a sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Fault(String);

/// Explains requests by the stack that it was made of. Cheap to clone.
#[derive(Clone)]
pub struct Explainer(Arc<Explain>);

type Explain = dyn Fn(Request<Bytes>) -> Explaining + Send + Sync;
type Explaining = Pin<Box<dyn Future<Output = Explanation> + Send>>;

// === impl Fault ===

impl Fault {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

// === impl Explainer ===

impl Explainer {
    /// Explains by this stack.
    pub(crate) fn of(api: ApiLayer<Store, StoreKeyring>) -> Self {
        Self::newest(move || api.clone())
    }

    /// Explains by the stack that is the newest then.
    pub(crate) fn newest(
        newest: impl Fn() -> ApiLayer<Store, StoreKeyring> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(move |request| {
            let api = newest();
            Box::pin(async move {
                let mut told = api.explain(request).await;
                told.unsaid.push(OUTSIDE.to_owned());
                told
            })
        }))
    }

    /// What would become of this request.
    pub async fn explain(&self, request: Request<Bytes>) -> Explanation {
        (self.0)(request).await
    }
}

impl fmt::Debug for Explainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Explainer")
    }
}

/// What is judged outside of the stack, by connection, address and moment.
const OUTSIDE: &str = "Whether the process sheds load, makes an address wait that failed to \
    authenticate, or refuses a head that is no HTTP is not judged here.";

/// More than a route takes by default, in bytes.
pub const REQUEST_MAX: u64 = 4 << 20;
