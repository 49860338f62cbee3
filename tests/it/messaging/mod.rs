//! Contract §9: the messaging service, taking API keys itself and behind the sidecar, with the
//! simulator as Meta; and what an operator does with its binary.

mod deployment;
mod killed;
mod operating;
mod reading;
mod sending;
mod stopping;
mod validation;
mod world;

use crate::contract::against_both_mountings;
