//! One connection: its requests, and the faults that end it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::HeaderValue;
use axum::http::header::CONNECTION;
use axum::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::{Notify, OwnedSemaphorePermit, watch};
use tower::ServiceExt;

use super::line::{CONTROL_LINE, Line, Marks, is_control};
use super::{After, Cut, Plane};
use crate::fault::{Effect, Stage, Subject};
use crate::id::Purpose;
use crate::simulator::Simulator;

/// Serves a connection until it ends, or a fault ends it.
pub(super) async fn serve(
    stream: TcpStream,
    app: Router,
    plane: Plane,
    simulator: Arc<Simulator>,
    _place: OwnedSemaphorePermit,
) {
    if !is_let_in(&stream, plane, &simulator).await {
        return;
    }
    let mut is_open = simulator.is_open.subscribe();
    // Whoever stops listening lets no idle connection stand either.
    let door = async move {
        match plane {
            Plane::Control => std::future::pending().await,
            Plane::Both | Plane::Graph => closed(&mut is_open).await,
        }
    };
    tokio::pin!(door);
    let is_http2 = tokio::select! {
        is_http2 = has_preface(&stream) => is_http2,
        () = &mut door => return,
    };
    if is_http2 {
        http2(stream, app, door).await;
    } else {
        let marks = Arc::new(Marks::default());
        let line = Line::new(stream, Arc::clone(&marks), simulator, plane);
        http1(line, app, marks, door).await;
    }
}

async fn http1(line: Line, app: Router, marks: Arc<Marks>, closed: impl Future<Output = ()>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, marks) = (app.clone(), Arc::clone(&marks));
        Box::pin(async move {
            let (mut response, after) = answer(request, app).await?;
            marks.answered();
            match after {
                Some(After::HangUp) => marks.end_unannounced(),
                Some(After::GoAway) => {
                    let close = HeaderValue::from_static("close");
                    response.headers_mut().insert(CONNECTION, close);
                }
                None => {}
            }
            Ok::<_, Cut>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(line), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = closed => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    if ended.is_err_and(|error| is_reset(&error)) {
        // Without lingering, closing sends a reset instead of an orderly end.
        let line = connection.into_parts().io.into_inner();
        if let Err(error) = line.will_reset() {
            tracing::warn!(%error, "a connection ends in order that should have been reset");
        }
    }
}

/// A fault that cuts resets the stream, and not the connection.
async fn http2(stream: TcpStream, app: Router, closed: impl Future<Output = ()>) {
    let last = Arc::new(Notify::new());
    let is_last = Arc::clone(&last);
    let service = service_fn(move |request: Request<Incoming>| {
        let (app, last) = (app.clone(), Arc::clone(&last));
        Box::pin(async move {
            let (response, after) = answer(request, app).await.map_err(reason)?;
            if after.is_some() {
                last.notify_one();
            }
            Ok::<_, h2::Error>(response)
        })
    });
    let mut connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = is_last.notified() => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
        () = closed => {
            std::pin::Pin::new(&mut connection).graceful_shutdown();
            (&mut connection).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection over HTTP/2 has ended");
    }
}

fn reason(cut: Cut) -> h2::Error {
    match cut {
        Cut::Refuse => h2::Reason::REFUSED_STREAM.into(),
        Cut::Close | Cut::Reset => h2::Reason::INTERNAL_ERROR.into(),
    }
}

/// Whether a client begins as HTTP/2 without TLS begins.
async fn has_preface(stream: &TcpStream) -> bool {
    let mut start = [0; 3];
    peek(stream, &mut start).await;
    start == *b"PRI"
}

/// Looks at what a client has written, once it has, and leaves it there; nobody is
/// waited for without end.
async fn peek(stream: &TcpStream, start: &mut [u8]) -> usize {
    let peeked = tokio::time::timeout(LONGEST_SILENCE, stream.peek(start)).await;
    peeked.map_or(0, Result::unwrap_or_default)
}

/// Waits until the door is closed.
async fn closed(is_open: &mut watch::Receiver<bool>) {
    if is_open.wait_for(|is_open| !is_open).await.is_err() {
        std::future::pending().await
    }
}

/// The answer, and what comes after it; or that a fault cuts it off.
async fn answer(request: Request<Incoming>, app: Router) -> Result<(Response, Option<After>), Cut> {
    let Ok(response) = app.oneshot(request.map(Body::new)).await;
    let after = response.extensions().get::<After>().copied();
    match response.extensions().get::<Cut>() {
        Some(cut) => Err(*cut),
        None => Ok((response, after)),
    }
}

/// Whether a connection is served, as far as the faults before its first byte are concerned.
async fn is_let_in(stream: &TcpStream, plane: Plane, simulator: &Simulator) -> bool {
    if plane == Plane::Control || simulator.lock().faults.is_empty() {
        return true;
    }
    // Where both planes share a socket, only the first bytes tell which one is meant.
    let mut start = [0; CONTROL_LINE];
    if plane == Plane::Both {
        let peeked = peek(stream, &mut start).await;
        if is_control(&start[..peeked]) {
            return true;
        }
    }
    let fault = simulator
        .lock()
        .faults
        .take(Stage::Accept, &Subject::default());
    match fault {
        Some(Effect::SlowAccept { ms }) => {
            let wait = {
                let state = simulator.lock();
                let struck = state.faults.struck();
                ms.draw(&mut state.seed.generator(Purpose::Latency, struck))
            };
            simulator.clock.sleep(wait).await;
            !has_left(stream).await
        }
        Some(_) => false,
        None => true,
    }
}

/// Whether the client has closed its side; what it wrote before is then never read.
async fn has_left(stream: &TcpStream) -> bool {
    let interest = Interest::READABLE | Interest::WRITABLE;
    let ready = stream.ready(interest).await;
    ready.is_ok_and(|ready| ready.is_read_closed())
}

fn is_reset(error: &hyper::Error) -> bool {
    let mut cause = error.source();
    while let Some(found) = cause {
        let inside = found.downcast_ref::<std::io::Error>();
        let inside = inside.and_then(|error| error.get_ref()?.downcast_ref::<Cut>());
        if let Some(cut) = found.downcast_ref::<Cut>().or(inside) {
            return *cut != Cut::Close;
        }
        cause = found.source();
    }
    false
}

/// hyper grants the head of a request as much.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);
