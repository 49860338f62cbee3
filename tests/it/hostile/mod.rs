//! Requests that mean harm: each has its documented answer, never a fault of ours, and none
//! leaves anything behind on its connection.

mod bypass;
mod fields;

use crate::contract::against_both_mountings;
