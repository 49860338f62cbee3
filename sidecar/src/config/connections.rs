//! What is said about connections on either side, out of several sections.

use std::path::Path;

use super::error::ConfigError;
use super::value::{Entry, Section};
use super::{Config, Health, Proxies, Shedding, Target, Tls, UpstreamTls, upgrade};

// === impl Config ===

impl Config {
    /// Reads it, once store and upstreams are known.
    pub(super) fn read_connections(
        &mut self,
        top: &mut Section<'_>,
        folder: &Path,
    ) -> Result<(), ConfigError> {
        if let Some(entry) = top.take("upgrade_sock") {
            self.upgrade_sock = Some(upgrade::parse(entry, folder, &self.store)?);
        }
        self.proxies = Proxies::parse(top)?;
        self.tls = Tls::parse(top.section("tls", "[tls]")?, folder)?;
        if let Some(entry) = top.take("upstream_http2") {
            self.upstream_http2 = Some(entry.flag()?);
        }
        self.shedding = Shedding::parse(top.section("shedding", "[shedding]")?)?;
        let is_list = !self.more_upstreams.is_empty();
        self.health = Health::parse(top.section("health", "[health]")?, is_list)?;
        let is_https = |target| matches!(target, &Target::Tls(_));
        let is_https = is_https(&self.upstream) || self.more_upstreams.iter().any(is_https);
        let section = top.section("upstream_tls", "[upstream_tls]")?;
        self.upstream_tls = UpstreamTls::parse(section, folder, is_https)?;
        Ok(())
    }
}

/// One service or a list of them: the first, and the others.
pub(super) fn upstreams(entry: Entry<'_>) -> Result<(Target, Vec<Target>), ConfigError> {
    let texts = entry.strings(|text| Target::parse(text).is_ok(), Target::WANTED)?;
    let mut targets = texts.iter().filter_map(|text| Target::parse(text).ok());
    let first = targets.next().expect("a list has one at least");
    Ok((first, targets.collect()))
}
