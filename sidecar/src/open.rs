//! From the arguments of a key command to the place of the keys.

use std::error::Error;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use vestibule::Store;
use vestibule::api_key::{Pepper, Peppers};
use vestibule::clock::{SystemClock, Timestamp};
use vestibule_sidecar::config::{Config, KeySource};
use vestibule_sidecar::keys::{AdminKeys, KeyFile, Place, Shelf};

use crate::cli::{self, Source};
use crate::drain;
use crate::manage::Desk;

/// Opens the place that was named.
pub(crate) async fn open(place: &cli::Place, now: Timestamp) -> Result<Desk, Box<dyn Error>> {
    let mut desk = Desk {
        place: Place::File(KeyFile::new("")),
        brand: place.brand.clone(),
        opaque: false,
        peppers: peppers(&place.pepper)?,
        now,
    };
    desk.place = match &place.source {
        Source {
            file: Some(file), ..
        } => Place::File(KeyFile::new(file)),
        Source {
            store: Some(address),
            ..
        } => store(address).await?,
        Source {
            admin: Some(socket),
            ..
        } => admin(socket),
        Source {
            config: Some(file), ..
        } => {
            let config = Config::read(file)?;
            let found = configured(&config).await?;
            desk.brand = desk.brand.or(config.keys.brand);
            desk.opaque = config.keys.opaque;
            if place.pepper.is_empty() {
                desk.peppers = config.keys.peppers;
            }
            found
        }
        Source { .. } => {
            return Err("one of --file, --config, --store and --admin is needed".into());
        }
    };
    Ok(desk)
}

async fn configured(config: &Config) -> Result<Place, Box<dyn Error>> {
    match &config.keys.source {
        KeySource::File(file) => Ok(Place::File(KeyFile::new(file))),
        KeySource::Store => match drain::socket(config) {
            // The sidecar that runs has its file to itself.
            Some(socket)
                if config.store.address.starts_with("file:")
                    && UnixStream::connect(socket).is_ok() =>
            {
                Ok(admin(socket))
            }
            _ => store(&config.store.address).await,
        },
        KeySource::None => {
            let config = config.file.display();
            let text = "[keys]: 'source' is missing; expected the path of a key file, or \"store\"";
            Err(format!("{config}: {text}").into())
        }
    }
}

async fn store(address: &str) -> Result<Place, Box<dyn Error>> {
    let store = Store::open(address).await?;
    let name = Store::shown(address);
    let keys = store.keyring(SystemClock::shared());
    let keys = keys.ok_or_else(|| format!("store {name:?}: it keeps no key records"))?;
    Ok(Place::Store(name, keys.into()))
}

fn admin(socket: &Path) -> Place {
    let name = format!("unix:{}", socket.display());
    Place::Store(name, Shelf::Admin(AdminKeys::new(socket)))
}

fn peppers(named: &[(String, PathBuf)]) -> Result<Peppers, Box<dyn Error>> {
    let read = |(id, file): &(String, PathBuf)| -> Result<Pepper, Box<dyn Error>> {
        let at = |fault: &dyn Error| format!("pepper {id}: {}: {fault}", file.display());
        let secret = std::fs::read(file).map_err(|cause| at(&cause))?;
        let pepper = Pepper::new(id.as_str(), secret.trim_ascii_end());
        Ok(pepper.map_err(|weak| at(&weak))?)
    };
    let peppers = named.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok(Peppers::new(peppers))
}
