//! The vestibule layers as a reverse proxy beside a service.
pub mod config;
mod connection;
