//! `vestibule keys`: API keys made, listed, changed, rotated, taken back and explained.
//!
//! # Example
//!
//! ```
//! use vestibule::clock::{Clock, SystemClock};
//! use vestibule::entropy::SystemEntropy;
//! use vestibule_sidecar::keys::{Change, KeyFile, Mint, Missing, create};
//!
//! # let folder = tempfile::tempdir()?;
//! let file = KeyFile::new(folder.path().join("keys.json"));
//! let mint = Mint { brand: "mk", now: SystemClock.now(), entropy: &SystemEntropy };
//! let scopes = Change::default().scopes(&["charges:read".to_owned()]);
//! let minted = file.change(Missing::Begin, |keys| {
//!     create(keys, ("acc_1", "live"), &scopes, &mint)
//! })?;
//! assert!(minted.secret.expose().starts_with("mk_live_"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The commands
//!
//! Each takes `--file keys.json`, or `--config vestibule.toml` with its `[keys] source` and
//! `brand`; with `--json` the answer is for machines. They end with 0, or with 1 and a
//! sentence that names the file, the key and the value.
//!
//! ```text
//! vestibule keys create --account acc_1 --scope charges:read,charges:write [--agent ID] [--name N]
//!                       [--env live] [--per-minute 120] [--burst 20] [--expires 30d]
//! vestibule keys list [--account acc_1]
//! vestibule keys show ID
//! vestibule keys update ID --per-minute 240 --expires never
//! vestibule keys rotate ID --overlap 24h
//! vestibule keys revoke ID
//! vestibule keys import FILE|- [--opaque]
//! vestibule keys export
//! vestibule keys verify [--env live] < key.txt
//! vestibule keys pattern
//! ```
//!
//! A secret is shown once, on standard output, by `create` and `rotate`; the file holds its
//! digest. No command takes a secret as an argument, where every user of the machine could
//! read it: `verify` and `import -` read standard input.
//!
//! # Import
//!
//! JSON Lines, each a record of the key file, or the same with the key itself as `secret` in
//! the place of its `digest`. All lines are taken or none; a fault names line and field.
//!
//! ```text
//! {"account":"acc_1","scopes":["charges:read"],"secret":"mk_live_…"}
//! {"id":"key_7","account":"acc_1","digest":{"algorithm":"sha256","value":"64 characters of hex"}}
//! {"account":"acc_2","digest":{"algorithm":"hmac-sha256","pepper":"p1","value":"…"}}
//! ```
//!
//! `--opaque` takes secrets of another make, which can be used where opaque keys are on.
//!
//! # For scanners of secrets
//!
//! `keys pattern` prints the regular expression that finds keys in code and logs. Of what it
//! finds, `keys verify` tells the mistyped from the good ones.
//!
//! # What holds
//!
//! A command replaces the file as a whole, under a lock (`keys.json.lock`): a sidecar reads
//! the old keys or the new ones, and of two commands at once none is lost. A sidecar that
//! watches the file follows within a second.

mod change;
mod create;
mod export;
mod fault;
mod file;
mod import;
mod revoke;
mod rotate;
mod set;
mod update;
mod verify;
mod view;

pub use self::change::{Change, Expiry, is_scope, span};
pub use self::create::{Mint, Minted, create};
pub use self::export::export;
pub use self::fault::Fault;
pub use self::file::{KeyFile, Missing};
pub use self::import::import;
pub use self::revoke::revoke;
pub use self::rotate::rotate;
pub use self::set::KeySet;
pub use self::update::update;
pub use self::verify::{Verdict, verify};
pub use self::view::{details, json, state, table};
