//! What is measured: a sidecar, a bare hyper server and nginx, each in processes of its own.

use std::convert::Infallible;
use std::fs;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use harness::process::{Process, binary};
use harness::{Draft, PATIENCE, Wire};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// Which of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Hyper,
    Nginx,
    Sidecar,
}

/// One that runs, until it is dropped.
pub(crate) struct Subject {
    pub(crate) address: SocketAddr,
    /// From the start of its process to the first answer that says that it serves.
    pub(crate) ready_after: Duration,
    process: Process,
    _folder: TempDir,
}

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Hyper, Self::Nginx, Self::Sidecar];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Hyper => "hyper",
            Self::Nginx => "nginx",
            Self::Sidecar => "sidecar",
        }
    }

    /// How it is set up, so that the comparison can be judged.
    pub(crate) const fn configured(self) -> &'static str {
        match self {
            Self::Hyper => {
                "http1 as it is by default, one thread; answers by itself, and proxies nothing"
            }
            Self::Nginx => {
                "one worker with places for the connections of this run, kept connections to the service, no logs; no keys, limits or records"
            }
            Self::Sidecar => "one thread, one public route, its store in a file of its own",
        }
    }
}

// === impl Subject ===

impl Subject {
    /// Starts it, for so many connections at a time.
    pub(crate) async fn start(kind: Kind, service: SocketAddr, connections: usize) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        let began = Instant::now();
        let (process, address, probe) = match kind {
            Kind::Hyper => {
                let program = std::env::current_exe().expect("a program knows its own path");
                let (process, line) = Process::announced(Command::new(program).arg(HYPER));
                let address = line.trim().parse().expect("it says where it listens");
                (process, address, (address, "/"))
            }
            Kind::Nginx => {
                let address = free();
                (
                    nginx(&folder, (address, service), connections),
                    address,
                    (address, "/"),
                )
            }
            Kind::Sidecar => {
                let (process, address, admin) = sidecar(&folder, service);
                (process, address, (admin, "/readyz"))
            }
        };
        while !answers(probe).await {
            sleep(LOOK_AGAIN).await;
        }
        Self {
            address,
            ready_after: began.elapsed(),
            process,
            _folder: folder,
        }
    }

    /// The memory of its processes in KiB, once it changes no more.
    pub(crate) async fn settled(&self) -> u64 {
        let mut last = self.memory();
        loop {
            sleep(SETTLES).await;
            let now = self.memory();
            if now.abs_diff(last) <= last / 200 {
                return now;
            }
            last = now;
        }
    }

    fn memory(&self) -> u64 {
        let own = self.process.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|id| id.parse().ok());
        children.chain([own]).map(share).sum()
    }
}

impl Drop for Subject {
    /// A master that is killed leaves its worker behind.
    fn drop(&mut self) {
        self.process.signal("INT");
        self.process.ended(PATIENCE);
    }
}

/// Answers on one thread, as hyper does by default, until it is killed.
pub(crate) fn serve_hyper() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime starts").block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("the loopback has a free port");
        println!("{}", listener.local_addr().expect("it listens"));
        while let Ok((stream, _)) = listener.accept().await {
            let service = service_fn(|_: Request<Incoming>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"in"))))
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
}

fn sidecar(folder: &TempDir, service: SocketAddr) -> (Process, SocketAddr, SocketAddr) {
    let file = folder.path().join("vestibule.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\nupstream = \"{service}\"\nthreads = 1\n\
         [limits]\nconnections = 100000\n[timeouts]\nidle = \"10m\"\n\
         [[route]]\nmatch = \"GET /\"\nauth = \"none\"\n"
    );
    fs::write(&file, text).expect("the folder is ours");
    let mut command = Command::new(binary("vestibule"));
    command
        .arg("serve")
        .arg("--config")
        .arg(file)
        .env("RUST_LOG", "off");
    let (process, line) = Process::announced(&mut command);
    let said: serde_json::Value = serde_json::from_str(&line).expect("it says where it listens");
    let address = |name: &str| -> SocketAddr {
        let address = said[name].as_str().and_then(|text| text.parse().ok());
        address.expect("it listens on the loopback")
    };
    (process, address("listening"), address("admin"))
}

/// It takes memory for all its connections when it starts, so it gets as many as are needed.
fn nginx(
    folder: &TempDir,
    (address, service): (SocketAddr, SocketAddr),
    connections: usize,
) -> Process {
    let connections = connections + SPARE;
    let file = folder.path().join("nginx.conf");
    let home = folder.path().display();
    let text = format!(
        "daemon off;\nmaster_process on;\nworker_processes 1;\npid {home}/pid;\nerror_log /dev/null;\n\
         worker_rlimit_nofile 100000;\nevents {{ worker_connections {connections}; }}\n\
         http {{ access_log off; client_body_temp_path {home}/body; proxy_temp_path {home}/proxy;\n\
         fastcgi_temp_path {home}/f; uwsgi_temp_path {home}/u; scgi_temp_path {home}/s;\n\
         keepalive_timeout 10m; keepalive_requests 1000000;\n\
         upstream service {{ server {service}; keepalive 32; }}\n\
         server {{ listen {address}; location / {{ proxy_pass http://service;\n\
         proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }} }}\n"
    );
    fs::write(&file, text).expect("the folder is ours");
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder.path()).arg("-c").arg(file);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    Process::start(&mut command)
}

/// Whether a server answers 200 here.
async fn answers((address, path): (SocketAddr, &str)) -> bool {
    if TcpStream::connect(address).await.is_err() {
        return false;
    }
    let mut wire = Wire::connect(address).await;
    wire.exchange(&Draft::get(path)).await.status == 200
}

/// A port that was free a moment ago: nginx is not told that it may choose.
fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0");
    let listener = listener.expect("the loopback has a free port");
    listener.local_addr().expect("it listens")
}

/// The proportional share of a process, in KiB.
fn share(id: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup"));
    let text = text.expect("the process runs, and is this user's");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.expect("the kernel writes this line")
}

/// What this program is told to be the server itself.
pub(crate) const HYPER: &str = "hyper";

/// For its listener, the service and what looks whether it is ready.
const SPARE: usize = 128;

const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// The sidecar's allocator gives back over ten seconds what is not used.
const SETTLES: Duration = Duration::from_secs(12);
