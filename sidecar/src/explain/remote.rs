//! A running sidecar, asked over its admin socket.

use std::path::Path;

use bytes::Bytes;
use http::{Request, StatusCode};
use vestibule::error::Code;
use vestibule::stack::explain::Explanation;

use super::{Fault, wire};
use crate::socket_client;

/// What the sidecar whose admin interface is on this Unix socket would do with a request.
///
/// # Errors
///
/// [`Fault`] where it does not answer, or answers something else.
pub async fn ask(socket: &Path, request: &Request<Bytes>) -> Result<Explanation, Fault> {
    let at = |text: String| Fault::new(format!("unix:{}: {text}", socket.display()));
    let json = wire::write(request)?;
    let answer = socket_client::ask(socket, wire::PATH, Some(json)).await;
    let (status, json) = answer.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        at(cause.unwrap_or_else(|| error.to_string()))
    })?;
    if status != StatusCode::OK {
        let said = json["error"]["message"].as_str().unwrap_or_default();
        let is_unknown = json["error"]["code"] == Code::ENDPOINT_NOT_FOUND.name();
        return Err(at(match is_unknown {
            true => "the sidecar that runs explains nothing: it is older".to_owned(),
            false => format!("it answers {}: {said}", status.as_u16()),
        }));
    }
    serde_json::from_value(json).map_err(|cause| at(format!("its answer cannot be read: {cause}")))
}
