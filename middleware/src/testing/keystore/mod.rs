//! The cases that every store of key records must pass, as one macro.
//!
//! # Example
//!
//! ```
//! use vestibule::api_key::Keys;
//!
//! vestibule::keystore_conformance!(keys, || Keys::new([]).unwrap());
//! # fn main() {}
//! ```
//!
//! The macro makes a module with one `#[tokio::test]` for each case, so a failure names
//! the rule that is broken. The subject's expression is evaluated once for each case,
//! inside an `async fn`: it may `.await`. A [`KeyStore`] is a subject itself; what must
//! outlive the store (a server, a folder) goes into a [`KeySubject`] of its own.

#[doc(hidden)]
pub mod cases;
mod scene;

use crate::api_key::KeyStore;

/// How the cases get at a store of key records under test.
///
/// A subject starts empty, and shares nothing with the subject of another case: cases
/// run at the same time.
pub trait KeySubject: Send + Sync {
    /// The store.
    type Store: KeyStore;

    /// The store. Clones and repeated calls give the same one.
    fn store(&self) -> Self::Store;
}

impl<K: KeyStore> KeySubject for K {
    type Store = K;

    fn store(&self) -> K {
        self.clone()
    }
}

/// Makes a module of tests that hold a store of key records to what commands, and the
/// layers, rely on.
///
/// See the [module docs](crate::testing::keystore) for an example.
#[macro_export]
macro_rules! keystore_conformance {
    ($module:ident, || $subject:expr) => {
        mod $module {
            use super::*;

            $crate::keystore_conformance! { @cases $subject;
                a_key_is_found_by_its_digest_and_by_its_id
                a_record_is_read_as_it_was_written
                ids_are_paged_in_the_order_of_their_bytes
                a_change_replaces_the_state_that_it_was_made_from
                a_change_of_another_state_is_a_conflict
                an_id_is_taken_once
                a_repeated_write_is_no_conflict
                the_changes_of_one_family_are_made_together_or_not_at_all
                a_key_has_one_record
                what_makes_a_key_this_key_stays
                what_could_not_be_read_back_is_not_written
                a_tracked_record_is_reread_as_it_is_now
                a_moment_of_use_is_shown_and_never_moves_back
                a_moment_of_use_changes_no_version
                a_change_does_not_forget_when_a_key_was_used
                a_thousand_keys_are_written_at_once
                of_many_concurrent_changes_one_is_made
                of_many_concurrent_changes_of_many_keys_none_is_lost
            }
        }
    };
    (@cases $subject:expr; $($case:ident)+) => {
        $(
            #[::tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::testing::keystore::cases::$case(&$subject).await;
            }
        )+
    };
}
