//! The files of the page: no build, nothing from elsewhere, and nothing that a browser may add.

use std::sync::Arc;

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::graph;
use crate::simulator::Simulator;

/// A file, and where it is served.
#[derive(Clone, Copy, Debug)]
struct File {
    path: &'static str,
    content_type: &'static str,
    content: &'static str,
}

/// The routes of the files.
pub(super) fn routes() -> Router<Arc<Simulator>> {
    FILES.into_iter().fold(Router::new(), |routes, file| {
        // Where one socket serves both planes, only `GET /` is not Graph's.
        let serve = get(move || async move { file.serve() }).fallback(graph::unknown);
        routes.route(file.path, serve)
    })
}

// === impl File ===

impl File {
    fn serve(self) -> Response {
        let headers = [
            (CONTENT_TYPE, self.content_type),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            // A simulator that was built anew must not meet the page of the last one.
            (CACHE_CONTROL, "no-store"),
        ];
        (headers, self.content).into_response()
    }
}

/// Scripts, styles and events of this origin; no frame around it, and no form that leaves it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";

const CSS: &str = "text/css; charset=utf-8";

const JS: &str = "text/javascript; charset=utf-8";

const JSON: &str = "application/json";

const FILES: [File; 8] = [
    File {
        path: "/",
        content_type: HTML,
        content: include_str!("index.html"),
    },
    File {
        path: "/__sim/page/page.css",
        content_type: CSS,
        content: include_str!("page.css"),
    },
    File {
        path: "/__sim/page/faults.json",
        content_type: JSON,
        content: include_str!("faults.json"),
    },
    File {
        path: "/__sim/page/main.js",
        content_type: JS,
        content: include_str!("main.js"),
    },
    File {
        path: "/__sim/page/phone.js",
        content_type: JS,
        content: include_str!("phone.js"),
    },
    File {
        path: "/__sim/page/faults.js",
        content_type: JS,
        content: include_str!("faults.js"),
    },
    File {
        path: "/__sim/page/clock.js",
        content_type: JS,
        content: include_str!("clock.js"),
    },
    File {
        path: "/__sim/page/simulator.js",
        content_type: JS,
        content: include_str!("simulator.js"),
    },
];
