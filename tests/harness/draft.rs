//! A request as it is written on the wire: well-formed until it is told otherwise.

use crate::keys::token;

/// A request that is being written.
///
/// It says `HTTP/1.1`, has a `Host`, and a `Content-Length` where the method has a body and
/// no other framing was given. Fields are written in the order and in the case in which
/// they were given.
#[derive(Clone, Debug)]
#[must_use]
pub struct Draft {
    method: String,
    target: String,
    version: String,
    fields: Vec<Vec<u8>>,
    body: Vec<u8>,
    framed: bool,
}

// === impl Draft ===

impl Draft {
    /// A request with this method and target.
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            version: "HTTP/1.1".to_owned(),
            fields: vec![b"Host: api.test".to_vec()],
            body: Vec::new(),
            framed: false,
        }
    }

    /// A `GET`.
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` of an empty JSON object.
    pub fn post(target: &str) -> Self {
        Self::new("POST", target).json("{}")
    }

    /// Says another version.
    pub fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.version);
        self
    }

    /// Adds a field.
    pub fn field(self, name: &str, value: &str) -> Self {
        self.line(format!("{name}: {value}").as_bytes())
    }

    /// Adds a line to the head, whatever it is.
    pub fn line(mut self, line: &[u8]) -> Self {
        self.framed |= is_named(line, "content-length") || is_named(line, "transfer-encoding");
        self.fields.push(line.to_vec());
        self
    }

    /// Takes away every field of this name.
    pub fn without(mut self, name: &str) -> Self {
        self.fields.retain(|line| !is_named(line, name));
        // Whoever takes the length away wants none.
        self.framed |= name.eq_ignore_ascii_case("content-length");
        self
    }

    /// Puts this field in the place of every other of its name.
    pub fn only(self, name: &str, value: &str) -> Self {
        self.only_line(format!("{name}: {value}").as_bytes())
    }

    /// Puts this line in the place of every field of its name.
    pub fn only_line(mut self, line: &[u8]) -> Self {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        let name = String::from_utf8_lossy(name).into_owned();
        self.fields.retain(|line| !is_named(line, &name));
        self.line(line)
    }

    /// Shows the key of this name.
    pub fn key(self, name: &str) -> Self {
        self.only("Authorization", &format!("Bearer {}", token(name)))
    }

    /// Names its execution.
    pub fn idempotency_key(self, key: &str) -> Self {
        self.field("Idempotency-Key", key)
    }

    /// Names itself.
    pub fn correlation_id(self, id: &str) -> Self {
        self.field("X-Correlation-ID", id)
    }

    /// Tells the origin what to do; see [`Origin`](crate::Origin).
    pub fn origin(self, instruction: &str) -> Self {
        self.field("X-Origin", instruction)
    }

    /// Carries this JSON.
    pub fn json(self, body: &str) -> Self {
        self.only("Content-Type", "application/json").body(body)
    }

    /// Carries these bytes.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Carries its body in chunks of so many bytes, and declares no length.
    pub fn chunked(mut self, size: usize) -> Self {
        let mut chunks = Vec::new();
        for chunk in self.body.chunks(size) {
            chunks.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            chunks.extend_from_slice(chunk);
            chunks.extend_from_slice(b"\r\n");
        }
        chunks.extend_from_slice(b"0\r\n\r\n");
        self.body = chunks;
        self.field("Transfer-Encoding", "chunked")
    }

    /// Whether its answer has no body, whatever its head says.
    pub fn is_head(&self) -> bool {
        self.method == "HEAD"
    }

    /// The bytes of the head.
    pub fn head(&self) -> Vec<u8> {
        let line = format!("{} {} {}\r\n", self.method, self.target, self.version);
        let mut bytes = line.into_bytes();
        for field in &self.fields {
            bytes.extend_from_slice(field);
            bytes.extend_from_slice(b"\r\n");
        }
        let has_body = ["POST", "PUT", "PATCH"].contains(&&*self.method) || !self.body.is_empty();
        if has_body && !self.framed {
            let length = format!("Content-Length: {}\r\n", self.body.len());
            bytes.extend_from_slice(length.as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }

    /// The bytes of the whole request.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

fn is_named(line: &[u8], name: &str) -> bool {
    let found = line.split(|byte| *byte == b':').next().unwrap_or_default();
    found.trim_ascii().eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_well_formed_until_it_is_told_otherwise() {
        let plain = Draft::post("/a").json("{}");
        let want = "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(plain.to_bytes(), want.as_bytes());
        let odd = Draft::get("/a")
            .without("host")
            .line(b"bad")
            .version("HTTP/1.0");
        assert_eq!(odd.to_bytes(), b"GET /a HTTP/1.0\r\nbad\r\n\r\n");
        let chunked = Draft::new("PUT", "/")
            .without("host")
            .body("abc")
            .chunked(2);
        let want =
            "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(chunked.to_bytes(), want.as_bytes());
    }
}
