//! The sidecar at the end of its memory: the shipped limits, under more than they let in.

use std::time::Duration;

use harness::{Answer, Draft, Wire};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::play::{Played, SIDECAR, SIDECAR_ADMIN};
use super::podman::told;
use super::running::Caller;

#[tokio::test]
async fn the_sidecar_lives_within_its_memory() {
    let pod = Played::start().await;
    let caller = Caller::new(&pod);
    assert_eq!(
        pod.inspect("vestibule", "{{.HostConfig.Memory}}"),
        (64 << 20).to_string()
    );
    let first = pod.pid("vestibule");
    let memory = Memory::of(first);
    told(&format!("the sidecar begins with {}", memory.told()));

    // Bodies that are held until they are whole, and never are.
    let large = caller.large(BODY);
    let bytes = large.to_bytes();
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(begun(&pod, &bytes[..bytes.len() - 1]).await);
    }
    told(&format!(
        "{HELD} bodies of {} KB hang: {}",
        BODY >> 10,
        memory.told()
    ));

    // Clients that ask, and read nothing of the answers.
    let many = Draft::get("/openapi.json").to_bytes().repeat(PIPELINED);
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(begun(&pod, &many).await);
    }
    told(&format!(
        "{UNREAD} clients do not read their answers: {}",
        memory.told()
    ));

    // Connections that have been served, and stay.
    let one = Draft::get("/v1/whatsapp/windows").to_bytes();
    let mut idle = Vec::new();
    let mut refused = 0;
    for _ in 0..IDLE {
        // A process that has been killed takes none.
        let Ok(mut stream) = TcpStream::connect(pod.at(SIDECAR)).await else {
            panic!("nobody listens any more, after {} connections", idle.len());
        };
        let _ = stream.write_all(&one).await;
        let mut start = [0; 12];
        let read = tokio::time::timeout(PATIENT, stream.read_exact(&mut start)).await;
        match read {
            Ok(Ok(_)) => {
                idle.push(stream);
                if idle.len() % 250 == 0 {
                    told(&format!(
                        "{} idle connections: {}",
                        idle.len(),
                        memory.told()
                    ));
                }
            }
            _ => refused += 1,
        }
    }
    told(&format!(
        "{} idle connections stay, {refused} more were refused: {}",
        idle.len(),
        memory.told()
    ));
    assert!(refused > 0, "the limit of connections was not reached");

    // It has held what it may, and refused the rest by saying so.
    let mut shed = 0;
    for wire in &mut held {
        if let Answer::Reply(reply) = wire.answer_within(Duration::from_millis(1), false).await {
            assert_eq!(reply.status, 503, "{}", reply.text());
            assert!(reply.one("retry-after").parse::<u32>().is_ok());
            shed += 1;
        }
    }
    told(&format!("{shed} of the hanging bodies were answered 503"));
    assert!(shed > 0, "the bound on held bodies was not reached");

    assert_eq!(
        pod.send(SIDECAR_ADMIN, &Draft::get("/healthz"))
            .await
            .status,
        200
    );
    drop((held, unread, idle));
    let served = caller
        .served(&pod, &caller.template("after all that"))
        .await;
    assert_eq!(served.status, 202, "{}", served.text());
    assert_eq!(pod.pid("vestibule"), first, "it was killed");
    assert_eq!(pod.inspect("vestibule", "{{.State.OOMKilled}}"), "false");
    told(&format!(
        "it serves on, as the process that it was: {}",
        memory.told()
    ));
}

/// A connection on which this much has been sent.
async fn begun(pod: &Played, bytes: &[u8]) -> Wire {
    let mut wire = Wire::connect(pod.at(SIDECAR)).await;
    // One that does not read may be read from no more.
    let _ = tokio::time::timeout(PATIENT, wire.send(bytes)).await;
    wire
}

/// What the kernel counts for the container of a process.
struct Memory {
    folder: String,
    names: [&'static str; 2],
    pid: u32,
}

// === impl Memory ===

impl Memory {
    fn of(pid: u32) -> Self {
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
        let of = |controllers: &str| {
            let is_it = |line: &&str| line.split(':').nth(1) == Some(controllers);
            let line = groups.lines().find(is_it)?;
            line.splitn(3, ':').nth(2)
        };
        match of("memory") {
            Some(path) => Self {
                folder: format!("/sys/fs/cgroup/memory{path}"),
                names: ["memory.usage_in_bytes", "memory.max_usage_in_bytes"],
                pid,
            },
            None => Self {
                folder: format!("/sys/fs/cgroup{}", of("").unwrap_or_default()),
                names: ["memory.current", "memory.peak"],
                pid,
            },
        }
    }

    /// In words; what cannot be read is left out.
    fn told(&self) -> String {
        let of = |name: &str| {
            let text = std::fs::read_to_string(format!("{}/{name}", self.folder)).ok()?;
            let bytes: f64 = text.trim().parse().ok()?;
            Some(format!("{:.1} MiB", bytes / f64::from(1 << 20)))
        };
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid));
        let status = status.unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let [now, most] = self.names.map(|name| of(name).unwrap_or_default());
        let resident = resident.map_or("", str::trim);
        format!("{now} of 64 MiB now, {most} at most, {resident} of it resident")
    }
}

/// One byte of a body is kept back, so that it is held and never whole.
const BODY: usize = 512 << 10;

/// More than the bound on held bodies has room for.
const HELD: usize = 100;

const PIPELINED: usize = 20;
const UNREAD: usize = 200;

/// With those before, more than the limit of connections.
const IDLE: usize = 700;

/// A client that is not served within this goes on to the next.
const PATIENT: Duration = Duration::from_millis(500);
