//! Addresses that open a store, and those that open none.

use super::*;
use crate::idempotency::Records;
use crate::rate_limit::Counters;

#[tokio::test]
async fn an_address_that_opens_nothing_is_told_with_what_it_can_be() {
    let kinds = "there is no such kind of store; it can be \"memory:\", \"file:PATH\", \"redis://HOST\", \
                 \"rediss://HOST\", \"redis+cluster://HOST,HOST\", \"rediss+cluster://HOST,HOST\" or \
                 \"postgres://HOST/DATABASE\"";
    for (address, want) in [
        ("file:", "a path is missing after \"file:\""),
        ("file:?cache=1MB", "a path is missing after \"file:\""),
        (
            "file:a?cash=1MB",
            "it has no option \"cash\"; a file has cache, as in \"file:PATH?cache=32MB\"",
        ),
        (
            "file:a?cache=0MB",
            "its option cache cannot be \"0MB\"; expected 1MB to 1024MB",
        ),
        (
            "file:a?cache=5",
            "its option cache cannot be \"5\"; expected 1MB to 1024MB",
        ),
        ("mongo://db", kinds),
        ("memory:8", kinds),
    ] {
        let fault = Store::open(address).await.unwrap_err();
        assert_eq!(fault.to_string(), format!("store {address:?}: {want}"));
    }
}

#[tokio::test]
async fn a_file_is_opened_once_by_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let address = format!("file:{}", path.display());
    let store = Store::open(&format!("{address}?cache=1MB")).await.unwrap();
    assert!(path.exists(), "its options are no part of its path");
    assert!(Counters::is_local(&store) && !Records::is_local(&store));
    let fault = Store::open(&address).await.unwrap_err().to_string();
    assert!(fault.contains("is in use by another process"), "{fault}");
}

#[tokio::test]
async fn a_fault_names_the_address_without_its_password() {
    for (address, shown) in [
        (
            "redis://user:canary@127.0.0.1:1/x",
            "redis://***@127.0.0.1:1/x",
        ),
        ("redis://:can@ary@127.0.0.1:1", "redis://***@127.0.0.1:1"),
        (
            "postgres://user:canary@127.0.0.1:1/x",
            "postgres://***@127.0.0.1:1/x",
        ),
        (
            "postgres://127.0.0.1:1/x?user=u&password=canary",
            "postgres://127.0.0.1:1/x?***",
        ),
        ("mongo://user:canary@db", "mongo://***@db"),
    ] {
        let fault = Store::open(address).await.unwrap_err();
        let said = format!("{fault} {fault:?}");
        assert!(said.contains(&format!("\"{shown}\"")), "{said}");
        assert!(
            !said.contains("canary") && !said.contains("can@ary"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn only_beside_a_database_can_the_counters_lie_elsewhere() {
    let store = Store::open("memory:").await.unwrap();
    let fault = store.counting_at("redis://127.0.0.1:1").await.unwrap_err();
    let said = fault.to_string();
    assert!(said.contains("it counts by itself"), "{said}");
}

#[test]
fn a_store_over_a_network_is_not_opened_without_waiting() {
    for address in ["redis://h", "rediss+cluster://a,b", "postgres://h/d"] {
        let fault = Store::with_clock(address, SystemClock::shared()).unwrap_err();
        assert!(fault.to_string().contains("without waiting"), "{fault}");
    }
}
