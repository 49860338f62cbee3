//! The contract, held against both mountings, and the rules of the house.

mod contract;
mod equality;
mod tidy;
