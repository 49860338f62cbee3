//! A messaging service that owns Meta's 24-hour window and delivers through the Cloud API.
//!
//! # Example
//!
//! ```no_run
//! use std::path::Path;
//! use vestibule_messaging::{Config, Listener, Messaging};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::read(Path::new("messaging.toml"))?;
//! let listener = Listener::bind(&config.listen).await?;
//! let messaging = Messaging::open(config).await?;
//! let admin = messaging.bind_admin().await?;
//! messaging.run(listener, admin, std::future::pending()).await;
//! # Ok(()) }
//! ```
//!
//! # Map
//!
//! [`http`] takes requests and webhooks, [`accept`] makes messages of them, [`delivery`]
//! brings those to Meta and brings back what became of them, and [`store`] keeps it all.
//! [`message`], [`recipient`], [`template`] and [`window`] are the domain: plain data and
//! decisions that take the time as an argument. [`cli`] is the operator's side.
//!
//! # The life of a message
//!
//! 1. [`accept`] judges the window and inserts; only then the answer is 202. The correlation
//!    id and the trace of the request are kept with the message.
//! 2. A worker takes what is due: nothing holds its number, account, app or token; number and
//!    customer have room (their pace is in the store, so that replicas share it); the window
//!    is still open. The attempt and its token are written, under a lease, before anything
//!    connects.
//! 3. What came of it is judged by the table of Meta's codes and written in one step. Proof
//!    that nothing was sent: again, soon. A refusal of one message: failed, or again later. A
//!    refusal of more: a hold, lifted by a probe that passes. No proof: uncertain, and never
//!    sent again unless its sender prefers twice to never.
//! 4. Webhooks are appended before they are acknowledged and worked off afterwards, each
//!    update for itself. A status finds its attempt by the token that Meta carries back, or by
//!    Meta's id, or waits until somebody knows it.
//! 5. An attempt that nobody confirmed is given up by a clock that stands still while webhooks
//!    are not taken in. A late status corrects even that.
//!
//! What remains of a message after `keep_content_days`: its id, its owner, its state, its times
//! and the request that caused it. What it said, to whom, and Meta's ids, which spell out phone
//! numbers, are gone; windows and names of customers go as long after they were last opened.

pub mod accept;
mod admin;
pub mod cli;
pub mod cloud_api;
pub mod config;
pub mod delivery;
pub mod directory;
pub mod http;
mod listen;
pub mod message;
pub mod metrics;
pub mod recipient;
mod service;
pub mod store;
pub mod template;
pub mod window;

pub use self::config::Config;
pub use self::listen::Listener;
pub use self::service::{Messaging, StartError};
