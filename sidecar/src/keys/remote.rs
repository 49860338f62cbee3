//! The key records of a running sidecar, asked for over its admin socket.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::StatusCode;
use serde_json::Value;
use vestibule::api_key::{Digest, KeyChange, KeyRecord, KeyStore, KeyWriteError, Keyring};
use vestibule::clock::Timestamp;
use vestibule::error::{Code, StoreError};

use super::wire::{self, PAGE_MAX, Query};
use crate::socket_client;

/// The key records of a sidecar whose admin interface is on a Unix socket.
///
/// Whether the changes of one call are made together is what the sidecar's store says.
#[derive(Clone, Debug)]
pub struct AdminKeys {
    socket: Arc<Path>,
}

// === impl AdminKeys ===

impl AdminKeys {
    /// Those of the sidecar that listens here.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into().into(),
        }
    }

    async fn read(&self, query: &Query) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        let path = format!("{}?{}", wire::PATH, query.write());
        let (status, json) = self.ask(&path, None).await?;
        if status != StatusCode::OK {
            return Err(refused(status, &json));
        }
        wire::read_records(&json).map_err(|fault| StoreError::unanswered().because(fault))
    }

    async fn ask(
        &self,
        path: &str,
        body: Option<Value>,
    ) -> Result<(StatusCode, Value), StoreError> {
        socket_client::ask(&self.socket, path, body).await
    }
}

impl Keyring for AdminKeys {
    async fn find(&self, digest: &Digest) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let found = self.read(&Query::Digest(digest.clone())).await?;
        Ok(found.into_iter().next())
    }
}

impl KeyStore for AdminKeys {
    async fn get(&self, id: &str) -> Result<Option<Arc<KeyRecord>>, StoreError> {
        let found = self.read(&Query::Id(id.to_owned())).await?;
        Ok(found.into_iter().next())
    }

    async fn page(&self, after: &str, most: usize) -> Result<Vec<Arc<KeyRecord>>, StoreError> {
        let mut records: Vec<Arc<KeyRecord>> = Vec::new();
        while records.len() < most {
            let last = records.last().map(|last| last.principal().key_id());
            let wanted = (most - records.len()).min(PAGE_MAX);
            let query = Query::Page {
                after: last.unwrap_or(after).to_owned(),
                most: wanted,
            };
            let page = self.read(&query).await?;
            let is_last = page.len() < wanted;
            records.extend(page);
            if is_last {
                break;
            }
        }
        Ok(records)
    }

    async fn write(&self, changes: &[KeyChange]) -> Result<(), KeyWriteError> {
        let (status, json) = self.ask(wire::PATH, Some(wire::changes(changes))).await?;
        match status {
            StatusCode::OK => Ok(()),
            _ => Err(write_refused(status, &json)),
        }
    }

    async fn touch(&self, used: &[(Box<str>, Timestamp)]) -> Result<(), StoreError> {
        let (status, json) = self.ask(wire::SEEN, Some(wire::seen(used))).await?;
        match status {
            StatusCode::OK => Ok(()),
            _ => Err(refused(status, &json)),
        }
    }
}

fn write_refused(status: StatusCode, json: &Value) -> KeyWriteError {
    let error = &json["error"];
    let text = |field: &str| Box::from(error[field].as_str().unwrap_or_default());
    match error["reason"].as_str() {
        Some("conflict") => KeyWriteError::Conflict { id: text("id") },
        Some("immutable") => KeyWriteError::Immutable { id: text("id") },
        Some("same_digest") => KeyWriteError::SameDigest {
            id: text("id"),
            other: text("other"),
        },
        _ => refused(status, json).into(),
    }
}

/// Of what was refused nothing was done; of what the sidecar could not do, nobody knows.
fn refused(status: StatusCode, json: &Value) -> StoreError {
    let said = json["error"]["message"].as_str().unwrap_or_default();
    if json["error"]["code"] == Code::ENDPOINT_NOT_FOUND.name() {
        return StoreError::not_sent().because(NO_KEYS);
    }
    let error = if status.is_client_error() {
        StoreError::not_sent()
    } else {
        StoreError::unanswered()
    };
    error.because(format!("{}: {said}", status.as_u16()))
}

const NO_KEYS: &str =
    "the sidecar has no key records to change: its [keys] source is not \"store\"";
