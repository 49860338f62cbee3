//! Following a file: what is read, how often, and what counts as a change.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};
use tokio::time::MissedTickBehavior;

use super::keys::KeysError;

/// What a look at a file found.
pub(super) enum Look<'a> {
    /// Another content.
    Changed(&'a [u8]),
    /// The content that was taken last.
    Same,
}

/// Tells `apply` what is found in a file, until it is dropped.
///
/// What cannot be read or taken is logged once, not at each look.
pub(super) async fn follow<F>(path: PathBuf, apply: F)
where
    F: Fn(Look<'_>) -> Result<(), KeysError> + Send + Sync + 'static,
{
    let apply = Arc::new(apply);
    let mut follower = Follower::new(path);
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let apply = Arc::clone(&apply);
        let looked = tokio::task::spawn_blocking(move || {
            follower.look(&*apply);
            follower
        });
        match looked.await {
            Ok(back) => follower = back,
            // The runtime is going down, and the watching with it.
            Err(_) => return,
        }
    }
}

/// The content of a file, up to the cap.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > MAX_BYTES {
        return Err(io::Error::other("it is over 64 MiB"));
    }
    Ok(content)
}

/// What was last seen of the file.
struct Follower {
    path: PathBuf,
    stamp: Option<Stamp>,
    content: Option<[u8; 32]>,
    /// Looks for which the content is compared although the stamp is the same.
    unsettled: u32,
    unreadable: bool,
    /// The last content was not taken.
    refused: bool,
}

/// What tells cheaply that a file is another one or was written to. Links are followed,
/// so a link that was turned elsewhere shows too.
#[derive(PartialEq, Eq)]
struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    inode: Option<(u64, u64)>,
}

// === impl Follower ===

impl Follower {
    fn new(path: PathBuf) -> Self {
        Self {
            path,
            stamp: None,
            content: None,
            unsettled: 0,
            unreadable: false,
            refused: false,
        }
    }

    fn look(&mut self, apply: &dyn Fn(Look<'_>) -> Result<(), KeysError>) {
        match self.changed() {
            Ok(Some(content)) => self.take(&content, apply),
            Ok(None) => {
                self.unreadable = false;
                if !self.refused {
                    let _nothing_to_refuse = apply(Look::Same);
                }
            }
            Err(error) if !self.unreadable => {
                self.unreadable = true;
                tracing::warn!(path = %self.path.display(), %error, "the key file cannot be read; the last good keys hold on");
            }
            Err(_) => {}
        }
    }

    fn take(&mut self, content: &[u8], apply: &dyn Fn(Look<'_>) -> Result<(), KeysError>) {
        self.unreadable = false;
        let taken = apply(Look::Changed(content));
        self.refused = taken.is_err();
        match taken {
            Ok(()) => tracing::info!(path = %self.path.display(), "the key file was taken"),
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "the key file is not taken; the last good keys hold on");
            }
        }
    }

    /// The content, where it is another one than at the last look.
    fn changed(&mut self) -> io::Result<Option<Vec<u8>>> {
        let stamp = Stamp::of(&fs::metadata(&self.path)?);
        if self.stamp.as_ref() == Some(&stamp) {
            if self.unsettled == 0 {
                return Ok(None);
            }
            self.unsettled -= 1;
        } else {
            self.unsettled = SETTLING;
        }
        let content = read(&self.path)?;
        self.stamp = Some(stamp);
        let digest = Some(Sha256::digest(&content).into());
        if self.content == digest {
            return Ok(None);
        }
        self.content = digest;
        Ok(Some(content))
    }
}

// === impl Stamp ===

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            len: metadata.len(),
            modified: metadata.modified().ok(),
            inode: inode(metadata),
        }
    }
}

#[cfg(unix)]
fn inode(metadata: &Metadata) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt as _;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
const fn inode(_: &Metadata) -> Option<(u64, u64)> {
    None
}

/// A change must hold within one second; half of it is left for reading.
const PERIOD: Duration = Duration::from_millis(500);

/// Two writes within one tick of a file system's clock may leave one stamp. The coarsest
/// clock in use ticks every two seconds, so for that long the content is compared.
const SETTLING: u32 = 5;

/// Some 100,000 records: a bound on memory, not on customers.
const MAX_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;
