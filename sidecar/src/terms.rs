//! What a connection is served by, as the configuration says.

use std::sync::Arc;

use crate::config::{Config, ConfigError};
use crate::connection::Http;
use crate::connection::tls::{self, Certificates};
use crate::gauges::Gauges;
use crate::reload::difference::Difference;
use crate::tls::{Fresh, Reloads};

/// What a connection is served by; one that is open keeps those it began with.
#[derive(Debug)]
pub(crate) struct Terms {
    pub(crate) http: Http,
    /// Connections at a time.
    pub(crate) most: usize,
    certificates: Option<Arc<Certificates>>,
}

// === impl Terms ===

impl Terms {
    /// Those of clients; it reads the certificates, and counts how often that is done anew.
    pub(crate) fn new(config: &Config, reloads: &Reloads) -> Result<Self, ConfigError> {
        Ok(Self::with(config, certificates(config, reloads)?))
    }

    /// Those of whoever asks for health or gives commands.
    pub(crate) fn of_admin(config: &Config) -> Self {
        Self::with(config, None)
    }

    /// The same by another configuration: certificates are read anew where others are named.
    pub(crate) fn renewed(
        &self,
        config: &Config,
        difference: &Difference,
        reloads: &Reloads,
    ) -> Result<Self, ConfigError> {
        if difference.touches(&["tls.", "http2"]) {
            return Self::new(config, reloads);
        }
        Ok(Self::with(config, self.certificates.clone()))
    }

    /// Looks for new files of the certificates, for as long as these terms are in use, and
    /// shows when the newest ends. Must be called inside a runtime.
    pub(crate) fn watch(&self, gauges: &Gauges) {
        let Some(certificates) = &self.certificates else {
            return;
        };
        tokio::spawn(Fresh::watch(Arc::downgrade(certificates)));
        let shown = Arc::clone(certificates);
        gauges.show(
            "vestibule_certificate_expiry_timestamp_seconds",
            "When the certificate ends that clients are shown; 0 where that cannot be read.",
            move || {
                let ends = shown.current().ends;
                ends.map_or(0.0, |ends| ends.as_unix_seconds() as f64)
            },
        );
    }

    /// Whether those of another are read from the same files.
    pub(crate) fn shows_what(&self, other: &Self) -> bool {
        match (&self.certificates, &other.certificates) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }

    fn with(config: &Config, certificates: Option<Arc<Certificates>>) -> Self {
        Self {
            http: Http::new(config).encrypted(certificates.clone()),
            most: config.limits.connections,
            certificates,
        }
    }
}

fn certificates(
    config: &Config,
    reloads: &Reloads,
) -> Result<Option<Arc<Certificates>>, ConfigError> {
    let Some(section) = &config.tls else {
        return Ok(None);
    };
    let read = tls::read(section, config.http2, reloads);
    read.map(Some)
        .map_err(|fault| ConfigError::at(&section.place, format!("[tls] {fault}")))
}
