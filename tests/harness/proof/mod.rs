//! The proof that nothing accepted is lost and nothing is sent twice: a real service and a real
//! simulator under seeded faults and kills, and a ledger that nobody can argue with.
//!
//! Clients send until they are answered, each message under a key of its own. Meanwhile faults
//! are ordered at the simulator and processes are killed with SIGKILL. When all is quiet, what
//! clients were told is compared with what the simulator truly accepted.

mod crowd;
mod mischief;
mod site;
mod verdict;

use std::fmt;
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;

pub use self::crowd::{Crowd, Told, Written, customer_of};
pub use self::site::Site;
pub use self::verdict::Ledger;

/// Where the service keeps things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A PostgreSQL of the run's own, which two replicas of the service share.
    Postgres,
    /// A file, and one process.
    Sqlite,
}

/// One run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Where the service keeps things.
    pub engine: Engine,
    /// How many messages are sent.
    pub messages: usize,
    /// How often a process is killed.
    pub kills: usize,
    /// What everything is drawn from.
    pub seed: u64,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Where the service kept things.
    pub engine: &'static str,
    /// What everything was drawn from.
    pub seed: u64,
    /// Messages that clients were told are accepted.
    pub messages: usize,
    /// Processes that were killed.
    pub kills: usize,
    /// Faults that were ordered.
    pub faults: usize,
    /// Messages that nobody can find any more, or that never came to an end.
    pub lost: usize,
    /// Messages that the simulator accepted more than once, or that nobody was told of.
    pub sent_twice: usize,
    /// Messages whose state is not what the simulator told of them.
    pub wrong_state: usize,
    /// Free-form texts that were accepted outside of their window.
    pub outside_window: usize,
    /// Customers who wrote once, and whose window is another's than that message's: it was
    /// handled again, or forgotten.
    pub moved_windows: usize,
    /// Messages whose answer was lost, of which something was told, and of which nobody
    /// knows for all that whether they were sent.
    pub unadopted: usize,
    /// Those that are known by what was told of them.
    pub adopted: usize,
    /// Messages that were read.
    pub read: usize,
    /// Messages of which nobody can tell whether they were sent; the client is told so.
    pub unknown: usize,
}

/// Runs a plan to its end.
///
/// # Panics
///
/// Where a process does not start, or a client is never answered.
pub async fn run(plan: Plan) -> Summary {
    let mut random = StdRng::seed_from_u64(plan.seed);
    let mut site = Site::start(plan.engine, &mut random).await;
    let crowd = Crowd::new(&site, plan.messages);
    let written = crowd.open_windows(&site).await;
    let sending = tokio::spawn(crowd.clone().send_all());
    let done = mischief::make(&mut site, &sending, &written, plan.kills, &mut random).await;
    let told = sending.await.expect("every client is answered");
    site.calm_down().await;
    let ends = verdict::settle(&site, &told).await;
    let ledger = Ledger::read(&site).await;
    let mut summary = verdict::judge(&ledger, &ends);
    summary.moved_windows = verdict::moved(&crowd, &written).await;
    summary.engine = plan.engine.as_str();
    summary.seed = plan.seed;
    summary.kills = done.kills;
    summary.faults = done.faults;
    summary
}

// === impl Engine ===

impl Engine {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

// === impl Summary ===

impl Summary {
    /// Whether everything was as it must be.
    pub const fn is_clean(&self) -> bool {
        let of_messages = self.lost + self.sent_twice + self.wrong_state + self.unadopted;
        of_messages + self.outside_window + self.moved_windows == 0
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "store={} seed={} messages={} kills={} faults={} lost={} sent_twice={} wrong_state={} \
             outside_window={} moved_windows={} unadopted={} adopted={} read={} unknown={}",
            self.engine,
            self.seed,
            self.messages,
            self.kills,
            self.faults,
            self.lost,
            self.sent_twice,
            self.wrong_state,
            self.outside_window,
            self.moved_windows,
            self.unadopted,
            self.adopted,
            self.read,
            self.unknown,
        )
    }
}

/// How long a run may take to come to rest.
pub(crate) const REST: Duration = Duration::from_secs(120);
