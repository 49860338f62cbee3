//! Over TLS, and with no more permissions than it needs.

use std::fs;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use super::*;
use crate::api_key::{Digest, KeyChange, KeyStore as _, Keyring as _};

#[tokio::test]
async fn a_server_is_spoken_to_over_tls_where_its_certificate_is_signed_by_whom_we_trust() {
    let (trusted, stranger) = (Authority::new(), Authority::new());
    let server = RedisServer::start(&trusted.arguments());
    let port = server.argument("--tls-port").unwrap();
    let store = |authority: &Path| {
        let address = format!("rediss://127.0.0.1:{port}/?ca={}", authority.display());
        async move { Store::open(&address).await }
    };
    takes_every_step(&store(&trusted.certificate()).await.unwrap()).await;
    for (address, said) in [
        (format!("rediss://127.0.0.1:{port}"), "UnknownIssuer"),
        (
            format!(
                "rediss://localhost:{port}/?ca={}",
                trusted.certificate().display()
            ),
            "not valid for name",
        ),
        (
            format!(
                "rediss://127.0.0.1:{port}/?ca={}",
                stranger.certificate().display()
            ),
            "invalid peer certificate",
        ),
        (
            format!(
                "rediss://127.0.0.1:{}/?ca={}",
                server.port(),
                trusted.certificate().display()
            ),
            "it cannot be reached",
        ),
    ] {
        let fault = Store::open(&address).await.unwrap_err().to_string();
        assert!(fault.contains(said), "{address}: {fault}");
    }
}

#[tokio::test]
async fn a_cluster_is_spoken_to_over_tls() {
    let authority = Authority::new();
    // Otherwise its nodes tell only of ports without TLS.
    let arguments = [&authority.arguments()[..], &["--tls-cluster", "yes"]].concat();
    let cluster = RedisCluster::start_with(3, 0, &arguments);
    let port = cluster.nodes()[0].argument("--tls-port").unwrap();
    let file = authority.certificate();
    let address = format!("rediss+cluster://127.0.0.1:{port}/?ca={}", file.display());
    let store = Store::open(&address).await.unwrap();
    for family in 0..20 {
        assert!(executes(&store, &attempt_of(&family.to_string(), "k", 1)).await);
    }
    let stats = cluster.nodes()[0].cli(&["INFO", "commandstats"]);
    assert!(stats.contains("cmdstat_evalsha"), "{stats}");
}

#[tokio::test]
async fn a_user_of_a_cluster_needs_no_more_than_is_documented() {
    let cluster = shared(&CLUSTER, || RedisCluster::start(3, 0));
    let rule = [&documented()[..], &["+cluster|slots", "+asking"]].concat();
    for node in cluster.nodes() {
        assert_eq!(node.cli(&rule), "OK");
    }
    let named = cluster.nodes()[0].socket();
    let address = format!("redis+cluster://vestibule:password@{named}");
    let store = Store::open(&address).await.unwrap();
    for family in 0..20 {
        let attempt = attempt_of(&format!("user{family}"), "k", 1);
        assert!(executes(&store, &attempt).await);
    }
}

#[tokio::test]
async fn a_user_needs_no_more_than_is_documented() {
    let server = RedisServer::start(&[]);
    assert_eq!(server.cli(&documented()), "OK");
    let address = format!("redis://vestibule:password@127.0.0.1:{}", server.port());
    let store = Store::open(&address).await.unwrap();
    takes_every_step(&store).await;
    run_as(&server, &["SCRIPT", "FLUSH"], "NOPERM");
    run_as(&server, &["KEYS", "*"], "NOPERM");
    run_as(&server, &["FLUSHALL"], "NOPERM");
    run_as(&server, &["CONFIG", "GET", "*"], "NOPERM");
    run_as(&server, &["GET", "other"], "NOPERM");
    run_as(&server, &["GET", "vestibule:none"], "");
    let waiting = store.clone().confirmed_by(1, Duration::from_millis(1));
    waiting.claim(&attempt("waits", 1)).await.unwrap_err();
    assert_eq!(server.cli(&["ACL", "SETUSER", "vestibule", "+wait"]), "OK");
    let replica = replica_of(&server);
    let waiting = store.confirmed_by(1, Duration::from_secs(9));
    assert!(executes(&waiting, &attempt("waited", 1)).await);
    drop(replica);
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_without_its_password() {
    let server = RedisServer::start(&["--requirepass", "right"]);
    for (user, said) in [
        ("", "NOAUTH"),
        (":canary@", "WRONGPASS"),
        ("who:canary@", "WRONGPASS"),
    ] {
        let address = format!("redis://{user}127.0.0.1:{}", server.port());
        let fault = Store::open(&address).await.unwrap_err();
        let (shown, all) = (fault.to_string(), format!("{fault:?}"));
        assert!(
            shown.contains(said) || all.contains("AuthenticationFailed"),
            "{shown} {all}"
        );
        assert!(!all.contains("canary"), "{all}");
    }
    let address = format!("redis://:right@127.0.0.1:{}", server.port());
    takes_every_step(&Store::open(&address).await.unwrap()).await;
}

/// What makes such a user.
fn documented() -> Vec<&'static str> {
    let mut lines = include_str!("../operation.md").lines();
    let rule = lines.find(|line| line.starts_with("ACL SETUSER "));
    rule.unwrap().split(' ').collect()
}

async fn takes_every_step(store: &Store) {
    let (caller, quota) = (Caller::new("live", "family"), Quota::per_minute(5));
    assert!(store.hit(&caller, &quota).await.unwrap().allowed);
    assert!(
        store
            .hit(&caller, &quota.with_burst(2))
            .await
            .unwrap()
            .allowed
    );
    let [first, second] = ["first", "second"].map(|key| attempt(key, 1));
    assert!(executes(store, &first).await);
    assert!(store.renew(&first.owner, LEASE).await.unwrap());
    assert!(
        store
            .finish(&first.owner, &done(b"kept"), LEASE)
            .await
            .unwrap()
    );
    let again = store.claim(&attempt("first", 2)).await.unwrap();
    assert!(matches!(again, Decision::Replay(_)), "{again:?}");
    let (charge, claim) = store.admit(&caller, &quota, None, &second).await;
    assert!(charge.unwrap().verdict().is_some());
    assert!(
        matches!(claim, Some(Ok(Decision::Execute { .. }))),
        "{claim:?}"
    );
    assert!(store.release(&second.owner).await.unwrap());
    manages_keys(store).await;
}

async fn manages_keys(store: &Store) {
    let keys = store.keyring();
    let digest = Digest::from_parts(None, [9; 32]);
    let record = KeyRecord::builder("key", "account", digest.clone()).build();
    let change = KeyChange::create(record);
    keys.write(std::slice::from_ref(&change)).await.unwrap();
    keys.touch(&[("key".into(), Timestamp::EPOCH + LEASE)])
        .await
        .unwrap();
    let found = keys.find(&digest).await.unwrap().unwrap();
    assert_eq!(found.last_used(), Some(Timestamp::EPOCH + LEASE));
    assert_eq!(keys.page("", 9).await.unwrap().len(), 1);
    let who = found.principal();
    let current = who.tracked_version().unwrap();
    let quota = Quota::per_minute(5);
    let charged = store.hit_current(who.caller(), &quota, current).await;
    assert!(matches!(charged.unwrap(), Charge::Judged(_)));
}

/// As that user.
fn run_as(server: &RedisServer, words: &[&str], said: &str) {
    let user = [
        "--no-auth-warning",
        "--user",
        "vestibule",
        "--pass",
        "password",
    ];
    let reply = server.cli(&[&user, words].concat());
    assert!(reply.starts_with(said), "{words:?}: {reply}");
}

/// One that signs certificates, and the certificate of a server that it has signed.
struct Authority {
    folder: TempDir,
    arguments: Vec<String>,
}

// === impl Authority ===

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // By default it has the name of the server, and OpenSSL takes each for the other.
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let server = server.signed_by(&key, &issuer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut arguments = [
            "--tls-port",
            RedisServer::FREE_PORT,
            "--tls-auth-clients",
            "no",
        ]
        .map(String::from)
        .to_vec();
        for (option, name, text) in [
            ("--tls-ca-cert-file", "ca.pem", own.pem()),
            ("--tls-cert-file", "server.pem", server.pem()),
            ("--tls-key-file", "server.key", key.serialize_pem()),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            arguments.extend([option.to_owned(), path.display().to_string()]);
        }
        Self { folder, arguments }
    }

    fn arguments(&self) -> Vec<&str> {
        self.arguments.iter().map(String::as_str).collect()
    }

    fn certificate(&self) -> std::path::PathBuf {
        self.folder.path().join("ca.pem")
    }
}
