//! One server, and the connections to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{
    Client, Cmd, ConnectionInfo, ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind,
    Value,
};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::address::Confirmed;

/// A server. Nothing is sent before the first command is.
pub(super) struct Node {
    client: Client,
    shared: ArcSwap<Line>,
    /// Connections that carry one step at a time, because the server holds up all that
    /// follows on the same one until its replicas have the write.
    idle: Mutex<Vec<ConnectionManager>>,
    turns: Semaphore,
}

/// A connection that carries the steps of many requests.
struct Line {
    connection: ConnectionManager,
    /// Since when it owes a reply that nobody waits for any more; nothing where another
    /// one has come meanwhile.
    silent: Mutex<Option<Instant>>,
}

/// What is sent to a server as a whole.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) command: Cmd,
    pub(super) confirmed: Option<Confirmed>,
    /// The slot is on its way to this server, which serves it to who says so.
    pub(super) is_asking: bool,
}

/// What a server replied.
pub(super) struct Reply {
    pub(super) value: Value,
    /// Whether as many replicas have it as were asked for.
    pub(super) is_confirmed: bool,
}

// === impl Node ===

impl Node {
    pub(super) fn new(info: ConnectionInfo) -> RedisResult<Self> {
        let client = Client::open(info)?;
        Ok(Self {
            shared: ArcSwap::from_pointee(Line::new(&client)?),
            client,
            idle: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// Where it is.
    pub(super) fn info(&self) -> &ConnectionInfo {
        self.client.get_connection_info()
    }

    /// Sends a command that no replica has to confirm.
    pub(super) async fn ask(&self, command: Cmd) -> RedisResult<Value> {
        let reply = self.send(&Message::from(command)).await?;
        Ok(reply.value)
    }

    /// Sends this, once.
    pub(super) async fn send(&self, message: &Message) -> RedisResult<Reply> {
        if let Some(confirmed) = message.confirmed {
            return self.send_alone(message, confirmed.within).await;
        }
        let line = self.line()?;
        let mut waiting = Waiting(&line, Instant::now(), false);
        let reply = message.over(&line.connection).await;
        waiting.2 = !reply.as_ref().is_err_and(RedisError::is_timeout);
        if reply.as_ref().is_err_and(is_final) {
            self.replace(&line)?;
        }
        reply
    }

    async fn send_alone(&self, message: &Message, within: Duration) -> RedisResult<Reply> {
        let _turn = self.turns.acquire().await.expect("it is never closed");
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.client, within + ANSWERED)?,
        };
        // Where its user gives up, or it failed, it is not used again.
        let reply = message.over(&connection).await?;
        self.idle().push(connection);
        Ok(reply)
    }

    /// The connection for the next step.
    fn line(&self) -> RedisResult<Arc<Line>> {
        let line = self.shared.load_full();
        if line.is_silent() {
            self.replace(&line)?;
            return Ok(self.shared.load_full());
        }
        Ok(line)
    }

    fn replace(&self, line: &Arc<Line>) -> RedisResult<()> {
        let anew = Arc::new(Line::new(&self.client)?);
        self.shared.compare_and_swap(line, anew);
        Ok(())
    }

    fn idle(&self) -> MutexGuard<'_, Vec<ConnectionManager>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Line ===

impl Line {
    fn new(client: &Client) -> RedisResult<Self> {
        Ok(Self {
            connection: connect(client, ANSWERED)?,
            silent: Mutex::default(),
        })
    }

    /// Whether it leads nowhere, though nothing has closed it.
    fn is_silent(&self) -> bool {
        let since = *self.silent();
        since.is_some_and(|since| since.elapsed() > SILENT)
    }

    fn silent(&self) -> MutexGuard<'_, Option<Instant>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A step on its way since then, and whether a reply has come.
struct Waiting<'a>(&'a Line, Instant, bool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut silent = self.0.silent();
        *silent = if self.2 {
            None
        } else {
            silent.or(Some(self.1))
        };
    }
}

// === impl Message ===

impl Message {
    async fn over(&self, connection: &ConnectionManager) -> RedisResult<Reply> {
        let mut connection = connection.clone();
        if self.confirmed.is_none() && !self.is_asking {
            let value = connection.send_packed_command(&self.command).await?;
            return Ok(Reply {
                value: value.extract_error()?,
                is_confirmed: true,
            });
        }
        let mut commands = Pipeline::new();
        if self.is_asking {
            commands.cmd("ASKING");
        }
        commands.add_command(self.command.clone());
        if let Some(confirmed) = self.confirmed {
            let millis = u64::try_from(confirmed.within.as_millis()).unwrap_or(u64::MAX);
            commands.cmd("WAIT").arg(confirmed.replicas).arg(millis);
        }
        let count = commands.len();
        let replies = connection.send_packed_commands(&commands, 0, count).await?;
        let mut replies = replies.into_iter().skip(usize::from(self.is_asking));
        let value = replies.next().unwrap_or(Value::Nil).extract_error()?;
        let is_confirmed = self.confirmed.is_none_or(|confirmed| {
            matches!(replies.next(), Some(Value::Int(had)) if had >= i64::from(confirmed.replicas))
        });
        Ok(Reply {
            value,
            is_confirmed,
        })
    }
}

impl From<Cmd> for Message {
    fn from(command: Cmd) -> Self {
        Self {
            command,
            confirmed: None,
            is_asking: false,
        }
    }
}

/// Opened by its first command, and anew by the first one after it broke.
fn connect(client: &Client, answered: Duration) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(CONNECTED))
        .set_response_timeout(Some(answered))
        .set_concurrency_limit(UNDERWAY);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// Whether the connection is of no use after this. What is no reply at all leaves it unclear
/// where the next one begins; and a server that is no master any more stays connected to,
/// where the address may lead to its successor.
fn is_final(fault: &RedisError) -> bool {
    let is_demoted = fault.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    is_demoted || (fault.code().is_none() && !fault.is_timeout())
}

/// A server on the same network is connected to in milliseconds.
const CONNECTED: Duration = Duration::from_secs(1);

/// Over every deadline of a step, which is kept by who asks (contract §7).
const ANSWERED: Duration = Duration::from_secs(1);

/// Five times what the slowest step has (contract §7).
const SILENT: Duration = Duration::from_secs(1);

/// Steps of one process that may wait for their replies at one time: the memory that
/// they take is bounded.
const UNDERWAY: usize = 4096;

/// Steps of one process that may wait for replicas at one time, each on a connection.
const AT_ONCE: usize = 16;
