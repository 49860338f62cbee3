//! Every key of the configuration, and whether a running process takes another value of it.
//! A test holds them against the schema.

use crate::config::{Config, Store, Target};

/// One key.
pub(super) struct Key {
    pub(super) name: &'static str,
    /// Whether another value is taken without a restart.
    pub(super) is_live: bool,
    pub(super) read: Read,
}

/// How two values of a key are told apart, and what is shown of them.
pub(super) enum Read {
    /// By what is shown.
    Value(fn(&Config) -> String),
    /// Nothing is shown: it is a secret, or may hold one.
    Hidden(fn(&Config, &Config) -> bool),
    /// By the name of what the new one lacks.
    Lost(for<'a> fn(&'a Config, &'a Config) -> Option<&'a str>),
    /// The routes, one by one.
    Routes,
}

const fn live(name: &'static str, shown: fn(&Config) -> String) -> Key {
    Key {
        name,
        is_live: true,
        read: Read::Value(shown),
    }
}

const fn fixed(name: &'static str, shown: fn(&Config) -> String) -> Key {
    Key {
        name,
        is_live: false,
        read: Read::Value(shown),
    }
}

/// A key that is not here is not heard of at all: the test of the schema says so.
pub(super) const KEYS: &[Key] = &[
    // Sockets, threads and stores are made once.
    fixed("listen", |config| config.listen.to_string()),
    fixed("admin", |config| listed(&config.admin)),
    fixed("upgrade_sock", |config| {
        format!("{:?}", config.upgrade_sock)
    }),
    fixed("threads", |config| config.threads.to_string()),
    Key {
        name: "store",
        is_live: false,
        read: Read::Hidden(|old, new| old.store.address == new.store.address),
    },
    Key {
        name: "counters",
        is_live: false,
        read: Read::Hidden(|old, new| counters(old) == counters(new)),
    },
    fixed("keys.source", |config| format!("{:?}", config.keys.source)),
    // A port either encrypts or it does not.
    fixed("tls", |config| config.tls.is_some().to_string()),
    Key {
        name: "keys.pepper",
        is_live: true,
        read: Read::Hidden(|old, new| old.keys.peppers == new.keys.peppers),
    },
    // Keys that were handed out would be good no longer.
    Key {
        name: "keys.pepper",
        is_live: false,
        read: Read::Lost(|old, new| new.keys.peppers.lost_since(&old.keys.peppers)),
    },
    live("upstream", |config| {
        let targets = [&config.upstream].into_iter().chain(&config.more_upstreams);
        listed(&targets.collect::<Vec<&Target>>())
    }),
    live("replicas", |config| config.replicas.to_string()),
    live("error_format", |config| {
        format!("{:?}", config.error_format)
    }),
    live("http2", |config| config.http2.to_string()),
    live("upstream_http2", |config| {
        format!("{:?}", config.upstream_http2)
    }),
    live("trusted_proxies", |config| {
        format!(
            "{:?} unix: {}",
            config.proxies.networks, config.proxies.unix
        )
    }),
    live("trusted_field", |config| {
        format!("{:?}", config.proxies.field)
    }),
    live("tls.certificate", |config| {
        of(config.tls.as_ref(), |tls| &tls.certificate)
    }),
    live("tls.key", |config| of(config.tls.as_ref(), |tls| &tls.key)),
    live("tls.client_ca", |config| {
        of(config.tls.as_ref(), |tls| &tls.client_ca)
    }),
    live("upstream_tls.ca", |config| {
        of(config.upstream_tls.as_ref(), |tls| &tls.ca)
    }),
    live("upstream_tls.certificate", |config| {
        let identity = config
            .upstream_tls
            .as_ref()
            .and_then(|tls| tls.identity.as_ref());
        of(identity, |(certificate, _)| certificate)
    }),
    live("upstream_tls.key", |config| {
        let identity = config
            .upstream_tls
            .as_ref()
            .and_then(|tls| tls.identity.as_ref());
        of(identity, |(_, key)| key)
    }),
    live("upstream_tls.server_name", |config| {
        of(config.upstream_tls.as_ref(), |tls| &tls.server_name)
    }),
    live("keys.brand", |config| format!("{:?}", config.keys.brand)),
    live("keys.opaque", |config| config.keys.opaque.to_string()),
    live("keys.separate_codes", |config| {
        config.keys.separate_codes.to_string()
    }),
    Key {
        name: "identity.secret",
        is_live: true,
        read: Read::Hidden(|old, new| old.identity.secret == new.identity.secret),
    },
    live("limits.per_minute", |config| {
        config.limits.per_minute.to_string()
    }),
    live("limits.connections", |config| {
        config.limits.connections.to_string()
    }),
    live("limits.requests", |config| {
        config.limits.requests.to_string()
    }),
    live("limits.idle_upstream", |config| {
        config.limits.idle_upstream.to_string()
    }),
    live("limits.head_max", |config| {
        config.limits.head_max.to_string()
    }),
    live("limits.headers_max", |config| {
        config.limits.headers_max.to_string()
    }),
    live("limits.buffer", |config| config.limits.buffer.to_string()),
    live("limits.streams", |config| config.limits.streams.to_string()),
    live("limits.failed_auth_per_minute", |config| {
        config.limits.failed_auth_per_minute.to_string()
    }),
    live("timeouts.first_byte", |config| {
        shown(config.timeouts.first_byte)
    }),
    live("timeouts.head", |config| shown(config.timeouts.head)),
    live("timeouts.idle", |config| shown(config.timeouts.idle)),
    live("timeouts.body", |config| shown(config.timeouts.body)),
    live("timeouts.write", |config| shown(config.timeouts.write)),
    live("timeouts.request", |config| shown(config.timeouts.request)),
    live("timeouts.connect", |config| shown(config.timeouts.connect)),
    live("timeouts.answer", |config| shown(config.timeouts.answer)),
    live("timeouts.answer_body", |config| {
        shown(config.timeouts.answer_body)
    }),
    live("timeouts.idle_upstream", |config| {
        shown(config.timeouts.idle_upstream)
    }),
    live("health.path", |config| format!("{:?}", config.health.path)),
    live("health.interval", |config| shown(config.health.interval)),
    live("health.timeout", |config| shown(config.health.timeout)),
    live("health.failures", |config| {
        config.health.failures.to_string()
    }),
    live("health.rest", |config| shown(config.health.rest)),
    live("shedding.lateness", |config| {
        shown(config.shedding.lateness)
    }),
    live("shedding.at_once", |config| {
        format!("{:?}", config.shedding.at_once)
    }),
    live("shedding.wait", |config| shown(config.shedding.wait)),
    live("drain.lag", |config| shown(config.drain.lag)),
    live("drain.max", |config| shown(config.drain.max)),
    // Who writes the log has begun.
    fixed("log.format", |config| format!("{:?}", config.log.format)),
    fixed("log.access", |config| config.log.access.to_string()),
    fixed("traces.otlp", |config| {
        config.traces.otlp.clone().unwrap_or_default()
    }),
    fixed("traces.protocol", |config| {
        format!("{:?}", config.traces.protocol)
    }),
    fixed("traces.sampling", |config| {
        config.traces.sampling.to_string()
    }),
    fixed("traces.trust_traceparent", |config| {
        config.traces.trust_traceparent.to_string()
    }),
    live("log.level", |config| format!("{:?}", config.log.level)),
    Key {
        name: "route",
        is_live: true,
        read: Read::Routes,
    },
];

/// What the connections to the service are made of, and what is known of it.
pub(crate) const OF_UPSTREAM: &[&str] = &[
    "upstream",
    "upstream_http2",
    "upstream_tls.",
    "limits.idle_upstream",
    "timeouts.connect",
    "timeouts.answer",
    "timeouts.answer_body",
    "timeouts.idle_upstream",
    "timeouts.write",
    "health.",
];

fn counters(config: &Config) -> Option<&str> {
    config
        .counters
        .as_ref()
        .map(|Store { address, .. }| &**address)
}

fn listed<T: ToString>(all: &[T]) -> String {
    let texts: Vec<String> = all.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

fn of<T, V: std::fmt::Debug>(section: Option<&T>, value: impl Fn(&T) -> &V) -> String {
    section.map_or_else(String::new, |section| format!("{:?}", value(section)))
}

fn shown(duration: std::time::Duration) -> String {
    format!("{duration:?}")
}
