//! `vestibule explain`: from the arguments to a request, and from its explanation to the terminal.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use bytes::Bytes;
use http::Request;
use vestibule::stack::explain::Explanation;
use vestibule_sidecar::config::Config;
use vestibule_sidecar::explain::{self, REQUEST_MAX, of_curl, of_http};

use crate::drain;
use crate::input::{bounded, bounded_text};

/// Explains the request that is in a file or that a command of curl sends, by the stack of a
/// configuration or of the sidecar behind a socket.
pub(crate) fn run(
    place: (Option<&Path>, Option<&Path>),
    asked: (Option<&Path>, Option<&str>),
    json: bool,
) -> Result<ExitCode, Box<dyn Error>> {
    let request = request(asked)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let told = runtime.block_on(told(place, request))?;
    let text = match json {
        true => format!("{}\n", serde_json::to_string(&told)?),
        false => told.to_string(),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(match told.passes() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn request(asked: (Option<&Path>, Option<&str>)) -> Result<Request<Bytes>, Box<dyn Error>> {
    let stdin = || bounded_text(io::stdin(), REQUEST_MAX);
    Ok(match asked {
        (Some(file), _) => {
            let read = if file == Path::new("-") {
                bounded(io::stdin(), REQUEST_MAX)
            } else {
                file_at(file)
            };
            let at = |fault: &dyn Error| format!("{}: {fault}", file.display());
            let text = read.map_err(|cause| at(&cause))?;
            of_http(&text).map_err(|fault| at(&fault))?
        }
        (None, Some("-")) => of_curl(&stdin()?, &|name| file_at(Path::new(name)))?,
        (None, Some(command)) => of_curl(command, &|name| file_at(Path::new(name)))?,
        (None, None) => return Err("one of --request and --curl is needed".into()),
    })
}

async fn told(
    (config, admin): (Option<&Path>, Option<&Path>),
    request: Request<Bytes>,
) -> Result<Explanation, Box<dyn Error>> {
    if let Some(socket) = admin {
        return Ok(explain::ask(socket, &request).await?);
    }
    let file = config.ok_or("one of --config and --admin is needed")?;
    let config = Config::read(file)?;
    match drain::socket(&config) {
        Some(socket) if UnixStream::connect(socket).is_ok() => {
            Ok(explain::ask(socket, &request).await?)
        }
        _ => Ok(explain::open(&config).await?.explain(request).await),
    }
}

fn file_at(path: &Path) -> io::Result<Vec<u8>> {
    bounded(File::open(path)?, REQUEST_MAX)
}
