//! Whether names resolve inside the images.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;

use harness::{Draft, PATIENCE, Wire};
use tempfile::TempDir;
use tokio::net::TcpStream;

use super::image::Images;
use super::play::PAUSE;
use super::podman::{command, podman, remove, told};

#[tokio::test]
async fn names_resolve_inside() {
    let images = Images::shared();
    let network = Network::new();
    let simulator = network.name("meta");
    let words = ["--listen", "0.0.0.0:4600"];
    network.run(
        &simulator,
        &images.name("cloud-api-simulator"),
        None,
        &words,
    );

    let folder = configuration(&simulator);
    let sidecar = network.name("sidecar");
    let words = ["serve", "--config", "/etc/vestibule/vestibule.toml"];
    network.run(&sidecar, &images.name("vestibule"), Some(&folder), &words);
    let at = SocketAddr::new(address(&sidecar).parse().unwrap(), 8080);
    let answered = async {
        while TcpStream::connect(at).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        Wire::connect(at)
            .await
            .exchange(&Draft::get("/__sim/healthz"))
            .await
    };
    let answered = tokio::time::timeout(PATIENCE, answered).await;
    let reply = answered.expect("the sidecar listens");
    assert_eq!(reply.status, 200, "{}", reply.text());
    told("the sidecar has found its upstream by a name of the network's DNS");

    // The same with a name that nobody has.
    let folder = configuration("nobody-has-this-name");
    let mut lost = command();
    let at = mount(&folder);
    lost.args(["run", "--rm", "--network", &network.0, "--volume", &*at]);
    let output = lost
        .arg(images.name("vestibule"))
        .args(words)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("nobody-has-this-name:4600 cannot be looked up"),
        "{said}"
    );
}

/// A network of containers, removed with them.
struct Network(String);

// === impl Network ===

impl Network {
    fn new() -> Self {
        let network = Self(format!("vestibule-pod-test-{}-names", std::process::id()));
        podman(&["network", "create", &network.0]);
        network
    }

    fn name(&self, part: &str) -> String {
        format!("{}-{part}", self.0)
    }

    fn run(&self, name: &str, image: &str, folder: Option<&TempDir>, words: &[&str]) {
        let mut options = vec!["run", "--detach", "--read-only", "--network", &*self.0];
        options.extend(["--name", name]);
        let at = folder.map(mount);
        if let Some(at) = &at {
            options.extend(["--volume", at]);
        }
        options.push(image);
        podman(&[&*options, words].concat());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for part in ["meta", "sidecar"] {
            remove(&["rm", "--force", "--time", "0", &self.name(part)]);
        }
        remove(&["network", "rm", "--force", &self.0]);
    }
}

/// Where a container is in its network.
fn address(name: &str) -> String {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    podman(&["inspect", name, "--format", format])
}

/// A sidecar in front of this host.
fn configuration(host: &str) -> TempDir {
    let folder = TempDir::new().expect("the system has a temporary folder");
    let text = format!(
        "listen = '0.0.0.0:8080'\nupstream = '{host}:4600'\nstore = 'memory:'\n\
         [[route]]\nmatch = 'GET /__sim/healthz'\nauth = 'none'\n"
    );
    std::fs::write(folder.path().join("vestibule.toml"), text).expect("the folder is ours");
    // Whoever reads it is nobody here.
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755))
        .expect("the folder is ours");
    folder
}

fn mount(folder: &TempDir) -> String {
    format!("{}:/etc/vestibule:ro", folder.path().display())
}
