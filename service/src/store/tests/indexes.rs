//! What the tables of PostgreSQL let its planner choose from.

use sqlx::{Connection as _, PgConnection};

use super::scene::Place;
use crate::store::Address;

/// A planner that knows nothing of a table's size yet takes either of two such indexes, and
/// keeps the plan: looked for by the wrong one, a customer is found among all of a number's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_indexes_of_a_table_begin_with_the_same_column() {
    let place = Place::postgres();
    let _database = place.open().await;
    let Address::Postgres(address) = &place.address else {
        unreachable!("the place is PostgreSQL's");
    };
    let mut connection = PgConnection::connect(address).await.unwrap();
    // One with a condition is taken only by who asks for the same.
    let alike: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT one.indrelid::regclass::text, one.indexrelid::regclass::text,
                other.indexrelid::regclass::text
         FROM pg_index AS one JOIN pg_index AS other
             ON other.indrelid = one.indrelid AND other.indexrelid > one.indexrelid
            AND other.indkey[0] = one.indkey[0]
         WHERE one.indpred IS NULL AND other.indpred IS NULL
           AND one.indrelid IN (SELECT oid FROM pg_class
                                WHERE relnamespace = 'messaging'::regnamespace)",
    )
    .fetch_all(&mut connection)
    .await
    .unwrap();
    assert_eq!(alike, []);
}
