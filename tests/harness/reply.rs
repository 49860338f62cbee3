//! A response as it came off the wire.

use serde_json::Value;

/// A response, in the order and the case in which it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// The statuses of the interim responses before it.
    pub interim: Vec<u16>,
    /// Its fields, in their order.
    pub fields: Vec<(String, String)>,
    /// Its body, without its framing.
    pub body: Vec<u8>,
    /// Whether it came to its end, or was cut.
    pub is_whole: bool,
}

// === impl Reply ===

impl Reply {
    /// The values of a field, in their order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = |(found, _): &&(String, String)| found.eq_ignore_ascii_case(name);
        self.fields
            .iter()
            .filter(named)
            .map(|(_, value)| &**value)
            .collect()
    }

    /// The value of a field; empty where it is absent.
    ///
    /// # Panics
    ///
    /// Where the field is there more than once.
    pub fn one(&self, name: &str) -> &str {
        match self.all(name)[..] {
            [] => "",
            [value] => value,
            _ => panic!("{name} is there more than once: {self:?}"),
        }
    }

    /// Whether the field is there.
    pub fn has(&self, name: &str) -> bool {
        !self.all(name).is_empty()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The error in the body; null where there is none.
    pub fn error(&self) -> Value {
        self.json()["error"].clone()
    }

    /// The code of the error in the body; empty where there is none.
    pub fn code(&self) -> String {
        self.error()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and code, to be compared at once.
    pub fn verdict(&self) -> String {
        format!("{} {}", self.status, self.code())
            .trim_end()
            .to_owned()
    }
}
