//! Stands in for `vestibule::route` until it lands.
use std::time::Duration;
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum UpstreamKind {
    Deduplicates,
}
#[derive(Debug)]
pub(super) struct Policy;
impl Policy {
    pub(super) fn bytes_allowed(&self) -> u64 {
        0
    }
    pub(super) fn upstream_kind(&self) -> Option<UpstreamKind> {
        let _ = Duration::ZERO;
        Some(UpstreamKind::Deduplicates)
    }
}
