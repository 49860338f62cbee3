//! Everything in which the mountings may differ, and why.

use std::collections::BTreeSet;

/// What differs, where, and why that is right.
#[derive(Debug)]
pub(super) struct Difference {
    /// What is seen: in process / in the sidecar.
    seen: &'static [&'static str],
    /// The cases in which all of it is seen; none for any case.
    cases: &'static [&'static str],
    reason: &'static str,
}

// === impl Difference ===

impl Difference {
    pub(super) fn covers(&self, case: &str, seen: &str) -> bool {
        self.seen.contains(&seen) && (self.cases.is_empty() || self.cases.contains(&case))
    }

    /// What of this was not seen.
    pub(super) fn unneeded(&self, found: &BTreeSet<(String, String)>) -> Vec<String> {
        let is_found = |case: &str, seen: &str| {
            let same = |(in_case, what): &(String, String)| {
                what == seen && (case.is_empty() || in_case == case)
            };
            found.iter().any(same)
        };
        let cases = if self.cases.is_empty() {
            &[""]
        } else {
            self.cases
        };
        let pairs = cases
            .iter()
            .flat_map(|case| self.seen.iter().map(move |seen| (case, seen)));
        let unneeded = pairs.filter(|(case, seen)| !is_found(case, seen));
        unneeded
            .map(|(case, seen)| format!("no longer needed: {case}: {seen} ({})", self.reason))
            .collect()
    }
}

pub(super) const DIFFERENCES: &[Difference] = &[
    Difference {
        seen: &["the machine's time"],
        cases: &[],
        reason: "hyper dates every answer, and its clock cannot be set",
    },
    Difference {
        seen: &["the order of names"],
        cases: &[],
        reason: "the upstream's hyper has written its Date and Content-Length before the sidecar adds to them",
    },
    Difference {
        seen: &["the minted id"],
        cases: &[],
        reason: "the sidecar's assertions are numbered by the same entropy",
    },
    Difference {
        seen: &["verdict: 500 internal_error / 502 upstream_unavailable"],
        cases: &["a panic", "a panic under a key"],
        reason: "a panic ends the upstream's connection, and only its own process can tell why",
    },
    Difference {
        seen: &[
            "verdict: closed / 502 upstream_unavailable",
            "afterwards: closed / canary",
        ],
        cases: &[
            "no answer but an end",
            "a cut under a key",
            "an answer that breaks off",
        ],
        reason: "in process the connection that breaks off is the client's own",
    },
    Difference {
        seen: &["header keep-alive"],
        cases: &["hop-by-hop headers in an answer"],
        reason: "fields of one connection end with it, and in process there is but one",
    },
    Difference {
        seen: &["header connection", "header x-dropped"],
        cases: &["an answer that names its own connection"],
        reason: "fields of one connection end with it, and in process there is but one",
    },
    Difference {
        seen: &["header connection", "afterwards: closed / canary"],
        cases: &["an answer that closes its connection"],
        reason: "fields of one connection end with it, and in process there is but one",
    },
    Difference {
        seen: &[
            "verdict: 200 / 431",
            "afterwards: canary / closed",
            "what the origin is sent",
        ],
        cases: &["a head over 16 KiB"],
        reason: "the sidecar bounds a head at `head_max`; in process that is the team's hyper's affair",
    },
    Difference {
        seen: &["verdict: 414 / 431"],
        cases: &["a target of 70,000 bytes"],
        reason: "the sidecar bounds a head at `head_max`, which is less than hyper allows a target",
    },
    Difference {
        seen: &["body", "header content-length", "what the origin is sent"],
        cases: &[
            "an absolute target",
            "an absolute target at another host",
            "an absolute target of another scheme",
            "an absolute target with a user",
            "an absolute public target",
        ],
        reason: "a proxy sends the origin form (RFC 9112 §3.2.1), and the origin says what it was sent",
    },
];
