//! `/v1/keys` on the admin socket: what `vestibule keys --admin` asks of a running sidecar.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/keys?after=ID&most=N` | the records after this id, at most so many: `{"keys":[{"record":{…},"version":"…"}]}` |
//! | `GET /v1/keys?id=ID`, `?digest=HEX&pepper=ID` | the same with one record, or none |
//! | `POST /v1/keys` `{"changes":[{"record":{…},"replaces":"…"}]}` | `{"written":N}`, or 422 `key_change_refused` |
//! | `POST /v1/keys/seen` `{"seen":[{"id":"…","at":MILLISECONDS}]}` | `{"seen":N}` |
//!
//! Records are those of a key file. A change without `replaces` is a key that is new; any
//! other one names the version of the record that it was made from.

use std::error::Error;

use http::{Method, Request};
use serde_json::{Value, json};
use vestibule::ApiError;
use vestibule::api_key::{KeyStore, KeyWriteError};

use super::{Answer, json_of, not_allowed};
use crate::keys::wire::{self, PAGE_MAX, Query};

/// Where the resources lie.
pub(super) const PATH: &str = wire::PATH;

/// Answers a request for the key records of a store.
pub(super) async fn answer<B>(keys: &impl KeyStore, request: Request<B>) -> Answer
where
    B: http_body::Body<Data: Send, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static,
{
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let answered = match (&*path, &method) {
        (wire::PATH, &Method::GET) => read(keys, request.uri().query()).await,
        (wire::PATH, &Method::POST) => write(keys, request.into_body()).await,
        (wire::SEEN, &Method::POST) => touch(keys, request.into_body()).await,
        (wire::PATH, _) => Err(not_allowed("GET, POST")),
        (wire::SEEN, _) => Err(not_allowed("POST")),
        _ => Err(ApiError::endpoint_not_found()),
    };
    super::answered(answered)
}

async fn read(keys: &impl KeyStore, query: Option<&str>) -> Result<Value, ApiError> {
    let query = Query::parse(query.unwrap_or_default()).map_err(ApiError::invalid_request_body)?;
    let found = match query {
        Query::Page { after, most } => keys.page(&after, most.min(PAGE_MAX)).await,
        Query::Id(id) => keys.get(&id).await.map(Vec::from_iter),
        Query::Digest(digest) => keys.find(&digest).await.map(Vec::from_iter),
    };
    Ok(wire::records(&found.map_err(|error| lost(&error))?))
}

async fn write<B>(keys: &impl KeyStore, body: B) -> Result<Value, ApiError>
where
    B: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let changes = wire::read_changes(&json_of(body).await?);
    let changes = changes.map_err(|fault| ApiError::invalid_request_body(fault.to_string()))?;
    keys.write(&changes)
        .await
        .map_err(|error| refused(&error))?;
    for change in &changes {
        let who = change.record.principal();
        let (id, account) = (who.key_id(), who.account());
        let is_new = change.replaces.is_none();
        tracing::info!(id, account, is_new, "a key record was written");
    }
    Ok(json!({ "written": changes.len() }))
}

async fn touch<B>(keys: &impl KeyStore, body: B) -> Result<Value, ApiError>
where
    B: http_body::Body<Error: Into<Box<dyn Error + Send + Sync>>>,
{
    let seen = wire::read_seen(&json_of(body).await?);
    let seen = seen.map_err(|fault| ApiError::invalid_request_body(fault.to_string()))?;
    keys.touch(&seen).await.map_err(|error| lost(&error))?;
    Ok(json!({ "seen": seen.len() }))
}

fn refused(error: &KeyWriteError) -> ApiError {
    let (reason, id) = match error {
        KeyWriteError::Conflict { id } => ("conflict", id),
        KeyWriteError::SameDigest { id, other } => {
            let message = error.to_string();
            return ApiError::key_change_refused(message, "same_digest", id)
                .extra("other", &**other);
        }
        KeyWriteError::Immutable { id } => ("immutable", id),
        KeyWriteError::Unfit { id, .. } => ("unfit", id),
        KeyWriteError::Store(error) => return lost(error),
        _ => return ApiError::internal(),
    };
    ApiError::key_change_refused(error.to_string(), reason, id)
}

fn lost(error: &(dyn Error + 'static)) -> ApiError {
    let cause = error.source();
    tracing::error!(error, cause, "key records could not be read or written");
    ApiError::auth_store_unavailable()
}
