//! When files are worth reading anew: once they have changed, and have settled.

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// What tells the contents of files from others.
pub(super) type Stamp = [u8; 32];

/// What was seen of files at one look after another.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// Of the contents that were taken, or refused, last. Nothing at first: what was read at
    /// the start may be another by now.
    tried: Option<Stamp>,
    /// Of the contents at the last look.
    seen: Option<Stamp>,
    /// Looks since what was tried was refused; none where it was taken.
    refused: Option<u32>,
}

// === impl Follower ===

impl Follower {
    /// Whether to read them now. A content counts when two looks have seen it, for a file
    /// that is being written may be good TOML with half of the routes. What was refused is
    /// tried again now and then: what was missing may stand in no file.
    pub(super) fn saw(&mut self, stamp: Stamp) -> bool {
        let settled = self.seen == Some(stamp);
        self.seen = Some(stamp);
        if let Some(looks) = &mut self.refused {
            *looks += 1;
        }
        let is_due = self.refused.is_some_and(|looks| looks >= AGAIN);
        settled && (self.tried != Some(stamp) || is_due)
    }

    /// What was there when it was read, or something newer, was tried, and taken or not.
    pub(super) fn tried(&mut self, stamp: Stamp, taken: bool) {
        self.tried = Some(stamp);
        self.seen = Some(stamp);
        self.refused = (!taken).then_some(0);
    }
}

/// The stamp of these files. Each is found by its path at every look, so that a link that was
/// turned elsewhere, as Kubernetes does with a volume, shows like any other change.
pub(super) fn stamp(files: &[PathBuf]) -> Stamp {
    let mut digest = Sha256::new();
    for file in files {
        match read(file) {
            Some(content) => {
                digest.update((content.len() as u64).to_be_bytes());
                digest.update(content);
            }
            None => digest.update(u64::MAX.to_be_bytes()),
        }
    }
    digest.finalize().into()
}

fn read(file: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;

    let mut content = Vec::new();
    let opened = std::fs::File::open(file).ok()?;
    opened.take(MOST).read_to_end(&mut content).ok()?;
    Some(content)
}

/// Looks; ten of them take five seconds.
const AGAIN: u32 = 10;

/// Of one file: a configuration is a few kilobytes.
const MOST: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_counts_when_two_looks_have_seen_it() {
        let mut follower = Follower::default();
        follower.tried(of(0), true);
        for (look, want) in [(0, false), (1, false), (2, false), (2, true)] {
            assert_eq!(follower.saw(of(look)), want, "{look}");
        }
        follower.tried(of(2), true);
        assert!(!follower.saw(of(2)), "it was taken");
        assert!(!follower.saw(of(0)));
        assert!(follower.saw(of(0)), "the old one has come back");
    }

    #[test]
    fn what_changed_before_the_first_look_is_not_missed() {
        let mut follower = Follower::default();
        assert!(!follower.saw(of(1)) && follower.saw(of(1)));
    }

    #[test]
    fn what_was_refused_is_tried_again_now_and_then() {
        let mut follower = Follower::default();
        follower.tried(of(1), false);
        let due: Vec<u32> = (1..=AGAIN).filter(|_| follower.saw(of(1))).collect();
        assert_eq!(due, [AGAIN]);
        follower.tried(of(1), false);
        assert!(
            !follower.saw(of(2)) && follower.saw(of(2)),
            "a new one counts at once"
        );
        follower.tried(of(2), true);
        assert!((0..=AGAIN).all(|_| !follower.saw(of(2))));
    }

    #[test]
    fn a_link_that_is_turned_shows_and_a_file_that_is_gone_too() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("one"), "1").unwrap();
        std::fs::write(path("two"), "2").unwrap();
        let link = path("link");
        std::os::unix::fs::symlink("one", &link).unwrap();
        let files = [link.clone()];
        let before = stamp(&files);
        assert_eq!(before, stamp(&files));
        std::os::unix::fs::symlink("two", path("new")).unwrap();
        std::fs::rename(path("new"), &link).unwrap();
        let after = stamp(&files);
        assert_ne!(before, after);
        std::fs::remove_file(link).unwrap();
        assert!(![before, after].contains(&stamp(&files)));
    }

    fn of(content: u8) -> Stamp {
        [content; 32]
    }
}
