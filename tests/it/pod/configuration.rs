//! The configurations that the overlays carry, read as the binaries read them.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use harness::process::binary;
use tempfile::TempDir;
use vestibule_messaging::config as messaging;
use vestibule_sidecar::config as sidecar;

use super::rendered::{Rendered, list, root, run, tool};

#[test]
fn both_overlays_carry_what_the_binaries_take() {
    for path in ["overlays/dev", "overlays/production"] {
        let files = Files::of(&Rendered::of(path), |_, text| text.to_owned());
        let said = files
            .sidecar()
            .unwrap_or_else(|fault| panic!("{path}: {fault}"));
        assert!(!said.contains("warning"), "{path}: {said}");
        files
            .messaging()
            .unwrap_or_else(|fault| panic!("{path}: {fault}"));
    }
}

#[test]
fn the_configurations_fit_the_schema_for_editors() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("it is there");
    let readme = readme.split("```toml\n").nth(1).expect("it shows one");
    let readme = readme.split("```").next().expect("it ends");
    let [dev, production] = ["overlays/dev", "overlays/production"].map(|path| {
        let rendered = Rendered::of(path);
        rendered
            .text("ConfigMap", "vestibule", "vestibule.toml")
            .to_owned()
    });
    let said = fitting(&[readme, &dev, &production]);
    assert_eq!(said, "[]");
    for (slip, want) in [
        (("requests    =", "request_max ="), "request_max"),
        (("\"5s\"", "5"), "5 is not of type 'string'"),
        (
            ("connections = 600", "connections = 0"),
            "0 is less than the minimum of 1",
        ),
        (
            ("listen   =", "listem   ="),
            "'listen' is a required property",
        ),
    ] {
        let said = fitting(&[&production.replace(slip.0, slip.1)]);
        assert!(said.contains(want), "{slip:?}: {said}");
    }
}

#[test]
fn nothing_starts_with_a_placeholder() {
    let production = Rendered::of("overlays/production");
    let files = Files::of_placeholders(&production);
    let fault = files.sidecar().unwrap_err();
    assert!(fault.contains("a pepper has 11 bytes"), "{fault}");
    let fault = files.messaging().unwrap_err();
    assert!(
        fault.contains("identity.secret is shorter than 32 bytes"),
        "{fault}"
    );
    for secret in production.kind("Secret") {
        let texts = secret["stringData"].as_object().unwrap();
        for (name, text) in texts {
            let text = text.as_str().unwrap();
            assert!(text.contains("PLACEHOLDER"), "{name} looks like a real one");
        }
    }
}

#[test]
fn what_a_configuration_names_is_mounted() {
    for path in ["overlays/dev", "overlays/production"] {
        let rendered = Rendered::of(path);
        for (name, file) in [
            ("vestibule", "vestibule.toml"),
            ("messaging", "messaging.toml"),
        ] {
            let mounts: Vec<&str> = list(&rendered.container(name)["volumeMounts"])
                .iter()
                .filter_map(|mount| mount["mountPath"].as_str())
                .collect();
            let text = rendered.text("ConfigMap", name, file);
            let named: Vec<&str> = paths(text).collect();
            assert!(named.len() >= 4, "{path}: {named:?}");
            for named in named {
                let folder = named.rsplit_once('/').unwrap().0;
                assert!(mounts.contains(&folder), "{path}: {name}: {named}");
                if let Some(secret) = named.strip_prefix("/secrets/") {
                    let (secret, key) = secret.split_once('/').unwrap();
                    rendered.text("Secret", secret, key);
                }
            }
        }
    }
}

#[test]
fn both_overlays_have_the_same_routes_and_limits() {
    let [dev, production] = ["overlays/dev", "overlays/production"].map(|path| {
        let files = Files::of(&Rendered::of(path), |_, text| text.to_owned());
        let mut config = files.sidecar_config();
        for route in &mut config.routes {
            route.place = sidecar::Place::Named(String::new());
        }
        config
    });
    assert_eq!(dev.routes, production.routes);
    assert_eq!(dev.limits, production.limits);
    assert_eq!(dev.timeouts, production.timeouts);
    let webhooks = "* /webhooks/whatsapp";
    let public = dev.routes.iter().find(|route| route.pattern == webhooks);
    assert_eq!(public.unwrap().auth, sidecar::Auth::Public);
}

/// The configurations of an overlay in a folder, with the secrets that they name.
struct Files {
    folder: TempDir,
    /// What the sidecar finds in its environment.
    variables: Vec<(OsString, OsString)>,
}

// === impl Files ===

impl Files {
    /// With long enough texts in the place of placeholders.
    fn of(rendered: &Rendered, text: impl Fn(&str, &str) -> String) -> Self {
        Self::write(rendered, |key, found| {
            text(key, found).replace("PLACEHOLDER", &"0123456789abcdef".repeat(4))
        })
    }

    /// As they are shipped.
    fn of_placeholders(rendered: &Rendered) -> Self {
        Self::write(rendered, |_, found| found.to_owned())
    }

    fn write(rendered: &Rendered, text: impl Fn(&str, &str) -> String) -> Self {
        let folder = TempDir::new().expect("the system has a temporary folder");
        for secret in rendered.kind("Secret") {
            let at = folder
                .path()
                .join("secrets")
                .join(secret["metadata"]["name"].as_str().expect("a text"));
            std::fs::create_dir_all(&at).expect("the folder is ours");
            for (key, found) in secret["stringData"].as_object().expect("texts") {
                std::fs::write(at.join(key), text(key, found.as_str().expect("a text")))
                    .expect("the folder is ours");
            }
        }
        for (name, file) in [
            ("vestibule", "vestibule.toml"),
            ("messaging", "messaging.toml"),
        ] {
            let own = format!("\"{}/secrets/", folder.path().display());
            let text = rendered.text("ConfigMap", name, file);
            std::fs::write(folder.path().join(file), text.replace("\"/secrets/", &own))
                .expect("the folder is ours");
        }
        Self {
            folder,
            variables: rendered.variables("vestibule"),
        }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// What `vestibule check` says.
    fn sidecar(&self) -> Result<String, String> {
        let mut command = Command::new(binary("vestibule"));
        command.arg("check").arg(self.path().join("vestibule.toml"));
        let output = command.envs(self.variables.clone()).output();
        let output = output.expect("the binary was found just now");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() {
            Ok(said)
        } else {
            Err(said)
        }
    }

    fn sidecar_config(&self) -> sidecar::Config {
        let louder = sidecar::Louder::variables(self.variables.clone());
        sidecar::Config::read_under(self.path().join("vestibule.toml"), &louder)
            .expect("it is taken")
    }

    fn messaging(&self) -> Result<(), String> {
        let read = messaging::Config::read(&self.path().join("messaging.toml"));
        read.map(drop).map_err(|fault| fault.to_string())
    }
}

/// What a checker of JSON Schemas says of these texts.
fn fitting(texts: &[&str]) -> String {
    let mut python = Command::new(tool("python3"));
    python.arg("-c").arg(CHECK);
    let input = serde_json::json!({"schema": sidecar::schema(), "files": texts});
    run(&mut python, &input.to_string()).trim().to_owned()
}

/// The schema checker of Kubernetes objects brings it along.
const CHECK: &str = "
import json, sys, tomllib
from jsonschema import Draft7Validator
given = json.load(sys.stdin)
schema = json.loads(given['schema'])
Draft7Validator.check_schema(schema)
files = map(tomllib.loads, given['files'])
print([fault.message for file in files for fault in Draft7Validator(schema).iter_errors(file)])
";

/// The absolute paths in a text, those of sockets too.
fn paths(text: &str) -> impl Iterator<Item = &str> {
    let quoted = text.lines().filter(|line| !line.starts_with('#'));
    quoted
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter_map(|text| {
            let path = text.trim_start_matches("unix:").trim_start_matches("file:");
            (path.starts_with('/') && !path.starts_with("/agent_id")).then_some(path)
        })
}
