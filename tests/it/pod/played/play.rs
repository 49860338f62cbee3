//! The dev overlay as a pod of podman's.
//!
//! podman 4.3 plays less than a cluster does, so that its pod differs from what is rendered:
//!
//! - Native sidecars are not known to it: the sidecar becomes the first of the containers.
//! - Probes need systemd there; the tests ask the same endpoints themselves. Hooks are not known
//!   either; the tests run the sidecar's, and send signals in the order of a cluster.
//! - It writes the files of a Secret as they are in `data`, undecoded: a Secret becomes a ConfigMap.
//! - Claims, ConfigMaps and `emptyDir`s all become volumes of one list of names, and outlive the
//!   pod; each gets a name of its own, and what a cluster would write anew is removed with the pod.
//! - Names are given a prefix of their own, and images the tag of [`Images`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::{Answer, Draft, PATIENCE, Reply, Wire};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, MutexGuard};

use super::image::Images;
use super::podman::{podman, podman_reads, remove, told};
use crate::pod::rendered::{Rendered, list};

/// A pod that runs; removed with its volumes when the test is over.
#[derive(Debug)]
pub(super) struct Played {
    name: String,
    objects: Vec<Value>,
    address: IpAddr,
    _images: Arc<Images>,
    /// They would take one another's time, on a machine of few processors.
    _turn: MutexGuard<'static, ()>,
}

// === impl Played ===

impl Played {
    /// Starts the pod, and waits until it is ready.
    pub(super) async fn start() -> Self {
        static TURN: Mutex<()> = Mutex::const_new(());
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let turn = TURN.lock().await;
        let images = Images::shared();
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("vestibule-pod-test-{}-{count}", std::process::id());
        let mut pod = Self {
            objects: playable(&Rendered::of("overlays/dev"), &name, &images),
            name,
            address: IpAddr::from([0, 0, 0, 0]),
            _images: images,
            _turn: turn,
        };
        pod.up().await;
        pod
    }

    /// Plays the pod, over the volumes that are there.
    pub(super) async fn up(&mut self) {
        let began = tokio::time::Instant::now();
        let documents: Vec<String> = self.objects.iter().map(Value::to_string).collect();
        podman_reads(&["kube", "play", "-"], &documents.join("\n---\n"));
        let played = began.elapsed();
        let infra = podman(&[
            "pod",
            "inspect",
            &self.name,
            "--format",
            "{{.InfraContainerID}}",
        ]);
        let address = podman(&[
            "inspect",
            &infra,
            "--format",
            "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}",
        ]);
        self.address = address.parse().expect("the pod has an address");
        self.ready().await;
        told(&format!(
            "{} is played in {played:.1?} and ready after {:.1?}",
            self.name,
            began.elapsed()
        ));
    }

    /// Removes the pod at once; what is on its volumes stays.
    pub(super) fn down(&self) {
        podman(&["pod", "rm", "--force", "--time", "0", &self.name]);
        self.forget(|volume| !volume.ends_with(CLAIM));
        told(&format!("{} is removed, its volumes stay", self.name));
    }

    /// A port of the pod.
    pub(super) fn at(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, port)
    }

    /// The full name of a container.
    pub(super) fn container(&self, name: &str) -> String {
        format!("{}-{name}", self.name)
    }

    /// What a command prints that is run in a container.
    pub(super) fn exec(&self, name: &str, words: &[&str]) -> String {
        let container = self.container(name);
        podman(&[&["exec", &*container], words].concat())
    }

    /// What podman knows of a container.
    pub(super) fn inspect(&self, name: &str, format: &str) -> String {
        podman(&["inspect", &self.container(name), "--format", format])
    }

    /// The process of a container, as this machine sees it.
    pub(super) fn pid(&self, name: &str) -> u32 {
        let pid = self.inspect(name, "{{.State.Pid}}");
        pid.parse().expect("it is a number")
    }

    /// Kills the process of a container, and waits until another one runs in its place.
    pub(super) async fn kill(&self, name: &str) {
        let old = self.pid(name);
        crate::pod::rendered::run(
            std::process::Command::new("kill").args(["-KILL", &old.to_string()]),
            "",
        );
        self.restarted(name, old).await;
        told(&format!("{name} was killed, and runs again"));
    }

    /// Waits until a process other than this one runs in a container.
    pub(super) async fn restarted(&self, name: &str, old: u32) {
        let again = async {
            while [0, old].contains(&self.pid(name)) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, again).await;
        assert!(waited.is_ok(), "{name} does not come back");
    }

    /// Waits until both binaries say that they are ready.
    pub(super) async fn ready(&self) {
        for port in [SIDECAR_ADMIN, SERVICE_ADMIN, SIMULATOR] {
            let path = match port {
                SIMULATOR => "/__sim/healthz",
                _ => "/readyz",
            };
            self.until_answered(port, path, 200).await;
        }
    }

    /// Waits until a port answers so.
    pub(super) async fn until_answered(&self, port: u16, path: &str, status: u16) {
        let answered = async {
            let draft = Draft::get(path);
            while self.try_send(port, &draft).await.map(|it| it.status) != Some(status) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        let waited = tokio::time::timeout(PATIENCE, answered).await;
        assert!(waited.is_ok(), "{port}{path} never answers {status}");
    }

    /// Sends a request; nothing where nobody listens, or the connection breaks.
    pub(super) async fn try_send(&self, port: u16, draft: &Draft) -> Option<Reply> {
        TcpStream::connect(self.at(port)).await.ok()?;
        let mut wire = Wire::connect(self.at(port)).await;
        wire.send(&draft.to_bytes()).await;
        match wire.answer(false).await {
            Answer::Reply(reply) => Some(reply),
            Answer::Closed | Answer::Silence => None,
        }
    }

    /// Sends a request, which must be answered.
    pub(super) async fn send(&self, port: u16, draft: &Draft) -> Reply {
        let reply = self.try_send(port, draft).await;
        reply.unwrap_or_else(|| panic!("port {port} does not answer"))
    }

    /// Removes the volumes whose names end so.
    fn forget(&self, is_forgotten: impl Fn(&str) -> bool) {
        let pod = self.objects.last().expect("the pod is the last");
        for volume in list(&pod["spec"]["volumes"]) {
            let name = volume["name"].as_str().expect("it has a name");
            let source = ["configMap", "persistentVolumeClaim"]
                .into_iter()
                .find_map(|kind| {
                    let source = volume[kind].as_object()?;
                    source.values().find_map(Value::as_str)
                });
            let name = source.unwrap_or(name);
            if is_forgotten(name) {
                remove(&["volume", "rm", "--force", name]);
            }
        }
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        remove(&["pod", "rm", "--force", "--time", "0", &self.name]);
        self.forget(|_| true);
    }
}

/// The objects that podman can play, the pod last.
fn playable(rendered: &Rendered, name: &str, images: &Images) -> Vec<Value> {
    let own = |given: &Value, kind: &str| {
        let given = given.as_str().expect("it has a name");
        Value::from(format!("{name}-{given}{kind}"))
    };
    let mut objects = Vec::new();
    for (kind, texts, suffix) in [("ConfigMap", "data", ""), ("Secret", "stringData", SECRET)] {
        for object in rendered.kind(kind) {
            let name = own(&object["metadata"]["name"], suffix);
            objects.push(json!({
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": name},
                "data": object[texts],
            }));
        }
    }
    let mut spec = rendered.pod().clone();
    let mut containers = Vec::new();
    for container in rendered.containers() {
        let mut one = container.clone();
        let fields = one.as_object_mut().expect("it is an object");
        fields.retain(|key, _| !UNKNOWN.contains(&&**key));
        let image = container["image"].as_str().expect("it has an image");
        let image = image.trim_start_matches("localhost/").split(':').next();
        one["image"] = images.name(image.expect("it has a name")).into();
        one["imagePullPolicy"] = "Never".into();
        for mount in one["volumeMounts"].as_array_mut().expect("it mounts") {
            mount["name"] = own(&mount["name"], "");
        }
        containers.push(one);
    }
    let fields = spec.as_object_mut().expect("it is an object");
    fields.remove("initContainers");
    spec["containers"] = containers.into();
    for volume in spec["volumes"].as_array_mut().expect("it has volumes") {
        volume["name"] = own(&volume["name"], "");
        if volume["secret"].is_object() {
            let name = own(&volume["secret"]["secretName"], SECRET);
            volume["configMap"] = json!({ "name": name });
            let fields = volume.as_object_mut().expect("it is an object");
            fields.remove("secret");
        } else if volume["configMap"].is_object() {
            volume["configMap"]["name"] = own(&volume["configMap"]["name"], "");
        } else if let Some(claim) = volume.get_mut("persistentVolumeClaim") {
            claim["claimName"] = own(&claim["claimName"], CLAIM);
        }
    }
    objects.push(json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec,
    }));
    objects
}

/// What podman 4.3 does not know, or cannot do without systemd.
const UNKNOWN: [&str; 5] = [
    "restartPolicy",
    "startupProbe",
    "readinessProbe",
    "livenessProbe",
    "lifecycle",
];

/// What tells the volumes of a kind from those of another.
const CLAIM: &str = "-claim";
const SECRET: &str = "-secret";

/// Where clients and Meta come in.
pub(super) const SIDECAR: u16 = 8080;
pub(super) const SIDECAR_ADMIN: u16 = 9090;
pub(super) const SERVICE_ADMIN: u16 = 9091;
pub(super) const SIMULATOR: u16 = 4600;

pub(super) const PAUSE: Duration = Duration::from_millis(50);
