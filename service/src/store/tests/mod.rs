//! What every engine must do: the same cases against a file and a real PostgreSQL.

mod accepting;
mod customers;
mod indexes;
mod intake;
mod records;
mod scene;
mod sending;
mod upkeep;

/// Runs each case on both engines.
macro_rules! cases {
    ($($case:ident)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::store::tests::scene::Place::sqlite()).await;
                }
            )*
        }

        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::$case($crate::store::tests::scene::Place::postgres()).await;
                }
            )*
        }
    };
}

use cases;
