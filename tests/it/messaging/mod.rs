//! Contract §9: the messaging service, taking API keys itself and behind the sidecar, with the
//! simulator as Meta.

mod killed;
mod reading;
mod sending;
mod validation;
mod world;

use crate::contract::against_both_mountings;
