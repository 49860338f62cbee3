//! `database`, `database_file` and `replicas`: where everything is kept, and by how many.

use std::path::PathBuf;

use toml::Spanned;

use super::ConfigError;
use super::section::{Source, read_text};
use crate::store::Address;

// === impl Source ===

impl Source<'_> {
    /// A file beside this one, or a PostgreSQL database; its address may stand in a file of
    /// its own, since it holds a password.
    pub(super) fn database(
        &self,
        given: Option<String>,
        file: Option<Spanned<PathBuf>>,
    ) -> Result<Address, ConfigError> {
        let text = match (given, file) {
            (Some(given), None) => given,
            (None, Some(file)) => {
                let text = read_text(&self.beside(file.get_ref()))?;
                text.trim_end_matches(['\r', '\n']).to_owned()
            }
            _ => return Err(self.error("needs database or database_file, and not both")),
        };
        Ok(match Address::parse(&text) {
            Address::File(path) => Address::File(self.beside(&path)),
            shared @ Address::Postgres(_) => shared,
        })
    }

    /// The database, where so many replicas can have it: a file is one process's, and another
    /// replica would have one of its own, with other windows and other messages.
    pub(super) fn shared_by(
        &self,
        replicas: Option<&Spanned<u32>>,
        database: Address,
    ) -> Result<Address, ConfigError> {
        match (replicas, &database) {
            (Some(given), _) if *given.get_ref() == 0 => {
                Err(self.invalid("replicas", given, "is nobody"))
            }
            (Some(given), Address::File(_)) if *given.get_ref() > 1 => Err(self.invalid(
                "replicas",
                given,
                "cannot share a file; they can a postgres:// database",
            )),
            _ => Ok(database),
        }
    }
}
