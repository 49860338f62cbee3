//! How much a database may hold, in all and of each caller: a decision over numbers.

/// How many records may be kept, and of how many bytes together.
///
/// One caller may take a quarter of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// How many records.
    pub records: u64,
    /// Of how many bytes together.
    pub bytes: u64,
}

/// So many records, of so many bytes together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) records: u64,
    pub(super) bytes: u64,
}

/// What is kept, and what may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) capacity: Capacity,
    pub(super) all: Load,
    pub(super) own: Load,
}

// === impl Capacity ===

impl Default for Capacity {
    /// 1,000,000 records of 4 GiB together: a disk is larger than a memory.
    fn default() -> Self {
        Self {
            records: 1_000_000,
            bytes: 4 << 30,
        }
    }
}

// === impl Usage ===

impl Usage {
    /// Whether one load has room in the place of another: in the database, and in the share
    /// of its caller, which may not fill it for the others. What takes no more than before
    /// always has: the database may hold more than a new capacity allows.
    pub(super) fn has_room(self, added: Load, freed: Load) -> bool {
        let whole = Load {
            records: self.capacity.records,
            bytes: self.capacity.bytes,
        };
        let share = Load {
            records: (whole.records / SHARE).max(1),
            bytes: whole.bytes / SHARE,
        };
        self.own.grows_within(share, added, freed) && self.all.grows_within(whole, added, freed)
    }
}

// === impl Load ===

impl Load {
    /// One record of so many bytes.
    pub(super) const fn of(bytes: u64) -> Self {
        Self { records: 1, bytes }
    }

    fn grows_within(self, most: Self, added: Self, freed: Self) -> bool {
        let within = |held: u64, most: u64, added: u64, freed: u64| {
            added <= freed || held.saturating_add(added - freed) <= most
        };
        within(self.records, most.records, added.records, freed.records)
            && within(self.bytes, most.bytes, added.bytes, freed.bytes)
    }
}

/// One caller may take a quarter of the store (contract §6).
const SHARE: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_room_in_the_whole_and_in_its_callers_share() {
        let capacity = Capacity {
            records: 8,
            bytes: 800,
        };
        let load = |records, bytes| Load { records, bytes };
        for (all, own, added, freed, want) in [
            (load(0, 0), load(0, 0), Load::of(200), load(0, 0), true),
            (load(0, 0), load(0, 0), Load::of(201), load(0, 0), false),
            (load(7, 0), load(1, 0), Load::of(1), load(0, 0), true),
            (load(8, 0), load(1, 0), Load::of(1), load(0, 0), false),
            (load(2, 0), load(2, 0), Load::of(1), load(0, 0), false),
            (
                load(8, 800),
                load(2, 200),
                Load::of(100),
                Load::of(100),
                true,
            ),
            (
                load(8, 800),
                load(2, 200),
                Load::of(101),
                Load::of(100),
                false,
            ),
            (
                load(9, 999),
                load(9, 999),
                Load::of(99),
                Load::of(100),
                true,
            ),
        ] {
            let usage = Usage { capacity, all, own };
            assert_eq!(
                usage.has_room(added, freed),
                want,
                "{all:?} {own:?} {added:?}"
            );
        }
    }
}
