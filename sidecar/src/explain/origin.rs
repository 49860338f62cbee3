//! The stack of a configuration, opened to be asked and not to serve.

use std::path::Path;

use vestibule::Store;
use vestibule::api_key::Keys;
use vestibule::clock::SystemClock;
use vestibule::entropy::SystemEntropy;

use super::Explainer;
use crate::config::{Config, KeySource};
use crate::stack::{self, Sources};
use crate::start::StartError;

/// Opens the stores of a configuration, and explains by its stack.
///
/// A file that is not there is not made: nothing has been counted or kept, and no key either.
///
/// # Errors
///
/// [`StartError`] where a sidecar with this configuration would not start, or where the
/// process that runs has the file of its store to itself.
pub async fn open(config: &Config) -> Result<Explainer, StartError> {
    let sources = Sources {
        clock: SystemClock::shared(),
        entropy: SystemEntropy::shared(),
    };
    let address = &config.store.address;
    let path = address
        .strip_prefix("file:")
        .map(|rest| rest.split_once('?').map_or(rest, |(path, _)| path));
    let (store, keys) = match path {
        Some(path) if !Path::new(path).exists() => {
            let store = Store::Memory(vestibule::memory::Store::new(SystemClock::shared()));
            let keys = match &config.keys.source {
                KeySource::Store => Keys::new([])?.into(),
                _ => stack::keyring(config, &store, &sources)?,
            };
            (store, keys)
        }
        _ => {
            let store = stack::store(config, &sources).await?;
            let keys = stack::keyring(config, &store, &sources)?;
            (store, keys)
        }
    };
    let api = stack::builder(config, &sources, store, keys).build();
    Ok(Explainer::of(
        api.map_err(|fault| stack::unfit(config, &fault))?,
    ))
}
