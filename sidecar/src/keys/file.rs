//! The key file on disk: read as a sidecar reads it, replaced as a whole, by one command at a time.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use vestibule::api_key::Keys;

use super::fault::Fault;
use super::set::KeySet;

/// A file of key records.
///
/// It is replaced, never written to: whoever reads it sees the keys before a change or
/// those after it. A lock file beside it lets one command change it at a time.
#[derive(Clone, Debug)]
pub struct KeyFile {
    path: PathBuf,
}

/// What to do where there is no file yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Begin one.
    Begin,
    /// Refuse: a misspelt path must not look like a file without keys.
    Refuse,
}

// === impl KeyFile ===

impl KeyFile {
    /// The file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Its path, as it was given.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The keys in it now.
    ///
    /// # Errors
    ///
    /// [`Fault`] names the file, the record, the field, what was found and what is allowed.
    pub fn read(&self) -> Result<KeySet, Fault> {
        Ok(Keys::read(&self.path)?.records().into_iter().collect())
    }

    /// Changes the keys in it, all or nothing.
    ///
    /// The change is on the disk when this returns. The file keeps its mode and owner; a
    /// new one can be read by its owner only. A link is followed, not replaced.
    ///
    /// # Errors
    ///
    /// [`Fault`] where the file cannot be read, locked or written, or the change refuses.
    pub fn change<T>(
        &self,
        missing: Missing,
        change: impl FnOnce(&mut KeySet) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let _lock = lock(&beside(&path, "lock"))?;
        let begin = missing == Missing::Begin && !path.exists();
        let mut keys = if begin {
            KeySet::default()
        } else {
            self.read()?
        };
        let named = |fault: Fault| fault.at(self.path.display());
        let done = change(&mut keys).map_err(named)?;
        replace(&path, &keys).map_err(named)?;
        Ok(done)
    }
}

fn replace(path: &Path, keys: &KeySet) -> Result<(), Fault> {
    let mut text = format!("{:#}", keys.keyring()?.to_json());
    text.push('\n');
    let written = beside(path, "tmp");
    let replaced = write(&written, path, &text)
        .map_err(|cause| Fault::because("the file cannot be written", cause))
        // What a sidecar would not take never takes the place of what it has.
        .and_then(|()| Ok(Keys::read(&written).map(drop)?))
        .and_then(|()| {
            rename(&written, path)
                .map_err(|cause| Fault::because("the file cannot be replaced", cause))
        });
    if replaced.is_err() {
        let _ = fs::remove_file(&written);
    }
    replaced
}

fn write(path: &Path, old: &Path, text: &str) -> io::Result<()> {
    // One that a killed command left behind; the lock says that nobody else writes it.
    let _ = fs::remove_file(path);
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(OWNER_ONLY)
        .open(path)?;
    if let Ok(old) = fs::metadata(old) {
        let new = file.metadata()?;
        if (old.uid(), old.gid()) != (new.uid(), new.gid()) {
            // A sidecar under another user must still be able to read it.
            fchown(&file, Some(old.uid()), Some(old.gid()))?;
        }
        file.set_permissions(old.permissions())?;
    }
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    // The new name is on the disk only when its folder is.
    File::open(folder(to))?.sync_all()
}

/// Waits for the lock, which ends with the command that holds it, killed or not. The file
/// stays: were it removed, two commands could hold locks on two files of one name.
fn lock(path: &Path) -> Result<File, Fault> {
    let fault = |cause| Fault::because(format!("{}: cannot be locked", path.display()), cause);
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    let file = options.mode(OWNER_ONLY).open(path).map_err(fault)?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(cause)) => return Err(fault(cause)),
        }
    }
    let held = "another command has held it for ten seconds; try again when it has ended";
    Err(Fault::new(held).at(path.display()))
}

/// `keys.json.lock` beside `keys.json`: a rename must not leave the file system.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

const OWNER_ONLY: u32 = 0o600;

/// Ten seconds in all: an import of as many keys as a file may hold takes less.
const LOCK_TRIES: u32 = 1000;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use vestibule::api_key::Digest;

    use super::*;
    use vestibule::api_key::KeyRecord;

    #[test]
    fn a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode() {
        let (_folder, file) = place();
        add(&file, 1).unwrap();
        assert_eq!(mode(&file), 0o600);
        fs::set_permissions(file.path(), fs::Permissions::from_mode(0o640)).unwrap();
        add(&file, 2).unwrap();
        assert_eq!(mode(&file), 0o640);
        assert_eq!(file.read().unwrap().iter().count(), 2);
    }

    #[test]
    fn commands_at_once_lose_nothing() {
        let (_folder, file) = place();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = &file;
                scope.spawn(move || add(file, number).unwrap());
            }
        });
        assert_eq!(file.read().unwrap().iter().count(), 8);
    }

    #[test]
    fn a_link_is_followed_and_what_was_left_behind_is_no_obstacle() {
        let (folder, file) = place();
        add(&file, 1).unwrap();
        fs::write(folder.path().join("keys.json.tmp"), "half").unwrap();
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(file.path(), &link).unwrap();
        add(&KeyFile::new(&link), 2).unwrap();
        assert!(link.is_symlink());
        assert_eq!(file.read().unwrap().iter().count(), 2);
        assert!(!folder.path().join("keys.json.tmp").exists());
    }

    #[test]
    fn a_change_that_refuses_leaves_the_file_as_it_was() {
        let (_folder, file) = place();
        add(&file, 1).unwrap();
        let before = fs::read(file.path()).unwrap();
        let path = file.path().display();
        let refused = file.change(Missing::Refuse, |keys| {
            keys.put(record(2));
            Err::<(), _>(Fault::new("no"))
        });
        assert_eq!(refused.unwrap_err().to_string(), format!("{path}: no"));
        let twin = file.change(Missing::Refuse, |keys| {
            let digest = keys.get("key_1")?.digest().clone();
            keys.put(KeyRecord::builder("key_2", "acc_1", digest).build());
            Ok(())
        });
        let said = twin.unwrap_err().to_string();
        assert!(said.contains("are the same key"), "{said}");
        assert_eq!(fs::read(file.path()).unwrap(), before);
    }

    #[test]
    fn a_file_that_is_missing_is_begun_only_where_that_is_meant() {
        let (_folder, file) = place();
        let refused = file.change(Missing::Refuse, |_| Ok(()));
        assert!(refused.is_err() && !file.path().exists());
        file.change(Missing::Begin, |_| Ok(())).unwrap();
        assert_eq!(file.read().unwrap().iter().count(), 0);
    }

    fn place() -> (tempfile::TempDir, KeyFile) {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        (folder, file)
    }

    fn add(file: &KeyFile, number: u8) -> Result<(), Fault> {
        file.change(Missing::Begin, |keys| {
            keys.put(record(number));
            Ok(())
        })
    }

    fn record(number: u8) -> std::sync::Arc<KeyRecord> {
        let digest = Digest::from_parts(None, [number; 32]);
        KeyRecord::builder(format!("key_{number}"), "acc_1", digest).build()
    }

    fn mode(file: &KeyFile) -> u32 {
        fs::metadata(file.path()).unwrap().permissions().mode() & 0o777
    }
}
