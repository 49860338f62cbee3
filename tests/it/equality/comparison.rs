//! What is compared of two runs of one case.

use std::collections::BTreeSet;

use harness::{Answer, Received, Reply};

/// What came of a case at one mounting.
#[derive(Debug)]
pub(super) struct Observed {
    pub(super) answers: Vec<Seen>,
    /// What the origin was sent: method, target and body.
    received: Vec<String>,
    /// What the next request on the same connection met.
    afterwards: String,
}

/// An answer, ready to be compared.
#[derive(Debug)]
pub(super) struct Seen(Answer);

// === impl Observed ===

impl Observed {
    pub(super) fn new(answers: Vec<Answer>, received: &[Received], afterwards: String) -> Self {
        let received = received.iter().filter(|one| one.target != "/healthz");
        let received = received
            .map(|one| format!("{} {} {:?}", one.method, one.target, one.body))
            .collect();
        Self {
            answers: answers.into_iter().map(Seen).collect(),
            received,
            afterwards,
        }
    }

    /// How another run of the same case differs, in words.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found: BTreeSet<String> = BTreeSet::new();
        for (one, other) in self.answers.iter().zip(&other.answers) {
            found.extend(one.differences(other));
        }
        if self.received != other.received {
            found.insert("what the origin is sent".to_owned());
        }
        if self.afterwards != other.afterwards {
            found.insert(format!(
                "afterwards: {} / {}",
                self.afterwards, other.afterwards
            ));
        }
        found.into_iter().collect()
    }
}

// === impl Seen ===

impl Seen {
    /// Status and code, and whether it is a replay; or what came in the place of an answer.
    pub(super) fn verdict(&self) -> String {
        match &self.0 {
            Answer::Reply(reply) if reply.has("idempotent-replayed") => {
                format!("{} replayed", reply.verdict())
            }
            Answer::Reply(reply) if !reply.is_whole => format!("{} cut", reply.verdict()),
            Answer::Reply(reply) => reply.verdict(),
            Answer::Closed => "closed".to_owned(),
            Answer::Silence => "silence".to_owned(),
        }
    }

    fn differences(&self, other: &Self) -> Vec<String> {
        let (verdict, others) = (self.verdict(), other.verdict());
        match (&self.0, &other.0) {
            (Answer::Reply(one), Answer::Reply(other)) if verdict == others => compare(one, other),
            _ if verdict == others => vec![],
            _ => vec![format!("verdict: {verdict} / {others}")],
        }
    }
}

fn compare(one: &Reply, other: &Reply) -> Vec<String> {
    let (is_minted, one, other) = without_minted(one, other);
    let mut found = Vec::new();
    if is_minted {
        found.push("the minted id".to_owned());
    }
    let names: BTreeSet<&String> = one
        .fields
        .iter()
        .chain(&other.fields)
        .map(|(name, _)| name)
        .collect();
    // The two are asked one after the other, which may be in one second or in two.
    if one.has("date") && other.has("date") {
        found.push("the machine's time".to_owned());
    }
    let is_date =
        |name: &&&String| name.eq_ignore_ascii_case("date") && one.has(name) && other.has(name);
    let differing = names
        .iter()
        .filter(|name| !is_date(name) && one.all(name) != other.all(name));
    found.extend(differing.map(|name| format!("header {name}")));
    let order = |reply: &Reply| -> Vec<String> {
        let shared = |name: &&String| one.has(name) && other.has(name);
        reply
            .fields
            .iter()
            .map(|(name, _)| name)
            .filter(shared)
            .cloned()
            .collect()
    };
    if order(&one) != order(&other) {
        found.push("the order of names".to_owned());
    }
    if one.body != other.body {
        found.push("body".to_owned());
    }
    if one.interim != other.interim {
        found.push(format!("interim: {:?} / {:?}", one.interim, other.interim));
    }
    found
}

/// A minted id stands for itself wherever it is repeated, so that all else is compared.
fn without_minted(one: &Reply, other: &Reply) -> (bool, Reply, Reply) {
    let (id, others) = (one.one("x-correlation-id"), other.one("x-correlation-id"));
    if id == others || !id.starts_with("req_") || id.len() != others.len() {
        return (false, one.clone(), other.clone());
    }
    let replaced = |reply: &Reply, id: &str| {
        let mut reply = reply.clone();
        for (_, value) in &mut reply.fields {
            *value = value.replace(id, "req_minted");
        }
        reply.body = reply.text().replace(id, "req_minted").into_bytes();
        reply
    };
    (true, replaced(one, id), replaced(other, others))
}
