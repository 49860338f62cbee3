//! How much a file holds, in all and of each caller: counted in memory.

use std::collections::HashMap;

/// How much a file may hold in all, and how much of it may be in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    pub(super) records: usize,
    pub(super) bytes: usize,
    pub(super) cache: usize,
}

/// What is kept, counted in memory.
#[derive(Debug)]
pub(super) struct Usage {
    capacity: Capacity,
    pub(super) all: Load,
    callers: HashMap<Box<[u8]>, Load>,
}

/// So many records, of so many bytes together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

// === impl Usage ===

impl Usage {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            capacity,
            all: Load::default(),
            callers: HashMap::new(),
        }
    }

    /// Whether one load has room in the place of another: in the file, and in the share
    /// of its caller, which may not fill it for the others. What takes no more than
    /// before always has: the file may hold more than a new capacity allows.
    pub(super) fn has_room(&self, caller: &[u8], added: Load, freed: Load) -> bool {
        let share = Load {
            records: (self.capacity.records / SHARE).max(1),
            bytes: self.capacity.bytes / SHARE,
        };
        let whole = Load {
            records: self.capacity.records,
            bytes: self.capacity.bytes,
        };
        let own = self.callers.get(caller).copied().unwrap_or_default();
        own.grows_within(share, added, freed) && self.all.grows_within(whole, added, freed)
    }

    pub(super) fn exchange(&mut self, caller: &[u8], added: Load, freed: Load) {
        self.all.exchange(added, freed);
        let mut own = self.callers.get(caller).copied().unwrap_or_default();
        own.exchange(added, freed);
        if own.records == 0 {
            self.callers.remove(caller);
        } else if let Some(held) = self.callers.get_mut(caller) {
            *held = own;
        } else {
            self.callers.insert(caller.into(), own);
        }
    }
}

// === impl Load ===

impl Load {
    /// One record of so many bytes.
    pub(super) const fn of(bytes: usize) -> Self {
        Self { records: 1, bytes }
    }

    fn grows_within(self, most: Self, added: Self, freed: Self) -> bool {
        let within = |held: usize, most: usize, added: usize, freed: usize| {
            added <= freed || held.saturating_add(added - freed) <= most
        };
        within(self.records, most.records, added.records, freed.records)
            && within(self.bytes, most.bytes, added.bytes, freed.bytes)
    }

    pub(super) fn exchange(&mut self, added: Self, freed: Self) {
        self.records = (self.records + added.records).saturating_sub(freed.records);
        self.bytes = (self.bytes.saturating_add(added.bytes)).saturating_sub(freed.bytes);
    }
}

/// One caller may take a quarter of the store (contract §6).
const SHARE: usize = 4;
