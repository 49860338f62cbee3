//! The connection: opened once, checked, and replaced when it breaks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{
    Client, Cmd, ErrorKind, IntoConnectionInfo, RedisError, RedisResult, ServerErrorKind, Value,
};

use super::script::Step;
use crate::error::StoreError;

/// A server that cannot be a store.
#[derive(Debug, thiserror::Error)]
#[error("{fault}")]
pub struct ConnectError {
    fault: String,
    source: Option<RedisError>,
}

/// One connection to a server that knows the scripts.
#[derive(Clone)]
pub(super) struct Connection {
    manager: ConnectionManager,
    /// The digests by which the server knows them, in the order of [`Step::ALL`].
    digests: Arc<[String]>,
}

// === impl ConnectError ===

impl ConnectError {
    fn new(fault: impl Into<String>) -> Self {
        Self {
            fault: fault.into(),
            source: None,
        }
    }

    fn because(fault: &str, source: RedisError) -> Self {
        Self {
            fault: format!("{fault}: {source}"),
            source: Some(source),
        }
    }
}

// === impl Connection ===

impl Connection {
    pub(super) async fn open(address: &str, may_evict: bool) -> Result<Self, ConnectError> {
        // The fault of a parser may quote a password, and says no more than this does.
        let info = address
            .into_connection_info()
            .map_err(|_| ConnectError::new("it is no address like \"redis://host:6379\""))?;
        let info = info.set_tcp_settings(TcpSettings::default().set_user_timeout(GIVEN_UP));
        let client = Client::open(info)
            .map_err(|cause| ConnectError::because("it cannot be used", cause))?;
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(CONNECTED))
            .set_response_timeout(Some(ANSWERED))
            .set_concurrency_limit(UNDERWAY);
        let mut manager = ConnectionManager::new_with_config(client, config)
            .await
            .map_err(|cause| ConnectError::because("it cannot be reached", cause))?;
        check(&mut manager, may_evict).await?;
        let digests = load(&mut manager)
            .await
            .map_err(|cause| ConnectError::because("it takes no scripts", cause))?;
        Ok(Self { manager, digests })
    }

    /// Takes one step.
    pub(super) async fn run(
        &self,
        step: Step,
        keys: &[Bytes],
        args: &[Bytes],
    ) -> Result<Value, StoreError> {
        let digest = self.digests[step as usize].as_bytes();
        let answer = match self.send("EVALSHA", digest, keys, args).await {
            // It was started anew or another one has taken over; it has done nothing yet.
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.send("EVAL", step.text().as_bytes(), keys, args).await
            }
            answer => answer,
        };
        answer.map_err(store_error)
    }

    async fn send(
        &self,
        name: &str,
        script: &[u8],
        keys: &[Bytes],
        args: &[Bytes],
    ) -> RedisResult<Value> {
        let mut command = Cmd::new();
        command.arg(name).arg(script).arg(keys.len());
        for part in keys.iter().chain(args) {
            command.arg(&part[..]);
        }
        self.ask(&command).await
    }

    /// Sends one command.
    pub(super) async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        let reply = self.manager.clone().send_packed_command(command).await?;
        reply.extract_error()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The manager would show the address, and with it a password.
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

async fn check(manager: &mut ConnectionManager, may_evict: bool) -> Result<(), ConnectError> {
    let unknown = |cause| ConnectError::because("it does not tell what it is (INFO)", cause);
    let version = info(manager, "server", "redis_version")
        .await
        .map_err(unknown)?;
    let major = version
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    if major.is_none_or(|major: u32| major < 7) {
        let fault = format!("it is Redis \"{version}\", and must be 7.0 or newer");
        return Err(ConnectError::new(fault));
    }
    let policy = info(manager, "memory", "maxmemory_policy")
        .await
        .map_err(unknown)?;
    if policy != "noeviction" && !may_evict {
        let fault = format!(
            "its maxmemory-policy is \"{policy}\", which may drop the record of a request and have it \
             executed a second time; it must be \"noeviction\""
        );
        return Err(ConnectError::new(fault));
    }
    Ok(())
}

/// A line of INFO; empty where there is none. Unlike CONFIG, services that run Redis for
/// others leave it open.
async fn info(manager: &mut ConnectionManager, section: &str, name: &str) -> RedisResult<String> {
    let mut command = Cmd::new();
    let text: String = command
        .arg("INFO")
        .arg(section)
        .query_async(manager)
        .await?;
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let found = values.into_iter().find(|(key, _)| *key == name);
    Ok(found.map_or_else(String::new, |(_, value)| value.trim().to_owned()))
}

/// Has the server read all scripts, so that the first request need not wait for it, and
/// a server that is full later has them already.
async fn load(manager: &mut ConnectionManager) -> RedisResult<Arc<[String]>> {
    let mut digests = Vec::with_capacity(Step::ALL.len());
    for step in Step::ALL {
        let mut command = Cmd::new();
        command.arg("SCRIPT").arg("LOAD").arg(step.text());
        digests.push(command.query_async(manager).await?);
    }
    Ok(digests.into())
}

/// What a failure says about the step. Whatever is not known to have done nothing may
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

/// A server on the same network is connected to in milliseconds.
const CONNECTED: Duration = Duration::from_secs(1);

/// Over every deadline of a step, which is kept by who asks (contract §7).
const ANSWERED: Duration = Duration::from_secs(1);

/// A connection that has acknowledged nothing for so long leads nowhere. Several times
/// what a lost packet costs.
const GIVEN_UP: Duration = Duration::from_secs(2);

/// Steps of one process that may wait for their replies at one time: the memory that
/// they take is bounded.
const UNDERWAY: usize = 4096;
