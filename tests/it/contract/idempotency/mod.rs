//! Contract §6: a keyed request is executed once, and what a repetition is answered.

mod concurrent;
mod fate;
mod kept;
mod repeated;

use super::against_both_mountings;
