//! What tests of the layers, and of services that mount them, need: a clock to set, a
//! store to break, real servers to break, and the cases that every store must pass.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//! use vestibule::clock::{Clock, Timestamp};
//! use vestibule::testing::ManualClock;
//!
//! let clock = ManualClock::at(Timestamp::from_unix_seconds(1_000));
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(clock.now(), Timestamp::from_unix_seconds(1_060));
//! ```

mod clock;
mod entropy;
mod faulty;
pub mod keystore;
pub mod server;
pub mod store;
mod timer;

pub use self::clock::ManualClock;
pub use self::entropy::CountingEntropy;
pub use self::faulty::{Fault, FaultyStore};
pub use self::keystore::KeySubject;
pub use self::store::Subject;
pub use self::timer::TimerClock;
