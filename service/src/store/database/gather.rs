//! Steps of one kind that come at once, taken as one.
//!
//! While one batch is on its way to the disk, others arrive. Those become the next batch,
//! which costs one statement and one commit however many they are. A statement that is
//! refused has changed nothing: its batch is halved until it is known what was refused, so
//! that nobody fails for another.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::store::StoreError;

/// A queue of steps that each take an `I`.
pub(super) struct Gather<I> {
    step: &'static str,
    queue: mpsc::Sender<Asked<I>>,
}

/// A step that somebody waits for.
struct Asked<I> {
    what: Arc<I>,
    tell: oneshot::Sender<Result<(), StoreError>>,
}

// === impl Gather ===

impl<I: Send + Sync + 'static> Gather<I> {
    /// Lets `take` take what is asked for, all of it or nothing; `step` is what it is called
    /// where it fails. It ends with the last handle.
    pub(super) fn start<F, T>(step: &'static str, take: F) -> Self
    where
        F: Fn(Vec<Arc<I>>) -> T + Clone + Send + 'static,
        T: Future<Output = Result<(), StoreError>> + Send + 'static,
    {
        let (queue, asked) = mpsc::channel(QUEUE_MAX);
        tokio::spawn(run(step, asked, take));
        Self { step, queue }
    }

    /// Takes a step, or refuses at once where too many wait already. Whoever stops to wait
    /// has not taken it back.
    pub(super) async fn ask(&self, what: I) -> Result<(), StoreError> {
        let (tell, told) = oneshot::channel();
        let what = Arc::new(what);
        self.queue
            .try_send(Asked { what, tell })
            .map_err(|_| StoreError::overloaded(self.step))?;
        told.await
            .map_err(|gone| StoreError::failed(self.step, gone))?
    }

    /// Whether somebody waits for a batch to come.
    pub(super) fn has_waiting(&self) -> bool {
        self.queue.capacity() < self.queue.max_capacity()
    }
}

impl<I> Clone for Gather<I> {
    fn clone(&self) -> Self {
        Self {
            step: self.step,
            queue: self.queue.clone(),
        }
    }
}

impl<I> fmt::Debug for Gather<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What waits in it may hold anything.
        f.debug_struct("Gather")
            .field("step", &self.step)
            .finish_non_exhaustive()
    }
}

async fn run<I, F, T>(step: &'static str, mut asked: mpsc::Receiver<Asked<I>>, take: F)
where
    I: Send + Sync + 'static,
    F: Fn(Vec<Arc<I>>) -> T + Clone + Send + 'static,
    T: Future<Output = Result<(), StoreError>> + Send + 'static,
{
    let mut under_way = JoinSet::new();
    loop {
        let mut batch = Vec::new();
        if asked.recv_many(&mut batch, BATCH_MAX).await == 0 {
            break;
        }
        let take = take.clone();
        under_way.spawn(async move { take_all(step, batch, take).await });
        // One at a time, so that many share it; but one that hangs holds up nobody.
        let ended = tokio::time::timeout(HANGS, under_way.join_next()).await;
        if ended.is_err() && under_way.len() >= HANGING_MAX {
            under_way.join_next().await;
        }
    }
    while under_way.join_next().await.is_some() {}
}

/// Takes a batch, or, where it is refused, its parts.
async fn take_all<I, F, T>(step: &'static str, batch: Vec<Asked<I>>, take: F)
where
    F: Fn(Vec<Arc<I>>) -> T,
    T: Future<Output = Result<(), StoreError>>,
{
    let mut parts = vec![batch];
    while let Some(mut part) = parts.pop() {
        let taken = take(part.iter().map(|asked| Arc::clone(&asked.what)).collect()).await;
        match taken {
            Err(cause) if part.len() > 1 && cause.is_refusal() => {
                let rest = part.split_off(part.len() / 2);
                parts.extend([rest, part]);
            }
            taken => tell(step, part, taken),
        }
    }
}

fn tell<I>(step: &'static str, part: Vec<Asked<I>>, taken: Result<(), StoreError>) {
    let taken = taken.map_err(Arc::new);
    for asked in part {
        // Whoever asked may have left; the step is taken all the same.
        let _ = asked.tell.send(match &taken {
            Ok(()) => Ok(()),
            Err(cause) => Err(StoreError::shared(step, cause)),
        });
    }
}

/// Steps that wait for the disk; past this the answer is 503, quickly.
const QUEUE_MAX: usize = 1024;

/// As many steps as one statement takes, so that none waits long for the others.
const BATCH_MAX: usize = 256;

/// Longer than a disk takes for a batch, unless it has stalled.
const HANGS: std::time::Duration = std::time::Duration::from_millis(50);

/// How many batches are under way at most.
const HANGING_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_who_come_while_one_is_under_way_are_taken_together() {
        let (gather, taken, gate) = gated();
        let asked: Vec<_> = (0..10)
            .map(|n| {
                let gather = gather.clone();
                tokio::spawn(async move { gather.ask(n).await })
            })
            .collect();
        while taken.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(10);
        for one in asked {
            one.await.unwrap().unwrap();
        }
        let taken = taken.lock().unwrap();
        assert_eq!(taken.iter().sum::<usize>(), 10);
        assert!(taken.len() <= 2, "{taken:?}");
    }

    // Time stands still: a batch that seems to hang would let the next one go.
    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_batch_to_come_is_known() {
        let (gather, taken, gate) = gated();
        assert!(!gather.has_waiting());
        let ask = |n| {
            let gather = gather.clone();
            tokio::spawn(async move { gather.ask(n).await })
        };
        let first = ask(1);
        while taken.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!gather.has_waiting(), "it is under way");
        let second = ask(2);
        while !gather.has_waiting() {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        first.await.unwrap().unwrap();
        second.await.unwrap().unwrap();
        assert!(!gather.has_waiting());
    }

    #[tokio::test]
    async fn only_those_fail_whom_the_database_refuses() {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let gather = {
            let taken = Arc::clone(&taken);
            Gather::start("a step", move |batch: Vec<Arc<u32>>| {
                let taken = Arc::clone(&taken);
                async move {
                    if batch.iter().any(|n| **n % 7 == 3) {
                        return Err(StoreError::failed("a step", refusal().await));
                    }
                    taken.lock().unwrap().extend(batch.iter().map(|n| **n));
                    Ok(())
                }
            })
        };
        let asked = (0..40).map(|n| gather.ask(n));
        let told = futures_util::future::join_all(asked).await;
        for (n, told) in told.iter().enumerate() {
            assert_eq!(told.is_err(), n % 7 == 3, "{n}: {told:?}");
        }
        assert_eq!(taken.lock().unwrap().len(), 34, "each was taken once");
    }

    #[tokio::test]
    async fn a_batch_of_which_nobody_knows_whether_it_was_taken_is_not_taken_again() {
        let tries = Arc::new(Mutex::new(0));
        let gather = {
            let tries = Arc::clone(&tries);
            Gather::start("a step", move |batch: Vec<Arc<u32>>| {
                *tries.lock().unwrap() += batch.len();
                async { Err(StoreError::failed("a step", sqlx::Error::WorkerCrashed)) }
            })
        };
        let told = futures_util::future::join_all((0..9).map(|n| gather.ask(n))).await;
        assert!(told.iter().all(Result::is_err));
        assert_eq!(*tries.lock().unwrap(), 9);
    }

    #[tokio::test(start_paused = true)]
    async fn one_batch_that_hangs_holds_up_no_other() {
        let gather = Gather::start("a step", |batch: Vec<Arc<u32>>| async move {
            match *batch[0] {
                0 => std::future::pending().await,
                _ => Ok(()),
            }
        });
        let hangs = tokio::spawn({
            let gather = gather.clone();
            async move { gather.ask(0).await }
        });
        tokio::task::yield_now().await;
        gather.ask(1).await.unwrap();
        assert!(!hangs.is_finished());
    }

    /// A queue whose batches each wait for a permit, and how many steps each took.
    fn gated() -> (Gather<u32>, Arc<Mutex<Vec<usize>>>, Arc<Semaphore>) {
        let taken = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        let (counted, closed) = (Arc::clone(&taken), Arc::clone(&gate));
        let gather = Gather::start("a step", move |batch: Vec<Arc<u32>>| {
            let (counted, closed) = (Arc::clone(&counted), Arc::clone(&closed));
            async move {
                counted.lock().unwrap().push(batch.len());
                closed.acquire().await.unwrap().forget();
                Ok(())
            }
        });
        (gather, taken, gate)
    }

    async fn refusal() -> sqlx::Error {
        use sqlx::{Connection as _, Executor as _, SqliteConnection};
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        connection.execute("SELECT nonsense").await.unwrap_err()
    }
}
