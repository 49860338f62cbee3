//! What is allowed and seldom meant.

use super::error::{Fault, Place};
use super::{Auth, Config, Idempotency, KeySource, Route};

// === impl Config ===

impl Config {
    /// What is allowed and seldom meant, in the order of the file: for warnings.
    pub fn warnings(&self) -> Vec<Fault> {
        let mut warnings: Vec<Fault> = [
            self.forgetful_store(),
            self.counts_of_each(),
            self.nobody_let_in(),
            self.nobody_told(),
        ]
        .into_iter()
        .flatten()
        .chain(self.routes.iter().filter_map(|route| self.late(route)))
        .collect();
        warnings.sort_by(|one, other| one.place().cmp(other.place()));
        warnings
    }

    fn forgetful_store(&self) -> Option<Fault> {
        let is_keyed = |route: &Route| route.idempotency == Some(Idempotency::Executes);
        (self.store.address.starts_with("memory:") && self.routes.iter().any(is_keyed)).then(|| {
            let text =
                "the store ends with the process, after which a repeated request is executed again";
            Fault::at(&self.store.place, text)
        })
    }

    fn counts_of_each(&self) -> Option<Fault> {
        let is_shared = self.counters.is_some() || !self.store.address.starts_with("postgres");
        (self.replicas > 1 && !is_shared).then(|| {
            let text = "each replica counts requests by itself, so that a caller has as many budgets; 'counters' can be a Redis that they share";
            Fault::at(&self.store.place, text)
        })
    }

    fn nobody_let_in(&self) -> Option<Fault> {
        let asking = self
            .routes
            .iter()
            .find(|route| route.auth != Auth::Public)?;
        (self.keys.source == KeySource::None).then(|| {
            let text =
                "no key is good, because [keys] has no 'source', and this route asks for one";
            Fault::at(&asking.place, text)
        })
    }

    fn nobody_told(&self) -> Option<Fault> {
        let asks = |route: &Route| route.auth != Auth::Public;
        (self.identity.secret.is_none() && self.routes.iter().any(asks)).then(|| {
            let text = "[identity] has no secret, so that the service cannot know who is calling";
            Fault::at(&Place::file(&self.file), text)
        })
    }

    /// Of a route, whose deadline something else comes before.
    fn late(&self, route: &Route) -> Option<Fault> {
        let deadline = route.deadline?;
        let (name, sooner) = [
            ("[timeouts] answer", self.timeouts.answer),
            ("[drain] max", self.drain.max),
        ]
        .into_iter()
        .find(|(_, sooner)| *sooner < deadline)?;
        let text = format!("its deadline is {deadline:?}, and {name} ends it after {sooner:?}");
        Some(Fault::at(&route.place, text))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::MINIMAL;
    use super::*;

    #[test]
    fn what_is_seldom_meant_is_told_where_it_stands() {
        const KEYED: &str = "[[route]]\nmatch = 'POST /'\nauth = 'none'\nidempotency = 'executes'";
        const KEYS: &str = "[keys]\nsource = 'k'\n[identity]\nsecret = '0123456789abcdef0123456789abcdef'\n[[route]]\nmatch = 'GET /'";
        for (given, want) in [
            (
                format!("store = 'memory:'\n{KEYED}"),
                vec![
                    "c.toml:3: the store ends with the process, after which a repeated request is executed again",
                ],
            ),
            (format!("store = 'file:s'\n{KEYED}"), vec![]),
            (
                format!("store = 'postgres://h/d'\nreplicas = 2\n{KEYED}"),
                vec![
                    "c.toml:3: each replica counts requests by itself, so that a caller has as many budgets; 'counters' can be a Redis that they share",
                ],
            ),
            (
                format!("store = 'postgres://h/d'\nreplicas = 2\ncounters = 'redis://h'\n{KEYED}"),
                vec![],
            ),
            (
                "[[route]]\nmatch = 'GET /'".to_owned(),
                vec![
                    "c.toml:1: [identity] has no secret, so that the service cannot know who is calling",
                    "c.toml:3: no key is good, because [keys] has no 'source', and this route asks for one",
                ],
            ),
            (KEYS.to_owned(), vec![]),
            (format!("{KEYS}\ndeadline = '30s'"), vec![]),
            (
                format!("{KEYS}\ndeadline = '31s'"),
                vec!["c.toml:7: its deadline is 31s, and [timeouts] answer ends it after 30s"],
            ),
            (
                format!("{KEYS}\ndeadline = '20s'\n[drain]\nmax = '10s'"),
                vec!["c.toml:7: its deadline is 20s, and [drain] max ends it after 10s"],
            ),
        ] {
            let config = Config::parse("c.toml", &format!("{MINIMAL}{given}")).unwrap();
            let said: Vec<String> = config.warnings().iter().map(ToString::to_string).collect();
            assert_eq!(said, want, "{given}");
        }
    }
}
