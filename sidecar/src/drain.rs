//! `vestibule drain`: tells a running sidecar to end, over its admin socket.

use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use vestibule_sidecar::config::{Address, Config};

/// Tells the sidecar of this configuration, or of this socket.
pub(crate) fn run(
    config: Option<&Path>,
    admin: Option<PathBuf>,
) -> Result<ExitCode, Box<dyn Error>> {
    let path = match (config, admin) {
        (_, Some(path)) => path,
        (Some(file), None) => {
            let config = Config::read(file)?;
            let found = socket(&config).map(Path::to_owned);
            found.ok_or_else(|| format!("{}: {NO_SOCKET}", file.display()))?
        }
        (None, None) => return Err("one of --config and --admin is needed".into()),
    };
    let answer = ask(&path).map_err(|cause| format!("unix:{}: {cause}", path.display()))?;
    if !answer.starts_with("HTTP/1.1 202 ") {
        let said = answer.lines().next().unwrap_or_default();
        return Err(format!("unix:{}: it answers {said:?}", path.display()).into());
    }
    Ok(ExitCode::SUCCESS)
}

/// The admin address that takes commands.
pub(crate) fn socket(config: &Config) -> Option<&Path> {
    config.admin.iter().find_map(|address| match address {
        Address::Unix(path) => Some(&**path),
        Address::Tcp(_) => None,
    })
}

fn ask(path: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    stream.write_all(REQUEST)?;
    let mut answer = String::new();
    stream.take(ANSWER_MAX).read_to_string(&mut answer)?;
    Ok(answer)
}

const REQUEST: &[u8] =
    b"POST /v1/drain HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

const NO_SOCKET: &str = "'admin' has no Unix socket, which alone takes commands; expected one like \"unix:/run/vestibule/admin.sock\"";

/// It answers before it does anything.
const WITHIN: Duration = Duration::from_secs(5);

const ANSWER_MAX: u64 = 64 << 10;
