//! Lines on their way to a sink that may be slow, or stuck: a bounded queue, and a thread that
//! writes.
//!
//! Whoever has a line never waits. What finds no room, or cannot be written, is dropped and
//! counted.

use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Where lines go. Clones are one queue.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// It has no bound by itself, because one that has takes all its memory at once.
    queue: Sender<Item>,
    tally: Arc<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    /// How many wait.
    queued: AtomicUsize,
    dropped: AtomicU64,
}

enum Item {
    Line(Vec<u8>),
    /// Told when everything before it was written.
    Mark(SyncSender<()>),
}

// === impl Lines ===

impl Lines {
    /// Writes to this sink, in a thread of this name, for as long as anybody has lines.
    ///
    /// # Errors
    ///
    /// Where no thread can be started.
    pub(crate) fn to(name: &str, sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, lines) = channel();
        let tally = Arc::new(Tally::default());
        let counted = Arc::clone(&tally);
        let thread = std::thread::Builder::new().name(name.to_owned());
        thread.spawn(move || write(&lines, BufWriter::new(sink), &counted))?;
        Ok(Self { queue, tally })
    }

    /// Takes a line, its end included, if there is room.
    pub(crate) fn push(&self, line: Vec<u8>) {
        if !self.send(Item::Line(line)) {
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many lines were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.tally.dropped.load(Ordering::Relaxed)
    }

    /// Waits until what was taken is written, for so long at most.
    pub(crate) fn flush(&self, within: Duration) {
        let (mark, written) = sync_channel(1);
        // A queue that is full is stuck, and not waited for.
        if self.send(Item::Mark(mark)) {
            let _ = written.recv_timeout(within);
        }
    }

    /// Whether there was room for it.
    fn send(&self, item: Item) -> bool {
        let queued = &self.tally.queued;
        let has_room = queued.fetch_add(1, Ordering::Relaxed) < QUEUED;
        let sent = has_room && self.queue.send(item).is_ok();
        if !sent {
            queued.fetch_sub(1, Ordering::Relaxed);
        }
        sent
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    /// One call is one line, as `tracing_subscriber` makes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(lines: &Receiver<Item>, mut sink: BufWriter<impl Write>, tally: &Tally) {
    while let Ok(first) = lines.recv() {
        let (mut next, mut written) = (Some(first), 0);
        let mut marks = Vec::new();
        let mut is_good = true;
        while let Some(item) = next {
            tally.queued.fetch_sub(1, Ordering::Relaxed);
            match item {
                Item::Line(line) => {
                    written += 1;
                    is_good &= sink.write_all(&line).is_ok();
                }
                Item::Mark(mark) => marks.push(mark),
            }
            next = lines.try_recv().ok();
        }
        // Which of them were written cannot be known.
        if sink.flush().is_err() || !is_good {
            tally.dropped.fetch_add(written, Ordering::Relaxed);
        }
        for mark in marks {
            let _ = mark.try_send(());
        }
    }
}

/// A few seconds of a busy process, and a megabyte or two.
const QUEUED: usize = 4096;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// What was written; blocks while nobody lets it write.
    struct Sink {
        written: Arc<Mutex<Vec<u8>>>,
        open: Receiver<()>,
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let (lines, written, open) = lines();
        drop(open);
        for number in 0..100 {
            lines.push(format!("{number}\n").into_bytes());
        }
        lines.flush(Duration::from_secs(20));
        let want: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(*written.lock().unwrap(), want.as_bytes());
        assert_eq!(lines.dropped(), 0);
    }

    #[test]
    fn a_stuck_sink_makes_nobody_wait_and_what_is_dropped_is_counted() {
        let (lines, written, open) = lines();
        let sent = QUEUED as u64 + 5000;
        for _ in 0..sent {
            lines.push(b"line\n".to_vec());
        }
        lines.flush(Duration::from_secs(3600));
        let dropped = lines.dropped();
        assert!((1..=5000).contains(&dropped), "{dropped}");
        drop(open);
        while !lines.send(Item::Line(Vec::new())) {
            std::thread::yield_now();
        }
        lines.flush(Duration::from_secs(20));
        let lines_written = written.lock().unwrap().len() as u64 / 5;
        assert_eq!(lines_written + dropped, sent);
    }

    fn lines() -> (Lines, Arc<Mutex<Vec<u8>>>, SyncSender<()>) {
        let (hold, open) = sync_channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Sink {
            written: Arc::clone(&written),
            open,
        };
        (Lines::to("lines", sink).unwrap(), written, hold)
    }

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Ends when the test lets go of the other end.
            let _ = self.open.recv();
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
