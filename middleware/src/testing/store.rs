//! The cases that every store must pass.
/// A store under test.
#[derive(Debug)]
pub struct Subject;
