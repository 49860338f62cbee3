//! A source that counts, so that a run can be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::entropy::{Entropy, SharedEntropy};

/// Draws 1, 2, 3 and so on.
#[derive(Debug, Default)]
pub struct CountingEntropy {
    drawn: AtomicU64,
}

// === impl CountingEntropy ===

impl CountingEntropy {
    /// A source of its own, ready to be shared.
    pub fn shared() -> SharedEntropy {
        Arc::new(Self::default())
    }
}

impl Entropy for CountingEntropy {
    fn draw(&self) -> u128 {
        u128::from(self.drawn.fetch_add(1, Ordering::AcqRel) + 1)
    }
}
