//! The vestibule layers as a reverse proxy beside a service.
pub mod config;
mod connection;
mod hop_by_hop;
pub mod upstream;
