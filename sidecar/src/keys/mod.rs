//! `vestibule keys`: API keys made, listed, changed, rotated, taken back and explained.
//!
//! # Example
//!
//! ```
//! use vestibule::api_key::Peppers;
//! use vestibule::clock::{Clock, SystemClock};
//! use vestibule::entropy::SystemEntropy;
//! use vestibule_sidecar::keys::{Change, KeyFile, Mint, Missing, create};
//!
//! # let folder = tempfile::tempdir()?;
//! let file = KeyFile::new(folder.path().join("keys.json"));
//! let mint = Mint {
//!     brand: "mk",
//!     now: SystemClock.now(),
//!     entropy: &SystemEntropy,
//!     peppers: &Peppers::none(),
//! };
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
//! Each is told where the keys are; with `--json` the answer is for machines. They end with 0,
//! or with 1 and a sentence that names the place, the key and the value.
//!
//! | place | is |
//! |---|---|
//! | `--file keys.json` | a key file |
//! | `--store redis://redis:6379` | a store that keeps key records; of a `file:PATH` only while no sidecar has it open |
//! | `--admin unix:/run/pod/admin.sock` | the store of a running sidecar, whose `admin` is this socket and whose `[keys] source` is `"store"` |
//! | `--config vestibule.toml` | what its `[keys] source` says, with its brand and its peppers; the admin socket where it answers and the store is a `file:` |
//!
//! The admin socket can be used by the owner of the process alone (its mode is 0600), and on a
//! port the sidecar tells nothing of keys. `--pepper ID=FILE` names a pepper, newest first: new
//! keys get their digests with the first one.
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
//! Whether a key is good is `verify`'s answer; why a request with it is refused is
//! [`vestibule explain`](crate::explain)'s.
//!
//! # Import
//!
//! JSON Lines, each a record of the key file, or the same with the key itself as `secret` in
//! the place of its `digest`. A fault names line and field, and then nothing is taken. A record
//! that is there already, as it is, is passed over, so an import can be repeated.
//!
//! Into a file go all lines or none. Into a store they go by 500, all of them judged before the
//! first is written; where the store refuses one, because another key has its id or its digest,
//! what was written stays, and the answer says how many those are at least.
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
//!
//! In a store a command writes what it changed and nothing else, and only in the place of the
//! state that it has read: of two commands at once the later one reads again. A change holds
//! on the next request.
//!
//! `last_used_at` is written by sidecars to the store that they take keys from, once a minute;
//! to a file nobody writes it.

mod change;
mod create;
mod export;
mod fault;
mod file;
mod import;
mod place;
mod remote;
mod revoke;
mod rotate;
mod set;
mod update;
mod verify;
mod view;
pub(crate) mod wire;

pub use self::change::{Change, Expiry, is_scope, span};
pub use self::create::{Mint, Minted, create};
pub use self::export::export;
pub use self::fault::Fault;
pub use self::file::{KeyFile, Missing};
pub use self::import::{import, read};
pub use self::place::{Needs, Place, Shelf, each_page};
pub use self::remote::AdminKeys;
pub use self::revoke::revoke;
pub use self::rotate::rotate;
pub use self::set::KeySet;
pub use self::update::update;
pub use self::verify::{Verdict, verify};
pub use self::view::{details, json, state, table};
