//! Every table of the configuration, and the keys at its top.

use super::super::{
    Drain, Health, Identity, Keys, Limits, Log, Route, Shedding, Timeouts, Tls, Traces, UpstreamTls,
};
use super::{Kind, Room, Row};

/// The first has the keys at the top; a room comes after the one around it.
pub(super) const ROOMS: &[Room] = &[
    Room::one("", "", TOP),
    Room::one(
        "tls",
        "TLS for clients; without it connections are not encrypted.",
        Tls::ROWS,
    ),
    Room::one(
        "upstream_tls",
        "How an https:// upstream is known, and how it knows this sidecar.",
        UpstreamTls::ROWS,
    ),
    Room::one("keys", "Whose API keys are taken.", Keys::ROWS),
    Room::many(
        "keys.pepper",
        "What goes into the digests of keys, the newest first.",
        Keys::PEPPER,
    ),
    Room::one(
        "identity",
        "The secret with which the service is told who is calling. Without one it is told nothing.",
        Identity::ROWS,
    ),
    Room::one(
        "limits",
        "What one sidecar holds at a time, and what one request may bring.",
        Limits::ROWS,
    ),
    Room::one(
        "timeouts",
        "How long each side may keep the other waiting.",
        Timeouts::ROWS,
    ),
    Room::one(
        "health",
        "How the services of a list are watched.",
        Health::ROWS,
    ),
    Room::one(
        "shedding",
        "What is refused so that the rest is answered in time.",
        Shedding::ROWS,
    ),
    Room::one("drain", "How the process ends on SIGTERM.", Drain::ROWS),
    Room::one(
        "log",
        "What is written about the process and its requests, and how.",
        Log::ROWS,
    ),
    Room::one(
        "traces",
        "Where spans of requests are sent, in OTLP, and of how many.",
        Traces::ROWS,
    ),
    Room::many(
        "route",
        "What is asked of the requests to one path. What matches none is authenticated, then answered 404.",
        Route::ROWS,
    ),
];

const TOP: &[Row] = &[
    Row::must(
        "listen",
        Kind::Like(ADDRESS, "0.0.0.0:8080"),
        "Where clients connect.",
    ),
    Row::must(
        "upstream",
        Kind::Several(TARGET, "127.0.0.1:9000"),
        "The service behind the sidecar, or a list of them.",
    ),
    Row::may(
        "store",
        Kind::Text,
        "Where counters and records are kept: file:PATH, redis://HOST, rediss://, redis+cluster://, postgres://HOST/DATABASE or memory:. By default vestibule.redb beside the configuration.",
    ),
    Row::may(
        "counters",
        Kind::Text,
        "Where requests are counted, if not in the store: a redis:// beside a postgres:// store.",
    ),
    Row::may(
        "replicas",
        Kind::Whole(1, 10_000),
        "How many sidecars at most have this configuration at a time; 1 by default. More than one need a store that they share.",
    ),
    Row::may(
        "admin",
        Kind::Several(ADDRESS, "127.0.0.1:9090"),
        "Health, readiness and metrics, on at most 8 addresses; commands too on a Unix socket. None by default.",
    ),
    Row::may(
        "upgrade_sock",
        Kind::Text,
        "The path of a Unix socket on which the listening sockets are handed over to a process with --upgrade. None by default.",
    ),
    Row::may(
        "error_format",
        Kind::Word(&["envelope", "problem", "grpc"]),
        "How refusals are written: the contract's envelope, by default, RFC 9457, or for gRPC calls a status of gRPC.",
    ),
    Row::may(
        "threads",
        Kind::Whole(1, 1024),
        "Workers of the listener; by default one for each processor that the process may use.",
    ),
    Row::may(
        "http2",
        Kind::Flag,
        "Whether HTTP/2 is taken beside HTTP/1.1; true by default.",
    ),
    Row::may(
        "upstream_http2",
        Kind::Flag,
        "Whether HTTP/2 is spoken to the service; by default what an https:// one prefers, and HTTP/1.1 otherwise.",
    ),
    Row::may(
        "trusted_proxies",
        Kind::Several(NETWORK, "10.0.0.0/8"),
        "Networks, addresses, or unix: who is believed when it says who is calling. Nobody by default.",
    ),
    Row::may(
        "trusted_field",
        Kind::Word(&["x-forwarded-for", "forwarded"]),
        "The field in which trusted proxies say so; x-forwarded-for by default.",
    ),
];

const ADDRESS: &str = "^(unix:/.*|.*:[0-9]+)$";
const TARGET: &str = "^(unix:/.*|(https?://)?[^/@]+:[0-9]+/?)$";
const NETWORK: &str = "^(unix|[0-9A-Fa-f:.]+(/[0-9]+)?)$";
