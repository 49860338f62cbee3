//! What is rendered, against the schemas of Kubernetes and the rules of this deployment.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;
use vestibule_sidecar::config::{Config, Louder};

use super::rendered::{Rendered, list, tool};

#[test]
fn every_object_fits_its_schema() {
    for path in ALL {
        let rendered = Rendered::of(path);
        let said = validate(rendered.all());
        let fits = said.lines().filter(|line| line.contains(" passed for "));
        let own = rendered.kind("ServiceMonitor").count();
        assert_eq!(fits.count() + own, rendered.all().len(), "{path}: {said}");
        assert!(!said.contains("ERROR"), "{path}: {said}");
    }
}

#[test]
fn a_slip_of_the_pen_does_not_fit() {
    let rendered = Rendered::of(PRODUCTION);
    let slips: Vec<Value> = SLIPS
        .iter()
        .map(|(kind, path, slip)| slipped(rendered.object(kind, "messaging"), path, slip))
        .collect();
    let said = validate(&slips);
    let refused = said
        .lines()
        .filter(|line| line.contains("did not validate"));
    assert_eq!(refused.count(), SLIPS.len(), "{said}");
}

#[test]
fn every_container_is_locked_down() {
    for path in ALL {
        let rendered = Rendered::of(path);
        let pod = rendered.pod();
        let security = &pod["securityContext"];
        assert_eq!(security["runAsNonRoot"], true, "{path}");
        assert_eq!(
            security["seccompProfile"]["type"], "RuntimeDefault",
            "{path}"
        );
        for key in ["runAsUser", "runAsGroup", "fsGroup"] {
            assert_eq!(security[key], 65532, "{path}: {key}");
        }
        assert_eq!(pod["automountServiceAccountToken"], false, "{path}");
        for key in ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"] {
            assert_eq!(pod[key], Value::Null, "{path}: {key}");
        }
        for container in rendered.containers() {
            let name = format!("{path}: {}", container["name"]);
            let want = json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]},
            });
            assert_eq!(container["securityContext"], want, "{name}");
            let resources = &container["resources"];
            for asked in ["cpu", "memory"] {
                assert!(resources["requests"][asked].is_string(), "{name}: {asked}");
            }
            assert!(resources["limits"]["memory"].is_string(), "{name}");
            for mount in list(&container["volumeMounts"]) {
                let at = mount["mountPath"].as_str().unwrap_or_default();
                let writes = at.starts_with("/run/") || at.starts_with("/var/lib/");
                assert!(writes != (mount["readOnly"] == true), "{name}: {at}");
            }
        }
    }
}

#[test]
fn the_sidecar_is_there_before_the_service_and_after_it() {
    for path in ALL {
        let rendered = Rendered::of(path);
        let sidecars = list(&rendered.pod()["initContainers"]);
        assert_eq!(sidecars.len(), 1, "{path}");
        let sidecar = &sidecars[0];
        assert_eq!(sidecar["restartPolicy"], "Always", "{path}");
        // A native sidecar holds the service up until this probe has passed.
        assert_eq!(sidecar["startupProbe"]["httpGet"]["path"], "/readyz");
        let hook = &sidecar["lifecycle"]["preStop"]["exec"]["command"];
        let drain = [
            "/vestibule",
            "drain",
            "--config",
            "/etc/vestibule/vestibule.toml",
        ];
        assert_eq!(*hook, json!(drain), "{path}");
    }
}

#[test]
fn what_is_probed_on_every_container() {
    for path in ALL {
        for name in ["vestibule", "messaging"] {
            let rendered = Rendered::of(path);
            let container = rendered.container(name);
            for (probe, want) in [
                ("startupProbe", "/readyz"),
                ("readinessProbe", "/readyz"),
                ("livenessProbe", "/healthz"),
            ] {
                let asked = &container[probe]["httpGet"];
                assert_eq!(asked["path"], want, "{path}: {name}: {probe}");
                let port = ports(container).contains(&&asked["port"]);
                assert!(port, "{path}: {name}: {probe}");
            }
        }
    }
}

#[test]
fn a_pod_has_the_time_that_its_parts_take_to_end() {
    for path in [DEV, PRODUCTION] {
        let rendered = Rendered::of(path);
        let config = sidecar(&rendered);
        let drains = (config.drain.lag + config.drain.max).as_secs();
        let service = rendered.container("messaging");
        let pause = &service["lifecycle"]["preStop"]["sleep"]["seconds"];
        let pause = pause.as_u64().expect("it pauses");
        let grace = &rendered.pod()["terminationGracePeriodSeconds"];
        let grace = grace.as_u64().expect("it is set");
        assert!(grace > pause + SERVICE_ENDS_WITHIN, "{path}: {grace}");
        // A pod that nobody waits for may cut off who still sends.
        if path == PRODUCTION {
            assert!(pause > drains, "{path}: {pause} for {drains}");
            assert!(!config.drain.lag.is_zero());
        }
    }
}

#[test]
fn files_are_of_one_replica_and_several_share_what_can_be_shared() {
    let dev = Rendered::of(DEV);
    let deployment = dev.object("Deployment", "messaging");
    assert_eq!(deployment["spec"]["replicas"], 1);
    assert_eq!(deployment["spec"]["strategy"], json!({"type": "Recreate"}));
    for kind in ["HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        assert_eq!(dev.kind(kind).count(), 0, "{kind}");
    }
    assert!(sidecar(&dev).store.address.starts_with("file:/var/lib/"));
    let claims = dev.kind("PersistentVolumeClaim").count();
    assert_eq!(claims, 2, "what is in files outlives the pod");

    let production = Rendered::of(PRODUCTION);
    assert_eq!(production.kind("PersistentVolumeClaim").count(), 0);
    let deployment = production.object("Deployment", "messaging");
    assert_eq!(deployment["spec"]["replicas"], Value::Null);
    assert_eq!(
        deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"],
        0
    );
    let scaler = &production.object("HorizontalPodAutoscaler", "messaging")["spec"];
    let said = production.text("ConfigMap", "messaging", "messaging.toml");
    let most = format!("replicas      = {}\n", scaler["maxReplicas"]);
    assert!(said.contains(&most), "{most}");
    assert_eq!(sidecar(&production).replicas, scaler["maxReplicas"]);
    let store = &production.container("vestibule")["env"][0];
    assert_eq!(store["name"], "VESTIBULE__STORE");
    let from = &store["valueFrom"]["secretKeyRef"];
    let address = production.text("Secret", "vestibule", from["key"].as_str().unwrap());
    assert!(address.starts_with("rediss://"), "{address}");
}

#[test]
fn what_is_named_is_there() {
    for path in ALL {
        let rendered = Rendered::of(path);
        let pod: BTreeSet<String> = rendered
            .containers()
            .into_iter()
            .flat_map(ports)
            .map(|port| port.as_str().unwrap_or_default().to_owned())
            .collect();
        let is_port = |value: &Value| value.as_str().is_some_and(|name| pod.contains(name));
        for service in rendered.kind("Service") {
            for port in list(&service["spec"]["ports"]) {
                assert!(is_port(&port["targetPort"]), "{path}: {port}");
            }
        }
        let policy = &rendered.object("NetworkPolicy", "messaging")["spec"];
        for rule in list(&policy["ingress"]) {
            assert!(
                list(&rule["ports"])
                    .iter()
                    .all(|port| is_port(&port["port"]))
            );
        }
        let labels = &rendered.object("Deployment", "messaging")["spec"]["template"]["metadata"];
        let labels = &labels["labels"];
        for selector in [
            &rendered.object("Deployment", "messaging")["spec"]["selector"]["matchLabels"],
            &rendered.object("Service", "messaging")["spec"]["selector"],
            &rendered.object("Service", "messaging-admin")["spec"]["selector"],
            &policy["podSelector"]["matchLabels"],
        ] {
            assert_eq!(selector, labels, "{path}");
        }
    }
}

#[test]
fn only_the_sidecar_s_public_port_is_open_to_everybody() {
    for path in ALL {
        let rendered = Rendered::of(path);
        let open = &rendered.object("Service", "messaging")["spec"]["ports"];
        assert_eq!(list(open).len(), 1);
        assert_eq!(open[0]["targetPort"], "http");
        let rules = &rendered.object("NetworkPolicy", "messaging")["spec"]["ingress"];
        let open: Vec<&Value> = list(rules)
            .iter()
            .filter(|rule| rule["from"].is_null())
            .flat_map(|rule| list(&rule["ports"]))
            .collect();
        assert_eq!(open, [&json!({"port": "http"})], "{path}");
    }
}

/// The schema of this kind is the operator's; what it must say here is little.
#[test]
fn prometheus_finds_every_admin_port() {
    let rendered = Rendered::of(PRODUCTION);
    let monitor = rendered.object("ServiceMonitor", "messaging");
    assert_eq!(monitor["apiVersion"], "monitoring.coreos.com/v1");
    let known = ["selector", "endpoints"];
    let spec = monitor["spec"].as_object().unwrap();
    assert!(spec.keys().all(|key| known.contains(&&**key)), "{spec:?}");
    let service = rendered.object("Service", "messaging-admin");
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object();
    for (key, value) in wanted.unwrap() {
        assert_eq!(service["metadata"]["labels"][key], *value, "{key}");
    }
    let offered: Vec<&Value> = list(&service["spec"]["ports"])
        .iter()
        .map(|port| &port["name"])
        .collect();
    let scraped: Vec<&Value> = list(&monitor["spec"]["endpoints"])
        .iter()
        .map(|endpoint| &endpoint["port"])
        .collect();
    assert_eq!(scraped, offered);
    for endpoint in list(&monitor["spec"]["endpoints"]) {
        assert_eq!(endpoint["path"], "/metrics");
    }
}

/// The configuration of an overlay's sidecar, without the files that it names.
fn sidecar(rendered: &Rendered) -> Config {
    let text = rendered.text("ConfigMap", "vestibule", "vestibule.toml");
    let without: String = text
        .split_inclusive('\n')
        .filter(|line| {
            !["[[keys.pepper]]", "id   =", "file =", "secret_file ="]
                .iter()
                .any(|head| line.starts_with(head))
        })
        .collect();
    let louder = Louder::variables(rendered.variables("vestibule"));
    Config::parse_under("vestibule.toml", &without, &louder).expect("it is taken")
}

/// The names of a container's ports.
fn ports(container: &Value) -> Vec<&Value> {
    let ports = list(&container["ports"]).iter();
    ports.map(|port| &port["name"]).collect()
}

/// What the checker says of these objects.
fn validate(objects: &[Value]) -> String {
    let folder = TempDir::new().expect("the system has a temporary folder");
    let file = folder.path().join("objects.yaml");
    // JSON is YAML.
    let documents: Vec<String> = objects.iter().map(Value::to_string).collect();
    std::fs::write(&file, documents.join("\n---\n")).expect("the folder is ours");
    let mut command = Command::new(tool("kubernetes-validate"));
    let output = command
        .arg("--strict")
        .arg(&file)
        .output()
        .expect("it is installed");
    let text = [output.stdout, output.stderr].concat();
    String::from_utf8_lossy(&text).into_owned()
}

/// The object with a key that is written wrongly, or with a value that it cannot have.
fn slipped(object: &Value, path: &str, slip: &Slip) -> Value {
    let mut object = object.clone();
    let (parent, key) = path.rsplit_once('/').expect("it has a key");
    let parent = object.pointer_mut(parent).and_then(Value::as_object_mut);
    let parent = parent.unwrap_or_else(|| panic!("there is no {path}"));
    let value = parent.remove(key);
    let value = value.unwrap_or_else(|| panic!("there is no {path}"));
    match slip {
        Slip::Key(wrong) => parent.insert((*wrong).to_owned(), value),
        Slip::Value(wrong) => parent.insert(key.to_owned(), Value::from(*wrong)),
    };
    object
}

enum Slip {
    Key(&'static str),
    Value(&'static str),
}

const SLIPS: [(&str, &str, Slip); 20] = {
    use Slip::{Key, Value};
    const D: &str = "Deployment";
    [
        (
            D,
            "/spec/template/spec/securityContext/runAsNonRoot",
            Key("runAsNonroot"),
        ),
        (
            D,
            "/spec/template/spec/securityContext/runAsUser",
            Value("nonroot"),
        ),
        (
            D,
            "/spec/template/spec/securityContext/seccompProfile/type",
            Key("kind"),
        ),
        (
            D,
            "/spec/template/spec/terminationGracePeriodSeconds",
            Value("150s"),
        ),
        (
            D,
            "/spec/template/spec/initContainers/0/restartPolicy",
            Key("restart"),
        ),
        (
            D,
            "/spec/template/spec/initContainers/0/securityContext/readOnlyRootFilesystem",
            Key("readOnlyRootFileSystem"),
        ),
        (
            D,
            "/spec/template/spec/initContainers/0/securityContext/allowPrivilegeEscalation",
            Value("no"),
        ),
        (
            D,
            "/spec/template/spec/initContainers/0/lifecycle/preStop",
            Key("prestop"),
        ),
        (
            D,
            "/spec/template/spec/initContainers/0/startupProbe/httpGet",
            Key("http"),
        ),
        (
            D,
            "/spec/template/spec/containers/0/lifecycle/preStop/sleep/seconds",
            Value("40s"),
        ),
        (
            D,
            "/spec/template/spec/containers/0/readinessProbe/failureThreshold",
            Value("many"),
        ),
        (
            D,
            "/spec/template/spec/containers/0/resources/limits",
            Key("limit"),
        ),
        (
            D,
            "/spec/template/spec/containers/0/volumeMounts/0/mountPath",
            Key("path"),
        ),
        (D, "/spec/template/spec/volumes/0/name", Key("nam")),
        (D, "/spec/strategy/rollingUpdate", Key("rolling")),
        ("Service", "/spec/ports/0/targetPort", Key("target")),
        ("NetworkPolicy", "/spec/podSelector", Key("selector")),
        (
            "PodDisruptionBudget",
            "/spec/maxUnavailable",
            Key("maxunavailable"),
        ),
        (
            "HorizontalPodAutoscaler",
            "/spec/minReplicas",
            Value("three"),
        ),
        (
            "HorizontalPodAutoscaler",
            "/spec/scaleTargetRef",
            Key("target"),
        ),
    ]
};

const DEV: &str = "overlays/dev";
const PRODUCTION: &str = "overlays/production";
const ALL: [&str; 3] = ["base", DEV, PRODUCTION];

/// What `Messaging::run` promises, with the timeout towards Meta that is its default.
const SERVICE_ENDS_WITHIN: u64 = 65 + 30 + 5;
