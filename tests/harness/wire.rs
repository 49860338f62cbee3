//! A connection that carries any bytes, because the corpus has requests that no client
//! library sends.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::PATIENCE;
use crate::draft::Draft;
use crate::reply::Reply;

/// A connection to a server.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
    ended: bool,
}

/// What a server does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answers.
    Reply(Reply),
    /// It closes the connection.
    Closed,
    /// It does neither in time.
    Silence,
}

/// How the end of a body is told.
enum Framing {
    Length(usize),
    Chunks,
    Close,
}

// === impl Wire ===

impl Wire {
    /// Connects.
    ///
    /// # Panics
    ///
    /// Where nothing listens there.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("a mounted server listens");
        stream.set_nodelay(true).expect("a socket has this option");
        Self {
            stream,
            read: Vec::new(),
            ended: false,
        }
    }

    /// Sends bytes. A server that has closed the connection already is no error: what it
    /// said is to be read.
    pub async fn send(&mut self, bytes: &[u8]) {
        // A server that has answered early may read no more.
        let _ = timeout(PATIENCE, self.stream.write_all(bytes)).await;
    }

    /// Sends a request and reads its response.
    ///
    /// # Panics
    ///
    /// Where there is none.
    pub async fn exchange(&mut self, draft: &Draft) -> Reply {
        self.send(&draft.to_bytes()).await;
        match self.answer(draft.is_head()).await {
            Answer::Reply(reply) => reply,
            other => panic!("no reply but {other:?}"),
        }
    }

    /// Reads the next response, within [`PATIENCE`].
    pub async fn answer(&mut self, is_head: bool) -> Answer {
        self.answer_within(PATIENCE, is_head).await
    }

    /// Reads the next response, within this time.
    pub async fn answer_within(&mut self, time: Duration, is_head: bool) -> Answer {
        timeout(time, self.next(is_head))
            .await
            .unwrap_or(Answer::Silence)
    }

    /// Reads until these bytes have come; false where they do not within [`PATIENCE`].
    pub async fn read_until(&mut self, wanted: &[u8]) -> bool {
        let found = timeout(PATIENCE, self.find(wanted)).await;
        found.is_ok_and(|found| found.is_some())
    }

    /// Says that nothing more will be sent.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Leaves without a word: the server's next write is answered by a reset.
    pub fn cut(self) {
        let _ = self.stream.set_zero_linger();
    }

    async fn next(&mut self, is_head: bool) -> Answer {
        let mut interim = Vec::new();
        loop {
            let Some((status, fields)) = self.head().await else {
                return Answer::Closed;
            };
            if (100..200).contains(&status) {
                interim.push(status);
                continue;
            }
            let framing = Framing::of(status, &fields, is_head);
            let (body, is_whole) = self.body(framing).await;
            return Answer::Reply(Reply {
                status,
                interim,
                fields,
                body,
                is_whole,
            });
        }
    }

    async fn head(&mut self) -> Option<(u16, Vec<(String, String)>)> {
        let end = self.find(b"\r\n\r\n").await?;
        let head = self.take(end + 4);
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let fields = lines.filter_map(|line| line.split_once(':'));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Some((status, fields.collect()))
    }

    async fn body(&mut self, framing: Framing) -> (Vec<u8>, bool) {
        match framing {
            Framing::Length(length) => {
                while self.read.len() < length && self.fill().await {}
                let is_whole = self.read.len() >= length;
                (self.take(length), is_whole)
            }
            Framing::Close => {
                while self.fill().await {}
                (self.take(usize::MAX), true)
            }
            Framing::Chunks => {
                let mut body = Vec::new();
                let is_whole = self.chunks(&mut body).await.is_some();
                (body, is_whole)
            }
        }
    }

    async fn chunks(&mut self, body: &mut Vec<u8>) -> Option<()> {
        loop {
            let end = self.find(b"\r\n").await?;
            let line = self.take(end + 2);
            let size = String::from_utf8_lossy(&line[..end]).into_owned();
            let size = usize::from_str_radix(&size, 16).ok()?;
            while self.read.len() < size + 2 && self.fill().await {}
            if self.read.len() < size + 2 {
                body.extend(self.take(size));
                return None;
            }
            body.extend(self.take(size));
            self.take(2);
            if size == 0 {
                return Some(());
            }
        }
    }

    async fn find(&mut self, wanted: &[u8]) -> Option<usize> {
        loop {
            let found = self.read.windows(wanted.len()).position(|at| at == wanted);
            if found.is_some() {
                return found;
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.read.split_off(count.min(self.read.len()));
        std::mem::replace(&mut self.read, rest)
    }

    /// Reads what there is; false at the end.
    async fn fill(&mut self) -> bool {
        self.read.reserve(16 << 10);
        let count = self.stream.read_buf(&mut self.read).await.unwrap_or(0);
        self.ended |= count == 0;
        !self.ended
    }
}

// === impl Framing ===

impl Framing {
    /// RFC 9112 §6.3.
    fn of(status: u16, fields: &[(String, String)], is_head: bool) -> Self {
        let value = |wanted: &str| {
            let named = |(name, _): &&(String, String)| name.eq_ignore_ascii_case(wanted);
            fields.iter().find(named).map(|(_, value)| &**value)
        };
        if is_head || matches!(status, 204 | 304) {
            Self::Length(0)
        } else if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            Self::Chunks
        } else {
            match value("content-length").and_then(|length| length.parse().ok()) {
                Some(length) => Self::Length(length),
                None => Self::Close,
            }
        }
    }
}
