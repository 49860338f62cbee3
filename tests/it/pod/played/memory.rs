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
    let limit = pod.inspect("vestibule", "{{.HostConfig.Memory}}");
    assert_eq!(limit, (64 << 20).to_string());
    let first = pod.pid("vestibule");
    let memory = Memory::of(first);
    memory.tell("the sidecar begins");

    let (mut idle, _) = connected(&pod, IDLE).await;
    memory.tell(&format!("{} connections were served and stay", idle.len()));
    let mut held = hanging(&pod, &caller).await;
    memory.tell(&format!("{HELD} bodies of {} KB hang", BODY >> 10));
    let unread = unread(&pod).await;
    let (more, refused) = connected(&pod, MORE).await;
    idle.extend(more);
    memory.tell(&format!(
        "{UNREAD} clients do not read, {} connections stay, {refused} were refused",
        idle.len()
    ));
    assert!(refused > 0, "the limit of connections was not reached");

    let shed = shed(&mut held).await;
    told(&format!("{shed} of the hanging bodies were answered 503"));
    assert!(shed > 0, "the bound on held bodies was not reached");
    let health = pod.send(SIDECAR_ADMIN, &Draft::get("/healthz")).await;
    assert_eq!(health.status, 200);
    drop((held, unread, idle));
    let served = caller
        .served(&pod, &caller.template("after all that"))
        .await;
    assert_eq!(served.status, 202, "{}", served.text());
    assert_eq!(pod.pid("vestibule"), first, "it was killed");
    assert_eq!(pod.inspect("vestibule", "{{.State.OOMKilled}}"), "false");
    memory.tell("it serves on, as the process that it was");
}

/// Connections that have been served and stay, and how many were not served.
async fn connected(pod: &Played, most: usize) -> (Vec<TcpStream>, usize) {
    let one = Draft::get("/v1/whatsapp/windows").to_bytes();
    let mut connected = Vec::new();
    for _ in 0..most {
        // A process that has been killed takes none.
        let stream = TcpStream::connect(pod.at(SIDECAR)).await;
        let mut stream = stream.expect("somebody listens");
        let _ = stream.write_all(&one).await;
        let mut start = [0; 12];
        let read = tokio::time::timeout(PATIENT, stream.read_exact(&mut start)).await;
        if matches!(read, Ok(Ok(_))) {
            connected.push(stream);
        }
    }
    let refused = most - connected.len();
    (connected, refused)
}

/// Requests whose bodies are held until they are whole, and never are.
async fn hanging(pod: &Played, caller: &Caller) -> Vec<Wire> {
    let bytes = caller.large(BODY).to_bytes();
    let mut held = Vec::new();
    for _ in 0..HELD {
        held.push(begun(pod, &bytes[..bytes.len() - 1]).await);
    }
    held
}

/// Clients that ask, and read nothing of the answers.
async fn unread(pod: &Played) -> Vec<Wire> {
    let many = Draft::get("/openapi.json").to_bytes().repeat(PIPELINED);
    let mut unread = Vec::new();
    for _ in 0..UNREAD {
        unread.push(begun(pod, &many).await);
    }
    unread
}

/// How many were told to come again.
async fn shed(held: &mut [Wire]) -> usize {
    let mut shed = 0;
    for wire in held {
        if let Answer::Reply(reply) = wire.answer_within(AT_ONCE, false).await {
            assert_eq!(reply.status, 503, "{}", reply.text());
            let seconds = reply.one("retry-after").parse::<u32>();
            assert!(seconds.is_ok(), "{reply:?}");
            shed += 1;
        }
    }
    shed
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
        let groups =
            std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("the process runs");
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

    /// Tells what is taken when this is so; what cannot be read is left out.
    fn tell(&self, when: &str) {
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
        told(&format!(
            "{when}: {now} now, {most} at most, of 64 MiB; {resident} resident"
        ));
    }
}

/// One byte of a body is kept back, so that it is held and never whole.
const BODY: usize = 512 << 10;

/// More than the bound on held bodies has room for.
const HELD: usize = 100;

const PIPELINED: usize = 20;
const UNREAD: usize = 200;

/// With the others, more than the limit of connections.
const IDLE: usize = 250;
const MORE: usize = 200;

/// A client that is not served within this is not served.
const PATIENT: Duration = Duration::from_millis(500);

/// What has been answered has been sent long ago.
const AT_ONCE: Duration = Duration::from_millis(20);
