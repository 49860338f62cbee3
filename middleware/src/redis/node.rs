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

use super::address::Confirmed;

/// A server. Nothing is sent before the first command is.
pub(super) struct Node {
    client: Client,
    /// The one that carries the steps of many requests.
    shared: ArcSwap<ConnectionManager>,
    /// Those that carry one step at a time, because the server holds up all that follows
    /// on the same connection until its replicas have the write.
    idle: Mutex<Vec<ConnectionManager>>,
    turns: Semaphore,
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
            shared: ArcSwap::from_pointee(connect(&client)?),
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
        if message.confirmed.is_some() {
            return self.send_alone(message).await;
        }
        let shared = self.shared.load_full();
        let reply = message.over(&shared).await;
        if is_demoted(&reply) {
            let anew = Arc::new(connect(&self.client)?);
            self.shared.compare_and_swap(&shared, anew);
        }
        reply
    }

    async fn send_alone(&self, message: &Message) -> RedisResult<Reply> {
        let _turn = self.turns.acquire().await.expect("it is never closed");
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.client)?,
        };
        let mut lent = Lent(self, connection);
        let reply = message.over(&lent.1).await;
        if is_demoted(&reply) {
            lent.1 = connect(&self.client)?;
        }
        reply
    }

    fn idle(&self) -> MutexGuard<'_, Vec<ConnectionManager>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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

/// A connection that goes back to its node, even where its user gives up: replies come
/// in the order of the commands, so what it still owes is not told to who has it next.
struct Lent<'a>(&'a Node, ConnectionManager);

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.0.idle().push(self.1.clone());
    }
}

/// Opened by its first command, and anew by the first one after it broke.
fn connect(client: &Client) -> RedisResult<ConnectionManager> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(CONNECTED))
        .set_response_timeout(Some(ANSWERED))
        .set_concurrency_limit(UNDERWAY);
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

/// Whether another server is the master now. The address may lead to it, a connection
/// that is there never will.
fn is_demoted(reply: &RedisResult<Reply>) -> bool {
    let kind = reply.as_ref().err().map(RedisError::kind);
    kind == Some(ErrorKind::Server(ServerErrorKind::ReadOnly))
}

/// A server on the same network is connected to in milliseconds.
const CONNECTED: Duration = Duration::from_secs(1);

/// Over every deadline of a step, which is kept by who asks (contract §7).
const ANSWERED: Duration = Duration::from_secs(1);

/// Steps of one process that may wait for their replies at one time: the memory that
/// they take is bounded.
const UNDERWAY: usize = 4096;

/// Steps of one process that may wait for replicas at one time, each on a connection.
const AT_ONCE: usize = 16;
