//! The project's own binaries as processes: found beside the tests, ended with them.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A process that is killed when the test is over.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

/// The path of a binary of this workspace. It is not built here: `./tests/run` has done so.
///
/// # Panics
///
/// Where the binary is missing, with the command that builds it.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let profile = test
        .ancestors()
        .find(|folder| {
            let name = folder.file_name();
            name.is_some_and(|name| name == "deps" || name == "examples")
        })
        .and_then(Path::parent)
        .expect("cargo puts tests into target/PROFILE/deps, and examples beside");
    let binary = profile.join(name);
    assert!(
        binary.exists(),
        "{} is missing: run 'cargo build --workspace --bins' first",
        binary.display()
    );
    binary
}

// === impl Process ===

impl Process {
    /// Starts a process whose standard error is shown only where a test fails.
    ///
    /// # Panics
    ///
    /// Where the process cannot be started.
    #[must_use]
    pub fn start(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::null()).spawn();
        Self {
            child: child.expect("the binary was found just now"),
        }
    }

    /// Starts a process and reads the first line that it prints.
    ///
    /// # Panics
    ///
    /// Where the process cannot be started, or ends without a word.
    #[must_use]
    pub fn announced(command: &mut Command) -> (Self, String) {
        let (process, line, _output) = Self::talking(command);
        (process, line)
    }

    /// The same, and gives what it goes on to print.
    ///
    /// # Panics
    ///
    /// As [`announced`](Self::announced).
    #[must_use]
    pub fn talking(command: &mut Command) -> (Self, String, BufReader<ChildStdout>) {
        let mut process = Self::start(command.stdout(Stdio::piped()));
        let output = process.child.stdout.take().expect("it is piped");
        let mut line = String::new();
        let mut output = BufReader::new(output);
        let read = output.read_line(&mut line);
        assert!(
            read.is_ok_and(|length| length > 0),
            "it ended without a word"
        );
        (process, line, output)
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name: `TERM`, `INT` or `KILL`.
    ///
    /// # Panics
    ///
    /// Where there is no `kill`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.id().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Whether it has ended.
    ///
    /// # Panics
    ///
    /// Where the system does not say.
    pub fn has_ended(&mut self) -> bool {
        let status = self.child.try_wait();
        status.expect("the process is ours").is_some()
    }

    /// Waits for the end, for so long at most.
    ///
    /// # Panics
    ///
    /// Where the process still runs then.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        let deadline = now() + within;
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            assert!(now() < deadline, "the process still runs after {within:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// A number of kilobytes of `/proc/PID/status`, such as `VmHWM`.
    ///
    /// # Panics
    ///
    /// Where the process is gone, or has no such line.
    pub fn kilobytes(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()));
        let status = status.expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let number = line.and_then(|line| line.trim_start_matches(':').split_whitespace().next());
        number
            .and_then(|number| number.parse().ok())
            .expect("the kernel writes this line")
    }

    /// How long its threads have run on processors; those that have ended are left out.
    ///
    /// # Panics
    ///
    /// Where the process is gone, or the kernel does not count.
    pub fn busy(&self) -> Duration {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id()));
        let threads = threads.expect("the process runs").flatten();
        // One may end between the look into the folder and this.
        let counts = threads.flat_map(|thread| {
            let count = std::fs::read_to_string(thread.path().join("schedstat"));
            count.ok()?.split(' ').next()?.parse::<u64>().ok()
        });
        let nanos = counts.sum();
        assert!(nanos > 0, "the kernel counts no time of processors");
        Duration::from_nanos(nanos)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a process is waited for in real time"
)]
fn now() -> Instant {
    Instant::now()
}
