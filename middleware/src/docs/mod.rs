//! Pages to read before production: one for each layer, and what runs across them.
//!
//! | page | for the question |
//! |---|---|
//! | [`correlation_id`] | which id a request has, and whom to believe about it |
//! | [`route`] | what is asked of a request before anybody works for it |
//! | [`api_key`] | where keys lie, how they change, what a lost key store means |
//! | [`rate_limit`] | what is counted, where, and what passes when the count is lost |
//! | [`idempotency`] | what a client may repeat, and what a handler has to know |
//! | [`identity`] | how a service behind the sidecar knows who is calling |
//! | [`errors`] | how a refusal is written: envelope, RFC 9457, gRPC, a team's own |
//! | [`trusted_proxies`] | which address a client has |
//! | [`sizing`] | how much memory and disk it takes |
//!
//! Numbers of cost stand in none of them: each names the command that prints its own on the
//! machine at hand.

#[doc = include_str!("correlation_id.md")]
pub mod correlation_id {}

#[doc = include_str!("route.md")]
pub mod route {}

#[doc = include_str!("api_key.md")]
pub mod api_key {}

#[doc = include_str!("rate_limit.md")]
pub mod rate_limit {}

#[doc = include_str!("idempotency.md")]
pub mod idempotency {}

#[doc = include_str!("identity.md")]
pub mod identity {}

#[doc = include_str!("errors.md")]
pub mod errors {}

#[doc = include_str!("trusted_proxies.md")]
pub mod trusted_proxies {}

#[doc = include_str!("sizing.md")]
pub mod sizing {}
