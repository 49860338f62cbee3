//! The newest of something that is replaced while it is in use.

use std::cell::RefCell;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// A value that may be replaced. Clones share it; whoever has taken it goes on with what was
/// taken.
pub(crate) struct Newest<T>(Arc<Shared<T>>);

struct Shared<T> {
    /// Of the value, changed under its lock.
    version: AtomicU64,
    /// The lock asks less of a value than `Sync` would.
    value: Mutex<T>,
}

/// A look at the newest value that takes the lock only where there is a newer one.
pub(crate) struct View<T> {
    of: Newest<T>,
    /// In a box, because what holds a look is moved from future to future.
    held: RefCell<Option<Box<(u64, T)>>>,
}

// === impl Newest ===

impl<T: Clone> Newest<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Arc::new(Shared {
            version: AtomicU64::new(0),
            value: Mutex::new(value),
        }))
    }

    /// What is the newest now.
    pub(crate) fn get(&self) -> T {
        self.read().1
    }

    /// This is the newest from here on.
    pub(crate) fn put(&self, value: T) {
        let replaced = {
            let mut held = self.0.value.lock().unwrap_or_else(PoisonError::into_inner);
            self.0.version.fetch_add(1, Ordering::Release);
            std::mem::replace(&mut *held, value)
        };
        // What ends with it ends outside of the lock.
        drop(replaced);
    }

    /// A look at it, for one that looks often.
    pub(crate) fn view(&self) -> View<T> {
        View {
            of: self.clone(),
            held: RefCell::new(None),
        }
    }

    fn read(&self) -> (u64, T) {
        let value = self.0.value.lock().unwrap_or_else(PoisonError::into_inner);
        (self.0.version.load(Ordering::Acquire), value.clone())
    }
}

impl<T> Clone for Newest<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Newest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Newest").finish_non_exhaustive()
    }
}

// === impl View ===

impl<T: Clone> View<T> {
    /// What is the newest now.
    pub(crate) fn get(&self) -> T {
        let mut held = self.held.borrow_mut();
        let newest = self.of.0.version.load(Ordering::Acquire);
        match &*held {
            Some(known) if known.0 == newest => known.1.clone(),
            _ => held.insert(Box::new(self.of.read())).1.clone(),
        }
    }

    /// Holds nothing until it looks again.
    pub(crate) fn close(&self) {
        drop(self.held.take());
    }
}

impl<T> fmt::Debug for View<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("View").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_looks_sees_the_newest_and_what_was_taken_stays() {
        let newest = Newest::new(Arc::new(1));
        let view = newest.view();
        let taken = view.get();
        newest.put(Arc::new(2));
        assert_eq!((*taken, *view.get(), *newest.get()), (1, 2, 2));
        newest.put(Arc::new(3));
        assert_eq!((*view.get(), *newest.view().get()), (3, 3));
        view.close();
        assert_eq!(
            Arc::strong_count(&taken),
            1,
            "nobody else holds the old one"
        );
        let newest = newest.get();
        assert_eq!(Arc::strong_count(&newest), 2, "a closed look holds nothing");
        assert_eq!(*view.get(), 3);
    }
}
