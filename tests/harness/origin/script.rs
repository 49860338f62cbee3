//! What a request tells the origin to do.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};

use super::{AnswerBody, BrokenOff, Received};

/// The instructions of one request.
#[derive(Debug)]
pub(super) struct Script {
    pub(super) reads: bool,
    pub(super) gates: Vec<String>,
    status: StatusCode,
    headers: HeaderMap,
    body: Body,
    ending: Ending,
}

#[derive(Debug)]
enum Body {
    Echo,
    Text(String),
    Bytes(usize),
    Stream(usize),
    Endless,
    Cut,
}

#[derive(Debug)]
enum Ending {
    Answered,
    Cut,
    Panicked,
    Never,
}

// === impl Script ===

impl Script {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        let mut script = Self {
            reads: true,
            gates: Vec::new(),
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: Body::Echo,
            ending: Ending::Answered,
        };
        for value in headers.get_all("x-origin") {
            let text = value.to_str().expect("an instruction is ASCII");
            let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
            script.add(word, rest);
        }
        script
    }

    pub(super) async fn carry_out(
        self,
        received: &Received,
    ) -> Result<Response<AnswerBody>, BrokenOff> {
        match self.ending {
            Ending::Answered => {}
            Ending::Cut => return Err(BrokenOff),
            Ending::Panicked => panic!("the origin was told to panic"),
            Ending::Never => std::future::pending().await,
        }
        let has_type = self.headers.contains_key(CONTENT_TYPE);
        let is_json = matches!(self.body, Body::Echo);
        let mut response = Response::new(self.body.into_answer(received));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if is_json && !has_type {
            let json = HeaderValue::from_static("application/json");
            response.headers_mut().insert(CONTENT_TYPE, json);
        }
        Ok(response)
    }

    fn add(&mut self, word: &str, rest: &str) {
        match word {
            "body" => self.body = Body::Text(rest.to_owned()),
            "bytes" => self.body = Body::Bytes(number(rest)),
            "cut" => self.ending = Ending::Cut,
            "cut-body" => self.body = Body::Cut,
            "endless" => self.body = Body::Endless,
            "header" => {
                let (name, value) = rest.split_once(": ").expect("a header is 'Name: value'");
                let name: HeaderName = name.parse().expect("a header has a name");
                let value = HeaderValue::from_str(value).expect("a header has a value");
                self.headers.append(name, value);
            }
            "never" => self.ending = Ending::Never,
            "panic" => self.ending = Ending::Panicked,
            "status" => {
                self.status = rest.parse().expect("a status is a number");
            }
            "stream" => self.body = Body::Stream(number(rest)),
            "unread" => self.reads = false,
            "wait" => self.gates.push(rest.to_owned()),
            _ => panic!("the origin knows no instruction '{word}'"),
        }
    }
}

// === impl Body ===

impl Body {
    fn into_answer(self, received: &Received) -> AnswerBody {
        match self {
            Self::Echo => {
                let echo = serde_json::json!({
                    "method": received.method,
                    "target": received.target,
                    "bytes": received.body.len(),
                });
                full(echo.to_string())
            }
            Self::Text(text) => full(text),
            Self::Bytes(count) => full("x".repeat(count)),
            Self::Stream(count) => streamed(pieces(count)),
            Self::Endless => {
                let never = stream::pending::<Result<Frame<Bytes>, BrokenOff>>();
                let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"x")))]);
                streamed(first.chain(never))
            }
            Self::Cut => streamed(stream::iter([
                Ok(Frame::data(Bytes::from_static(b"half"))),
                Err(BrokenOff),
            ])),
        }
    }
}

fn pieces(
    count: usize,
) -> impl futures_util::Stream<Item = Result<Frame<Bytes>, BrokenOff>> + Send + 'static {
    let sizes = (0..count.div_ceil(PIECE)).map(move |index| (count - index * PIECE).min(PIECE));
    stream::iter(sizes.map(|size| Ok(Frame::data(Bytes::from("x".repeat(size))))))
}

fn streamed(
    frames: impl futures_util::Stream<Item = Result<Frame<Bytes>, BrokenOff>> + Send + 'static,
) -> AnswerBody {
    StreamBody::new(frames).boxed_unsync()
}

fn full(text: impl Into<Bytes>) -> AnswerBody {
    Full::new(text.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn number(text: &str) -> usize {
    text.parse().expect("a count is a number")
}

/// Small enough that a stream is many frames.
const PIECE: usize = 16 << 10;
