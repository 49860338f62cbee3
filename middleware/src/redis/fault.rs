//! What a failure says about the step.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::error::StoreError;

/// Whatever is not known to have done nothing may
/// have done it.
pub(super) fn store_error(error: RedisError) -> StoreError {
    if error.code() == Some("OOM") {
        return StoreError::full().because(error);
    }
    let is_refused = match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::BusyLoading
            | ServerErrorKind::NoScript
            | ServerErrorKind::Moved
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::CrossSlot
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ReadOnly
            | ServerErrorKind::NoPerm,
        ) => true,
        _ => error.code().is_some_and(|code| REFUSED.contains(&code)),
    };
    if is_refused || error.is_connection_refusal() {
        return StoreError::not_sent().because(error);
    }
    StoreError::unanswered().because(error)
}

/// Answers of a server that has not begun a script. `NOREPLICAS` and `MISCONF` may stop
/// a script only at its first write.
const REFUSED: [&str; 5] = ["BUSY", "MISCONF", "NOAUTH", "NOREPLICAS", "WRONGPASS"];
