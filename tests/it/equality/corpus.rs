//! The corpus: requests as data, in the files beside this one.

use harness::Draft;

/// A connection and what is sent on it.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) requests: Vec<Request>,
}

/// One request, and what is answered to it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) bytes: Vec<u8>,
    pub(super) is_head: bool,
    pub(super) verdict: String,
    /// Sent together with the one before it, without waiting for its answer.
    is_pipelined: bool,
}

/// A request as it is read.
struct Reading {
    draft: Draft,
    raw: Option<Vec<u8>>,
    is_pipelined: bool,
    is_head: bool,
}

// === impl Case ===

impl Case {
    /// The requests, by what is sent at once.
    pub(super) fn bursts(&self) -> impl Iterator<Item = &[Request]> {
        self.requests.chunk_by(|_, next| next.is_pipelined)
    }
}

/// The name of a case as an id.
pub(super) fn id(name: &str) -> String {
    let word = |letter: char| {
        if letter.is_ascii_alphanumeric() {
            letter
        } else {
            '-'
        }
    };
    name.chars().map(word).collect()
}

// === impl Reading ===

impl Reading {
    /// A well-formed request, with a key and an id of its case.
    fn begin(line: &str, name: &str, is_pipelined: bool) -> Self {
        let mut words = line.split(' ');
        let method = words.next().unwrap_or_default();
        let target = unescape(words.next().unwrap_or_default());
        let mut draft = Draft::new(method, &String::from_utf8_lossy(&target));
        if line != "raw" {
            draft = draft.key(&id(name)).correlation_id(&id(name));
        }
        if method == "POST" {
            draft = draft.json("{}");
        }
        if let Some(version) = words.next() {
            draft = draft.version(version);
        }
        Self {
            draft,
            raw: (line == "raw").then(Vec::new),
            is_pipelined,
            is_head: method == "HEAD",
        }
    }

    fn add(self, line: &str) -> Self {
        let Self {
            mut draft, mut raw, ..
        } = self;
        if let (Some(raw), Some(line)) = (&mut raw, line.strip_prefix("! ")) {
            raw.extend(unescape(line));
            raw.extend_from_slice(b"\r\n");
        } else if let (Some(raw), Some(body)) = (&mut raw, line.strip_prefix("| ")) {
            raw.extend(unescape(body));
        } else if let Some(body) = line.strip_prefix("| ") {
            draft = draft.body(unescape(body));
        } else if let Some(name) = line.strip_prefix("% key ") {
            draft = draft.key(name);
        } else if let Some(size) = line.strip_prefix("% chunked ") {
            draft = draft.chunked(size.parse().expect("a chunk has a size"));
        } else if let Some(name) = line.strip_prefix('-') {
            draft = draft.without(name);
        } else if let Some(line) = line.strip_prefix('+') {
            draft = draft.line(&unescape(line));
        } else {
            draft = draft.only_line(&unescape(line));
        }
        Self { draft, raw, ..self }
    }

    fn end(self, verdict: &str) -> Request {
        Request {
            bytes: self.raw.unwrap_or_else(|| self.draft.to_bytes()),
            is_head: self.is_head,
            verdict: verdict.to_owned(),
            is_pipelined: self.is_pipelined,
        }
    }
}

/// Every case of every file.
pub(super) fn corpus() -> Vec<Case> {
    FILES.iter().flat_map(|text| cases(text)).collect()
}

/// ```text
/// # a comment
/// == the name of a case
/// > POST /v1/charges [HTTP/1.1]     a request; '>>' where it does not wait for the last answer
/// Name: value                       in the place of every field of that name
/// +Name: value                      beside the others
/// -Name                             without it
/// % key NAME                        shows this key in the place of the case's own
/// % chunked 3                       its body in chunks; after the body
/// | the body
/// < 403 insufficient_scope          what is answered
/// > raw                             nothing but what the next lines say
/// ! a line, ended by CRLF
/// ```
///
/// `\0`, `\r`, `\n`, `\t`, `\\` and `\xFF` are bytes; `<<x*300>>` is a repetition.
fn cases(text: &str) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    let mut reading: Option<Reading> = None;
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(name) = line.strip_prefix("== ") {
            assert!(reading.is_none(), "a request before '{name}' has no answer");
            cases.push(Case {
                name: name.to_owned(),
                requests: vec![],
            });
            continue;
        }
        let case = cases.last_mut().expect("a file begins with a case");
        if let Some(verdict) = line.strip_prefix("< ") {
            let read = reading.take().expect("an answer follows a request");
            case.requests.push(read.end(verdict));
        } else if let Some(line) = line.strip_prefix(">> ") {
            reading = Some(Reading::begin(line, &case.name, true));
        } else if let Some(line) = line.strip_prefix("> ") {
            reading = Some(Reading::begin(line, &case.name, false));
        } else {
            reading = reading.map(|reading| reading.add(line));
        }
    }
    cases
}

fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'<' && tail.starts_with(b"<") {
            let end = tail
                .windows(2)
                .position(|two| two == b">>")
                .expect("'<<' is closed");
            let inside = std::str::from_utf8(&tail[1..end]).expect("it is UTF-8");
            let (what, count) = inside.rsplit_once('*').expect("a repetition has a count");
            let count = count.parse().expect("a count is a number");
            bytes.extend_from_slice(what.repeat(count).as_bytes());
            rest = &tail[end + 2..];
        } else if byte == b'\\' {
            let (&kind, tail) = tail.split_first().expect("an escape has a letter");
            rest = tail;
            bytes.push(match kind {
                b'0' => 0,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'x' => {
                    rest = &tail[2..];
                    let digits = std::str::from_utf8(&tail[..2]).expect("digits are ASCII");
                    u8::from_str_radix(digits, 16).expect("two hex digits")
                }
                other => other,
            });
        } else {
            bytes.push(byte);
        }
    }
    bytes
}

/// One file for each room of the contract.
const FILES: [&str; 6] = [
    include_str!("corpus/answers.txt"),
    include_str!("corpus/bodies.txt"),
    include_str!("corpus/framing.txt"),
    include_str!("corpus/headers.txt"),
    include_str!("corpus/idempotency.txt"),
    include_str!("corpus/targets.txt"),
];
