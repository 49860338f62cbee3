//! The statements, one a step, from the files beside this one; `@` stands for the schema,
//! and `NOW` for what the clock of the database shows in milliseconds.

use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// The statements for the tables of one schema.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) claim: Statement,
    pub(super) peek: Statement,
    pub(super) take_over: Statement,
    pub(super) renew: Statement,
    pub(super) finish: Statement,
    pub(super) lock: Statement,
    pub(super) ended: Statement,
    pub(super) release: Statement,
    pub(super) sweep: Statement,
    pub(super) find: Statement,
    pub(super) get: Statement,
    pub(super) page: Statement,
    pub(super) held: Statement,
    pub(super) create: Statement,
    pub(super) update: Statement,
    pub(super) touch: Statement,
    pub(super) digests: Statement,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Statement(Arc<str>);

macro_rules! statements {
    ($schema:expr, $clock:expr; $($name:ident)+) => {
        Statements {
            $($name: Statement::new(
                include_str!(concat!("statements/", stringify!($name), ".sql")),
                $schema,
                $clock,
            )),+
        }
    };
}

// === impl Statements ===

impl Statements {
    /// For a schema with this name, which was checked before.
    pub(super) fn new(schema: &str) -> Self {
        Self::at(schema, CLOCK)
    }

    /// The same under another clock.
    pub(super) fn at(schema: &str, clock: &str) -> Self {
        statements! { schema, clock;
            claim peek take_over renew finish lock ended release sweep
            find get page held create update touch digests
        }
    }
}

// === impl Statement ===

impl Statement {
    fn new(text: &str, schema: &str, clock: &str) -> Self {
        let text = text.replace('@', &format!("\"{schema}\""));
        Self(text.replace("NOW", clock).into())
    }

    /// The text, which has nothing in it that came from outside but the schema's name.
    pub(super) fn text(&self) -> AssertSqlSafe<Arc<str>> {
        AssertSqlSafe(Arc::clone(&self.0))
    }
}

/// Not the one of the transaction, which stands still while a statement waits.
const CLOCK: &str = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
