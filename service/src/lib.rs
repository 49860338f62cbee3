//! A messaging service that owns Meta's 24-hour window and delivers through the Cloud API.
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
pub mod message;
pub mod recipient;
pub mod store;
pub mod template;
pub mod window;
