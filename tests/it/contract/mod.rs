//! Every row of the HTTP contract, against both mountings; a file for each of its sections.

mod endpoints;
mod errors;
mod headers;
mod idempotency;
mod keys;
mod order;
mod rate_limit;
mod stores;

/// Runs each case against both mountings, with the mounting in the name of the test.
macro_rules! against_both_mountings {
    ($($case:ident),* $(,)?) => {
        mod in_process {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(harness::Mounting::InProcess).await;
                }
            )*
        }

        mod sidecar {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(harness::Mounting::Sidecar).await;
                }
            )*
        }
    };
}

pub(crate) use against_both_mountings;
