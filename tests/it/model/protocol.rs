//! What is checked: the kind of upstream, the choices that are open, and the faults to suffer.

/// One variant of the protocol; see the [module docs](super).
#[derive(Clone, Copy, Debug)]
pub(super) struct Protocol {
    /// Who makes the effect.
    pub(super) upstream: Upstream,
    /// How often the caller makes its request; at most [`ATTEMPTS_MAX`].
    pub(super) attempts: usize,
    /// What becomes of a claim whose request was cut, where the upstream de-duplicates.
    pub(super) after_a_cut: AfterACut,
    /// Whether a front sends a request again that a dead connection may have delivered.
    pub(super) resends: bool,
    /// Whether the store may lose what it has acknowledged.
    pub(super) store_loses: bool,
    /// The rule that this variant breaks, to see that a property notices.
    pub(super) flaw: Option<Flaw>,
}

/// The kind of upstream, as a route names it (contract §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upstream {
    /// Keeps the key with its effect in one transaction, and refuses a lapsed lease there.
    Deduplicates,
    /// Does whatever reaches it.
    Executes,
}

/// What becomes of a claim when its request was sent and no answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterACut {
    /// It is kept, unrenewed, until the lease that was sent has ended.
    Lapses,
    /// It is released, so that a repeat need not wait.
    Released,
}

/// One rule that is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// `finish` does not compare the token.
    FinishesForAnyone,
    /// A front goes by a renewal that it hears of after its lease has lapsed.
    HearsARenewalTooLate,
    /// The insert does not look at the end of the lease.
    InsertsPastTheLease,
    /// The insert does not look for a row of the same key.
    InsertsTwice,
    /// The upstream refuses a request before it holds the row of its key.
    RefusesWithoutTheRow,
    /// `release` does not compare the token.
    ReleasesForAnyone,
    /// A cut request is released although the upstream does not de-duplicate.
    ReleasesTheUnknown,
    /// A lapsed claim is given to the next, although the upstream does not de-duplicate.
    TakesOverTheUnknown,
    /// The upstream's clock is behind the store's, and the assertion allows nothing for it.
    UpstreamClockIsBehind,
}

// === impl Protocol ===

impl Protocol {
    /// The protocol as it is meant to be built.
    pub(super) const fn new(upstream: Upstream) -> Self {
        Self {
            upstream,
            attempts: ATTEMPTS_MAX,
            after_a_cut: AfterACut::Lapses,
            resends: false,
            store_loses: false,
            flaw: None,
        }
    }

    /// The same with one rule broken.
    pub(super) const fn with(mut self, flaw: Flaw) -> Self {
        self.flaw = Some(flaw);
        self
    }

    pub(super) fn breaks(self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    pub(super) fn deduplicates(self) -> bool {
        self.upstream == Upstream::Deduplicates
    }
}

/// With three, a late step of the first can undo the second's claim and let the third in.
pub(super) const ATTEMPTS_MAX: usize = 3;
