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
//! Messaging::open(config).await?.run(listener, std::future::pending()).await;
//! # Ok(()) }
//! ```
//!
//! # Map
//!
//! [`http`] takes requests and webhooks, [`accept`] makes messages of them, [`delivery`]
//! brings those to Meta and brings back what became of them, and [`store`] keeps it all.
//! [`message`], [`recipient`], [`template`] and [`window`] are the domain: plain data and
//! decisions that take the time as an argument.

pub mod accept;
pub mod cloud_api;
pub mod config;
pub mod delivery;
pub mod directory;
pub mod http;
mod listen;
pub mod message;
pub mod recipient;
mod service;
pub mod store;
pub mod template;
pub mod window;

pub use self::config::Config;
pub use self::listen::Listener;
pub use self::service::{Messaging, StartError};
