//! The objects that an overlay renders to, by `kubectl kustomize`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

/// Every object of an overlay.
#[derive(Clone, Debug)]
pub(super) struct Rendered(Vec<Value>);

// === impl Rendered ===

impl Rendered {
    /// Renders `base`, `overlays/dev` or `overlays/production`.
    pub(super) fn of(path: &str) -> Self {
        let mut kustomize = Command::new(tool("kubectl"));
        let text = run(kustomize.arg("kustomize").arg(folder().join(path)), "");
        Self(read_yaml(&text))
    }

    /// All of them.
    pub(super) fn all(&self) -> &[Value] {
        &self.0
    }

    /// Those of a kind.
    pub(super) fn kind<'a>(&'a self, kind: &str) -> impl Iterator<Item = &'a Value> {
        let kind = kind.to_owned();
        self.0.iter().filter(move |object| object["kind"] == *kind)
    }

    /// The one of this kind with this name; the suffix of a generated name is left out.
    pub(super) fn object(&self, kind: &str, name: &str) -> &Value {
        let is_it = |object: &&Value| {
            let found = object["metadata"]["name"].as_str().unwrap_or_default();
            found.strip_prefix(name).is_some_and(|suffix| {
                suffix.is_empty() || (kind == "ConfigMap" && suffix.len() == HASH)
            })
        };
        let mut found = self.kind(kind).filter(is_it);
        let object = found.next();
        object.unwrap_or_else(|| panic!("there is no {kind} {name}"))
    }

    /// The template of its pods.
    pub(super) fn pod(&self) -> &Value {
        &self.object("Deployment", "messaging")["spec"]["template"]["spec"]
    }

    /// The containers of its pods, sidecars first.
    pub(super) fn containers(&self) -> Vec<&Value> {
        ["initContainers", "containers"]
            .into_iter()
            .flat_map(|key| list(&self.pod()[key]))
            .collect()
    }

    /// The container with this name.
    pub(super) fn container(&self, name: &str) -> &Value {
        let found = self
            .containers()
            .into_iter()
            .find(|one| one["name"] == name);
        found.unwrap_or_else(|| panic!("there is no container {name}"))
    }

    /// The variables of a container, those that are texts of Secrets too.
    pub(super) fn variables(&self, container: &str) -> Vec<(OsString, OsString)> {
        let variables = list(&self.container(container)["env"]).iter();
        let read = |variable: &Value| {
            let from = &variable["valueFrom"]["secretKeyRef"];
            let value = match (variable["value"].as_str(), from["name"].as_str()) {
                (Some(value), _) => value,
                (None, Some(secret)) => self.text("Secret", secret, from["key"].as_str()?),
                (None, None) => return None,
            };
            Some((variable["name"].as_str()?.into(), value.into()))
        };
        variables.filter_map(read).collect()
    }

    /// A file of a ConfigMap, or a text of a Secret.
    pub(super) fn text(&self, kind: &str, name: &str, key: &str) -> &str {
        let object = self.object(kind, name);
        let texts = match kind {
            "Secret" => &object["stringData"],
            _ => &object["data"],
        };
        let text = texts[key].as_str();
        text.unwrap_or_else(|| panic!("{kind} {name} has no {key}"))
    }
}

/// The elements of a list; none where there is no list.
pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// `examples/kubernetes`.
pub(super) fn folder() -> PathBuf {
    root().join("examples/kubernetes")
}

/// The root of the project.
pub(super) fn root() -> PathBuf {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package is in the workspace")
        .to_owned()
}

/// A program of the folder that `tests/servers` has filled.
pub(super) fn tool(name: &str) -> PathBuf {
    let folder = std::env::var_os("KUBERNETES_TOOLS").map(PathBuf::from);
    let folder = folder.expect("'. tests/servers' says where the tools are");
    let path = folder.join("bin").join(name);
    assert!(path.exists(), "{} is missing", path.display());
    path
}

/// The documents of a YAML text.
fn read_yaml(text: &str) -> Vec<Value> {
    let mut python = Command::new(tool("python3"));
    let json = run(python.args(["-c", TO_JSON]), text);
    serde_json::from_str(&json).expect("it is JSON")
}

/// What a command prints, given this to read.
pub(super) fn run(command: &mut Command, input: &str) -> String {
    use std::io::Write as _;

    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|cause| panic!("{command:?}: {cause}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // One that does not read its input may have ended by now.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The YAML reader that the schema checker brings along.
const TO_JSON: &str =
    "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";

/// The length of the suffix that kustomize makes of a content: a dash and ten letters.
const HASH: usize = 11;
