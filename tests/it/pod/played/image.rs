//! Images of the binaries as they were built here: each with the libraries that it is linked to
//! and what resolving names and trusting certificates takes, on nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use harness::process::binary;
use tempfile::TempDir;

use super::podman::{command, podman, remove, told};
use crate::pod::rendered::run;

/// The three images, removed with the last test that uses them.
#[derive(Debug)]
pub(super) struct Images {
    tag: String,
}

// === impl Images ===

impl Images {
    /// Those of this process.
    pub(super) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Images>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let made = Arc::new(Self::make());
            *shared = Arc::downgrade(&made);
            made
        })
    }

    /// The one of a name.
    pub(super) fn name(&self, name: &str) -> String {
        format!("localhost/{name}:{}", self.tag)
    }

    fn make() -> Self {
        let images = Self {
            tag: format!("pod-test-{}", std::process::id()),
        };
        for (name, built) in NAMES {
            let root = root_of(&found(built));
            import(&images.name(name), root.path(), built);
        }
        images
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        for (name, _) in NAMES {
            remove(&["rmi", "--force", &self.name(name)]);
        }
    }
}

/// Imports a folder as an image whose only program is this binary.
fn import(image: &str, root: &Path, built: &str) {
    let entry = format!("ENTRYPOINT [\"/{}\"]", file_name(built));
    let mut tar = Command::new("tar");
    let tar = tar.arg("-C").arg(root).args(["-c", "."]);
    let mut tar = tar.stdout(Stdio::piped()).spawn().expect("there is tar");
    let mut import = command();
    import.args(["import", "--quiet", "--change", "USER 65532:65532"]);
    import.args(["--change", &*entry, "-", image]);
    let archive = tar.stdout.take().expect("it is piped");
    let output = import.stdin(archive).output().expect("there is podman");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{image}: {said}");
    assert!(tar.wait().is_ok_and(|status| status.success()), "{image}");
    let size = podman(&["image", "inspect", image, "--format", "{{.Size}}"]);
    let size: u64 = size.parse().expect("it is a number");
    told(&format!("{image}: {:.1} MB", size as f64 / 1e6));
}

/// The binary beside these tests, or that of the profile that is asked for.
fn found(built: &str) -> PathBuf {
    match std::env::var_os("POD_BINARIES") {
        Some(folder) => PathBuf::from(folder).join(built),
        None => binary(built),
    }
}

/// Everything that is in the image of a binary.
fn root_of(built: &Path) -> TempDir {
    let root = TempDir::new().expect("the system has a temporary folder");
    let at = |path: &str| root.path().join(path.trim_start_matches('/'));
    let name = file_name(&built.to_string_lossy()).to_owned();
    run(
        Command::new("strip").arg("-o").arg(at(&name)).arg(built),
        "",
    );
    let linked = run(Command::new("ldd").arg(built), "");
    let linked = linked
        .split_whitespace()
        .filter(|word| word.starts_with('/'));
    for path in linked.map(str::to_owned).chain(resolving()) {
        copy(Path::new(&path), &at(&path));
    }
    copy(Path::new(CERTIFICATES), &at(CERTIFICATES));
    std::fs::write(at("/etc/nsswitch.conf"), "hosts: files dns\n").expect("the folder is ours");
    root
}

/// glibc opens these by name, so that ldd does not know of them; newer ones have them inside.
fn resolving() -> impl Iterator<Item = String> {
    let libraries = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];
    let folder = format!("/lib/{}-linux-gnu", std::env::consts::ARCH);
    let paths = libraries.map(|name| format!("{folder}/{name}"));
    paths.into_iter().filter(|path| Path::new(path).exists())
}

fn copy(from: &Path, to: &Path) {
    let folder = to.parent().expect("it is in the root");
    std::fs::create_dir_all(folder).expect("the folder is ours");
    let copied = std::fs::copy(from, to);
    copied.unwrap_or_else(|cause| panic!("{}: {cause}", from.display()));
}

fn file_name(built: &str) -> &str {
    built.rsplit('/').next().unwrap_or(built)
}

/// The image of the manifests, and the binary that is in it.
const NAMES: [(&str, &str); 3] = [
    ("vestibule", "vestibule"),
    ("messaging", "messaging"),
    ("cloud-api-simulator", "examples/cloud_api_simulator"),
];

/// Those of Debian, which the service trusts towards Meta.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
