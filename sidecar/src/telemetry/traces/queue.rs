//! Spans on their way to a collector that may be slow, or stuck: a bounded queue, and a task
//! that sends.
//!
//! Whoever has a span never waits. What finds no room, or cannot be delivered in time, is
//! dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter, SpanProcessor};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

/// Where spans go that have ended. Clones are one queue.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    items: mpsc::Sender<Item>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Item {
    Span(Box<SpanData>),
    /// Told when everything before it was sent, or dropped.
    Mark(oneshot::Sender<()>),
}

/// The end of the queue at which spans are sent.
struct Sending<E> {
    items: mpsc::Receiver<Item>,
    dropped: Arc<AtomicU64>,
    exporter: E,
    /// Whether the last batch was delivered: a collector that is gone is told of once.
    delivers: bool,
}

// === impl Queue ===

impl Queue {
    /// Sends with this, in a task, for as long as anybody has spans.
    pub(super) fn to(exporter: impl SpanExporter + 'static) -> Self {
        let (sender, items) = mpsc::channel(QUEUED);
        let queue = Self {
            items: sender,
            dropped: Arc::default(),
        };
        let sending = Sending {
            items,
            dropped: Arc::clone(&queue.dropped),
            exporter,
            delivers: true,
        };
        tokio::spawn(sending.run());
        queue
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was taken is sent, for a while.
    pub(super) async fn flush(&self) {
        let (mark, sent) = oneshot::channel();
        let flushed = async {
            if self.items.send(Item::Mark(mark)).await.is_ok() {
                let _ = sent.await;
            }
        };
        if timeout(FLUSHED_WITHIN, flushed).await.is_err() {
            tracing::warn!("the last spans are not sent: the collector hangs");
        }
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &opentelemetry::Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled()
            && self.items.try_send(Item::Span(Box::new(span))).is_err()
        {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

// === impl Sending ===

impl<E: SpanExporter> Sending<E> {
    async fn run(mut self) {
        loop {
            let (batch, mark) = self.batch().await;
            let is_over = batch.is_empty() && mark.is_none();
            if !batch.is_empty() {
                self.send(batch).await;
            }
            if let Some(mark) = mark {
                // Who waited for it may have gone.
                let _ = mark.send(());
            }
            if is_over {
                return;
            }
        }
    }

    /// The next spans to be sent together, and the mark that they end with; neither of them
    /// where nobody has spans any more.
    async fn batch(&mut self) -> (Vec<SpanData>, Option<oneshot::Sender<()>>) {
        let mut batch = Vec::new();
        let mut next = self.items.recv().await;
        let until = Instant::now() + GATHERED_FOR;
        loop {
            match next {
                Some(Item::Span(span)) => batch.push(*span),
                Some(Item::Mark(mark)) => return (batch, Some(mark)),
                None => return (batch, None),
            }
            if batch.len() == BATCH {
                return (batch, None);
            }
            next = match timeout_at(until, self.items.recv()).await {
                Ok(next) => next,
                Err(_) => return (batch, None),
            };
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        // The exporter has the same bound; that it keeps it is not relied on.
        let sent = timeout(SENT_WITHIN, self.exporter.export(batch)).await;
        let fault = match sent {
            Ok(Ok(())) => None,
            Ok(Err(fault)) => Some(fault.to_string()),
            Err(_) => Some("it does not answer".to_owned()),
        };
        if let Some(fault) = &fault {
            self.dropped.fetch_add(spans as u64, Ordering::Relaxed);
            if self.delivers {
                tracing::warn!(fault, "the collector takes no spans: they are dropped");
            }
        }
        self.delivers = fault.is_none();
    }
}

/// Spans that wait: a second of the requests that one processor serves, half of them sampled.
const QUEUED: usize = 4096;

/// Spans that are sent together, as the SDKs of OpenTelemetry do.
const BATCH: usize = 512;

/// How long a span waits for others.
const GATHERED_FOR: Duration = Duration::from_secs(1);

/// A collector that takes longer gets the next batch instead.
pub(super) const SENT_WITHIN: Duration = Duration::from_secs(5);

/// A collector that is stuck does not hold up the end of the process.
const FLUSHED_WITHIN: Duration = Duration::from_secs(2);
