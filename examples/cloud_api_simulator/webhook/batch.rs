//! Gathering updates into one webhook: by number, by size, by time.

use super::Update;

/// What waits to be told to one app.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    updates: Vec<Update>,
    bytes: usize,
    /// Which batch of the app this is, so that a late closing closes no other.
    pub(crate) number: u64,
}

// === impl Batch ===

impl Batch {
    /// Puts an update in; returns what must go first, or with it.
    pub(crate) fn push(&mut self, update: Update, most: usize) -> Option<Vec<Update>> {
        // Escapes lengthen it; a third is left for them.
        let bytes = update.value.to_string().len();
        let overflows = !self.updates.is_empty() && self.bytes + bytes > MAX_BYTES;
        let before = overflows.then(|| self.close());
        self.updates.push(update);
        self.bytes += bytes;
        before.or_else(|| (self.updates.len() >= most).then(|| self.close()))
    }

    /// Takes what has gathered.
    pub(crate) fn close(&mut self) -> Vec<Update> {
        self.bytes = 0;
        self.number += 1;
        std::mem::take(&mut self.updates)
    }

    /// Whether an update is the first to wait.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.updates.len() == 1
    }

    /// Whether nothing waits.
    pub(crate) const fn is_empty(&self) -> bool {
        self.updates.is_empty()
    }
}

/// Two thirds of the 3 MB that a payload may have.
const MAX_BYTES: usize = 2 << 20;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::webhook::About;

    #[test]
    fn a_batch_goes_when_it_is_full() {
        for (most, sizes, want) in [
            (1, vec![1, 1], vec![1, 1]),
            (3, vec![1; 7], vec![3, 3]),
            (1000, vec![1; 999], vec![]),
            (1000, vec![1; 1000], vec![1000]),
            (1000, vec![MAX_BYTES / 2; 5], vec![1, 1, 1, 1]),
            (1000, vec![MAX_BYTES / 4, MAX_BYTES / 4, MAX_BYTES], vec![2]),
        ] {
            let mut batch = Batch::default();
            let went: Vec<usize> = sizes
                .iter()
                .filter_map(|size| batch.push(update(*size), most))
                .map(|updates| updates.len())
                .collect();
            assert_eq!(went, want, "{most} {:?}", sizes.len());
        }
    }

    #[test]
    fn closing_takes_what_has_gathered_and_begins_another() {
        let mut batch = Batch::default();
        assert!(batch.is_empty());
        batch.push(update(1), 10);
        assert!(batch.is_fresh());
        batch.push(update(1), 10);
        assert!(!batch.is_fresh());
        assert_eq!(batch.close().len(), 2);
        assert_eq!((batch.number, batch.is_empty()), (1, true));
    }

    fn update(size: usize) -> Update {
        Update {
            about: About {
                pnid: String::new(),
                user: [String::new(), String::new()],
                kind: String::new(),
                heard: None,
            },
            waba: String::new(),
            field: "messages",
            value: json!("x".repeat(size)),
        }
    }
}
