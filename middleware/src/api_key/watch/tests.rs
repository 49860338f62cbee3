//! Files that are rewritten, renamed, re-linked, broken and removed.

use std::fs::rename;
use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::api_key::{ApiKey, KeyRecord, Keyring as _, Keys, Peppers};
use crate::entropy::SystemEntropy;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_change_holds_within_a_second_however_it_was_made() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, file("written")).unwrap();
    let keys = Keys::watch(&path).unwrap();
    assert!(keys.get("written").is_some());

    fs::write(&path, file("rewritten")).unwrap();
    until(&keys, "rewritten").await;

    let beside = folder.path().join("beside");
    fs::write(&beside, file("renamed")).unwrap();
    rename(&beside, &path).unwrap();
    until(&keys, "renamed").await;
}

#[tokio::test(start_paused = true)]
async fn a_link_that_is_turned_elsewhere_is_a_change() {
    // As Kubernetes does it: keys.json -> ..data/keys.json, ..data -> ..1 or ..2.
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    for (version, id) in [("..1", "first"), ("..2", "other")] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("keys.json"), file(id)).unwrap();
    }
    symlink("..1", at("..data")).unwrap();
    symlink("..data/keys.json", at("keys.json")).unwrap();
    let keys = Keys::watch(at("keys.json")).unwrap();
    until(&keys, "first").await;

    symlink("..2", at("..data_tmp")).unwrap();
    rename(at("..data_tmp"), at("..data")).unwrap();
    until(&keys, "other").await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_file_leaves_the_last_good_keys() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, file("good")).unwrap();
    let keys = Keys::watch(&path).unwrap();
    for bad in ["", "{\"version\":1", "{\"version\":1,\"keys\":[{}]}"] {
        fs::write(&path, bad).unwrap();
        sleep(3 * PERIOD).await;
        assert!(keys.get("good").is_some(), "{bad}");
        assert!(keys.age() > PERIOD, "what is served is known to be old");
    }
    fs::remove_file(&path).unwrap();
    sleep(3 * PERIOD).await;
    assert!(keys.get("good").is_some(), "no file");
    fs::write(&path, file("better")).unwrap();
    until(&keys, "better").await;
}

#[test]
fn a_bad_file_at_the_start_is_named_with_what_is_wrong_in_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.json");
    let said = || {
        let said = Keys::read(&path).unwrap_err().to_string();
        said.replace(&path.display().to_string(), "keys.json")
    };
    assert!(
        said().starts_with("keys.json: cannot be read: "),
        "{}",
        said()
    );
    for (content, want) in [
        (
            "{\n\"version\"; 1}",
            "keys.json: not JSON: expected `:` at line 2 column 10",
        ),
        (
            "{\"version\": 1, \"keys\": [{\"id\": 7}]}",
            "keys.json: keys[0].id: found 7, allowed is a text",
        ),
    ] {
        fs::write(&path, content).unwrap();
        assert_eq!(said(), want);
    }
}

#[tokio::test(start_paused = true)]
async fn watching_ends_with_the_last_clone() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.json");
    fs::write(&path, file("a")).unwrap();
    let keys = Keys::watch(&path).unwrap();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let (clone, before) = (keys.clone(), tasks());
    drop(keys);
    sleep(2 * PERIOD).await;
    assert_eq!(tasks(), before, "a clone still watches");
    drop(clone);
    sleep(2 * PERIOD).await;
    assert_eq!(tasks(), before - 1);
}

#[test]
fn a_second_write_within_one_tick_of_the_clock_is_seen() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keys.json");
    let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let write = |content: &str| {
        fs::write(&path, content).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(moment)
            .unwrap();
    };
    let mut follower = Follower::new(path.clone());
    write("one");
    assert_eq!(follower.changed().unwrap().as_deref(), Some(&b"one"[..]));
    write("two");
    assert_eq!(follower.changed().unwrap().as_deref(), Some(&b"two"[..]));
    assert_eq!(follower.changed().unwrap(), None);
}

/// Bounded by what the documentation promises, in paused time.
async fn until(keys: &Keys, id: &str) {
    let start = Instant::now();
    while keys.get(id).is_none() {
        assert!(start.elapsed() <= Duration::from_secs(1), "{id} is late");
        sleep(Duration::from_millis(50)).await;
    }
}

fn file(id: &str) -> String {
    let key = ApiKey::mint("mk", "live", &SystemEntropy);
    let record = KeyRecord::of(&key, &Peppers::none(), id, "acc").build();
    Keys::new([record]).unwrap().to_json().to_string()
}
