//! The file that users build images by, line by line: its base images are not to be had here.

use super::rendered::{folder, root};

#[test]
fn every_image_is_one_binary_without_a_shell_and_without_root() {
    for (target, package, binary) in [
        ("sidecar", "-p vestibule-sidecar", "/vestibule"),
        ("messaging", "-p vestibule-messaging", "/messaging"),
        (
            "simulator",
            "--example cloud_api_simulator",
            "/cloud_api_simulator",
        ),
    ] {
        let stage = stage(target);
        assert_eq!(stage[0], format!("FROM {BASE} AS {target}"));
        let from = format!("COPY --from={target}-builder /out{binary} {binary}");
        let entry = format!("ENTRYPOINT [\"{binary}\"]");
        for line in [&*from, "USER 65532:65532", &*entry] {
            assert!(stage.iter().any(|one| one == line), "{target}: {line}");
        }
        let instructions = stage.iter().filter(|line| line.starts_with("COPY"));
        assert_eq!(instructions.count(), 1, "{target}");
        let builder = self::stage(&format!("{target}-builder")).join("\n");
        for word in [
            "--locked",
            "--profile dist",
            package,
            &format!("/out{binary}"),
        ] {
            assert!(builder.contains(word), "{target}: {word}");
        }
    }
}

#[test]
fn the_builder_has_what_the_workspace_asks_for() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let least = version(&manifest, "rust-version = \"", "\"");
    let builds = version(&text(), "ARG RUST=", "\n");
    assert!(builds >= least, "{builds:?} for {least:?}");
    assert!(manifest.contains("[profile.dist]"));
    assert!(stage("builder").join("\n").contains("cmake"));
    let given = std::fs::read_to_string(folder().join("Containerfile.dockerignore")).unwrap();
    let members = manifest.lines().find(|line| line.starts_with("members = "));
    for member in members.unwrap().split('"').skip(1).step_by(2) {
        assert!(given.contains(&format!("\n!{member}\n")), "{member}");
    }
}

/// The lines of a stage, from its FROM on.
fn stage(name: &str) -> Vec<String> {
    let text = text();
    let end = format!(" AS {name}");
    let lines = text.lines().skip_while(|line| !line.ends_with(&end));
    let mut stage: Vec<String> = lines.map(str::to_owned).collect();
    let next = stage
        .iter()
        .skip(1)
        .position(|line| line.starts_with("FROM "));
    stage.truncate(next.map_or(stage.len(), |next| next + 1));
    assert!(!stage.is_empty(), "there is no stage {name}");
    stage
}

fn version(text: &str, head: &str, end: &str) -> Vec<u32> {
    let (_, rest) = text.split_once(head).expect("it is named");
    let (version, _) = rest.split_once(end).expect("it ends");
    let parts = version.split('.');
    parts.map(|part| part.parse().expect("a number")).collect()
}

fn text() -> String {
    std::fs::read_to_string(folder().join("Containerfile")).expect("it is there")
}

const BASE: &str = "gcr.io/distroless/cc-debian12:nonroot";
