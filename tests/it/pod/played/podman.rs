//! podman as a command, and what the tests say of what they do.

use std::path::Path;
use std::process::Command;

use crate::pod::rendered::run;

/// What podman prints, given these words.
///
/// # Panics
///
/// Where it fails.
pub(super) fn podman(words: &[&str]) -> String {
    run(command().args(words), "").trim_end().to_owned()
}

/// The same, with this to read.
pub(super) fn podman_reads(words: &[&str], input: &str) -> String {
    run(command().args(words), input)
}

/// What a thing is removed by may fail: it may not be there.
pub(super) fn remove(words: &[&str]) {
    let _gone = command().args(words).output();
}

/// podman, as these tests configure it.
pub(super) fn command() -> Command {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("it/pod/played/containers.conf");
    let mut command = Command::new("podman");
    command.env("CONTAINERS_CONF", own).current_dir("/");
    command
}

/// A line of the log.
#[expect(
    clippy::print_stdout,
    reason = "./tests/pod shows what is done to the pod"
)]
pub(super) fn told(what: &str) {
    println!("pod: {what}");
}
