//! Randomness as a value that is passed in: ids, tokens and keys come from here.

use std::fmt::Debug;
use std::sync::Arc;

use rand::Rng;

/// A source of unpredictable bytes.
///
/// A test replaces it to make a whole run repeatable. What guards a secret (keys,
/// tokens) asks for a cryptographically strong one.
pub trait Entropy: Debug + Send + Sync + 'static {
    /// 128 bits.
    fn draw(&self) -> u128;
}

/// A source that many own.
pub type SharedEntropy = Arc<dyn Entropy>;

/// The thread's generator: a stream cipher that the operating system seeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

// === impl SystemEntropy ===

impl SystemEntropy {
    /// The thread's generator, ready to be shared.
    pub fn shared() -> SharedEntropy {
        Arc::new(Self)
    }
}

impl Entropy for SystemEntropy {
    fn draw(&self) -> u128 {
        let mut bytes = [0; 16];
        rand::rng().fill_bytes(&mut bytes);
        u128::from_le_bytes(bytes)
    }
}
