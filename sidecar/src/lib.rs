//! The vestibule layers as a reverse proxy beside a service, on pingora's process.
//!
//! `vestibule serve --config FILE` is this crate with nothing added. A team that has tower
//! layers of its own puts them around the same stack, in a binary of its own:
//!
//! ```no_run
//! use tower_http::catch_panic::CatchPanicLayer;
//! use vestibule_sidecar::Sidecar;
//! use vestibule_sidecar::config::Config;
//!
//! let config = Config::read("vestibule.toml")?;
//! Sidecar::new(config).layer(CatchPanicLayer::new()).run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # From the outside in
//!
//! | part | does |
//! |---|---|
//! | pingora | owns the process: listeners and runtimes |
//! | rustls | encrypts clients' connections, where there is a [`tls`](config::Tls) section |
//! | hyper | HTTP/1.1 and HTTP/2 on each connection, with a bound on every wait |
//! | [`Observe`] | counts requests, and writes a line of each when it is over |
//! | [`Sidecar::layer`] | a team's own layers |
//! | [`Guard`] | refuses a share while the process is late with everything, and lets an address wait that keeps failing to authenticate |
//! | the layers of `vestibule` | correlation id, API key, rate limit, idempotency |
//! | [`Sidecar::inner_layer`] | a team's own layers, for what was let pass |
//! | the assertion | tells the service who is calling, in place of the API key |
//! | [`upstream::Upstream`] | proxies to the service, or to those of several that are well, over pingora's connector: HTTP/1.1 or HTTP/2, encrypted or not |
//!
//! # Who is calling
//!
//! The [`ClientAddress`] in the extensions of a request is the other end of its connection,
//! unless that is one of the [`trusted_proxies`](config::Proxies): then it is the last address
//! of `X-Forwarded-For` that is none of them. The service is told in `X-Forwarded-For`,
//! `X-Forwarded-Proto` and `X-Forwarded-Host`. What somebody says there who is not trusted is
//! replaced.
//!
//! # What outlasts it
//!
//! Counters and records are in a file, `vestibule.redb` beside the configuration unless
//! [`store`](config::Store) names another or another kind of store. One process at a time
//! has it open. A response is in it before a client sees it, so a restart or a crash
//! forgets none; a crash forgets what was counted within its last second.
//!
//! # Another configuration
//!
//! On SIGHUP, and when the file or a secret that it names has changed, the configuration is
//! read anew and takes the place of the one in force, as a whole or not at all. Requests that
//! are under way end as they began; the next one of each connection goes by the new one.
//! What is counted, kept, begun and held in memory lasts, and counts by the new limits. Where
//! something is wrong, or a key needs a restart (`listen`, `admin`, `store`, `counters`,
//! `threads`, `upgrade_sock`, `keys.source`, whether there is `[tls]`, a pepper that is gone),
//! the log says each and nothing changes. The log names the keys that are others. A change of
//! a file counts when two looks, half a second apart, have seen it. Certificates and the key
//! file are watched by themselves.
//!
//! `vestibule_config_last_reload_successful` says whether what was read last is in force.
//!
//! # The end
//!
//! On SIGTERM readiness goes off, connections are taken for `drain.lag` more, and the
//! process ends as soon as nothing is under way, detached work included, or after
//! `drain.max`. Meanwhile each connection ends with an answer that says so.
//!
//! `vestibule serve --upgrade` takes the listening sockets over from the process that runs,
//! which ends once the new one serves. It needs an
//! [`upgrade_sock`](config::Config::upgrade_sock), and a store that two processes share.

mod admin;
pub mod config;
mod connection;
pub mod explain;
mod failures;
mod forwarded;
mod gate;
mod gauges;
mod guard;
mod handover;
mod hop_by_hop;
pub mod keys;
mod lateness;
mod lifecycle;
mod listen;
pub mod log;
mod network;
mod newest;
mod reload;
mod shown;
mod sidecar;
mod socket;
mod socket_client;
mod sockets;
mod stack;
mod standing;
mod start;
mod telemetry;
mod terms;
mod tls;
pub mod upstream;
mod validity;

pub use self::connection::Peer;
pub use self::forwarded::ClientAddress;
pub use self::guard::Guard;
pub use self::network::Network;
pub use self::sidecar::{Running, Sidecar};
pub use self::stack::{Core, Proxy};
pub use self::start::StartError;
pub use self::telemetry::{Observe, ObserveFuture, Observed};
