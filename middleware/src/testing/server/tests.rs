//! Servers are what they are said to be, before a test relies on it.

use super::*;

#[test]
fn a_frozen_server_answers_once_it_is_thawed() {
    let server = RedisServer::start(&[]);
    server.freeze();
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.cli(&["PING"]));
        wait_until("it is stopped", || state_of(server.pid()) == "T");
        assert!(!asked.is_finished());
        server.thaw();
        asked.join().unwrap()
    });
    assert_eq!(asked, "PONG");
}

#[test]
fn a_killed_server_is_gone_and_comes_back_empty_on_its_port() {
    let mut server = RedisServer::start(&[]);
    assert_eq!(server.cli(&["SET", "a", "1"]), "OK");
    let first = server.pid();
    server.kill();
    assert_eq!(state_of(first), "");
    let port = server.port();
    server.restart();
    assert_eq!(server.port(), port);
    assert_eq!(server.cli(&["DBSIZE"]), "0");
    let second = server.pid();
    drop(server);
    assert_eq!(state_of(second), "");
}

#[test]
fn a_cluster_fails_over() {
    let mut cluster = RedisCluster::start(3, 1);
    let master = cluster.master_of("k", 0).unwrap();
    cluster.nodes_mut()[master].kill();
    let asked = (master + 1) % 6;
    wait_until("another node is the master", || {
        let other = cluster.master_of("k", asked);
        other.is_some_and(|other| other != master)
    });
}

/// One letter, as the kernel names it; nothing where there is no such process.
fn state_of(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().next());
    state.unwrap_or_default().to_owned()
}
