//! `vestibule keys`: from the arguments to the key file, and from its answer to the terminal.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use vestibule::api_key::{KeyFormat, KeyRecord};
use vestibule::clock::{Clock as _, SystemClock, Timestamp};
use vestibule::entropy::SystemEntropy;
use vestibule_sidecar::config::Config;
use vestibule_sidecar::keys::{self, Fault, KeyFile, Mint, Minted, Missing};

use crate::cli::{KeysCommand, Place, Source};

/// Does what was asked, and prints the answer.
pub(crate) fn run(command: &KeysCommand) -> Result<ExitCode, Box<dyn Error>> {
    let now = SystemClock.now();
    let place = match command {
        KeysCommand::Pattern { brand } => {
            print(&format!("{}\n", format(brand.as_deref()).pattern()))?;
            return Ok(ExitCode::SUCCESS);
        }
        KeysCommand::Create { place, .. }
        | KeysCommand::List { place, .. }
        | KeysCommand::Show { place, .. }
        | KeysCommand::Update { place, .. }
        | KeysCommand::Rotate { place, .. }
        | KeysCommand::Revoke { place, .. }
        | KeysCommand::Import { place, .. }
        | KeysCommand::Export { place }
        | KeysCommand::Verify { place, .. } => place,
    };
    let (file, brand) = open(place)?;
    let desk = Desk { file, brand, now };
    let (answer, code) = desk.serve(command)?;
    print(&if place.json { answer.json } else { answer.text })?;
    Ok(code)
}

/// The key file, and what new keys are made of.
struct Desk {
    file: KeyFile,
    brand: Option<String>,
    now: Timestamp,
}

/// What is printed: for people, or for machines.
struct Answer {
    text: String,
    json: String,
}

// === impl Desk ===

impl Desk {
    fn serve(&self, command: &KeysCommand) -> Result<(Answer, ExitCode), Box<dyn Error>> {
        let answer = match command {
            KeysCommand::Create {
                account,
                env,
                fields,
                ..
            } => {
                let minted = self.file.change(Missing::Begin, |keys| {
                    keys::create(keys, (account, env), &fields.change(), &self.mint())
                })?;
                self.minted(&minted)
            }
            KeysCommand::List { account, .. } => self.list(account.as_deref())?,
            KeysCommand::Show { id, .. } => {
                let keys = self.file.read()?;
                let path = self.file.path().display();
                self.record(keys.get(id).map_err(|fault| fault.at(path))?)
            }
            KeysCommand::Update {
                id,
                fields,
                all_agents,
                ..
            } => {
                let mut change = fields.change();
                if *all_agents {
                    change = change.agents(None);
                }
                let updated = |keys: &mut _| keys::update(keys, id, &change, self.now);
                self.record(&*self.file.change(Missing::Refuse, updated)?)
            }
            KeysCommand::Rotate {
                id,
                overlap,
                expires,
                ..
            } => {
                let minted = self.file.change(Missing::Refuse, |keys| {
                    keys::rotate(keys, id, (*overlap, expires.as_ref()), &self.mint())
                })?;
                self.minted(&minted)
            }
            KeysCommand::Revoke { id, .. } => {
                let revoked = |keys: &mut _| keys::revoke(keys, id, self.now);
                self.record(&*self.file.change(Missing::Refuse, revoked)?)
            }
            KeysCommand::Import { from, opaque, .. } => self.import(from, *opaque)?,
            KeysCommand::Export { .. } => {
                let text = keys::export(&self.file.read()?);
                let json = text.clone();
                Answer { text, json }
            }
            KeysCommand::Verify { env, opaque, .. } => {
                return self.verify(env.as_deref(), *opaque);
            }
            KeysCommand::Pattern { .. } => return Err("a pattern needs no key file".into()),
        };
        Ok((answer, ExitCode::SUCCESS))
    }

    fn mint(&self) -> Mint<'_> {
        Mint {
            brand: self.brand.as_deref().unwrap_or(DEFAULT_BRAND),
            now: self.now,
            entropy: &SystemEntropy,
        }
    }

    fn minted(&self, minted: &Minted) -> Answer {
        let secret = minted.secret.expose();
        let details = keys::details(&minted.record, self.now);
        let json = json!({ "secret": secret, "key": keys::json(&minted.record, self.now) });
        Answer {
            text: format!("{details}\nThe key, shown this once:\n\n  {secret}\n"),
            json: line(&json),
        }
    }

    fn record(&self, record: &KeyRecord) -> Answer {
        Answer {
            text: keys::details(record, self.now),
            json: line(&json!({ "key": keys::json(record, self.now) })),
        }
    }

    fn list(&self, account: Option<&str>) -> Result<Answer, Fault> {
        let keys = self.file.read()?;
        let wanted =
            |record: &&KeyRecord| account.is_none_or(|name| record.principal().account() == name);
        let records = keys.iter().map(AsRef::as_ref).filter(wanted);
        let records: Vec<&KeyRecord> = records.collect();
        let json = records.iter().map(|record| keys::json(record, self.now));
        let json: Vec<Value> = json.collect();
        Ok(Answer {
            text: keys::table(records, self.now),
            json: line(&json!({ "keys": json })),
        })
    }

    fn import(&self, from: &Path, opaque: bool) -> Result<Answer, Fault> {
        let lines = lines_of(from)?;
        let format = made(KeyFormat::new(), opaque);
        let count = self.file.change(Missing::Begin, |keys| {
            let taken = keys::import(keys, &lines, &format, &self.mint());
            taken.map_err(|fault| fault.at(from.display()))
        })?;
        Ok(Answer {
            text: format!("{count} keys were taken\n"),
            json: line(&json!({ "imported": count })),
        })
    }

    fn verify(
        &self,
        env: Option<&str>,
        opaque: bool,
    ) -> Result<(Answer, ExitCode), Box<dyn Error>> {
        let keys = self.file.read()?;
        let mut format = made(format(self.brand.as_deref()), opaque);
        if let Some(env) = env {
            format = format.environment(env);
        }
        let text = bounded(io::stdin(), KEY_MAX)
            .map_err(|cause| format!("the key cannot be read from standard input: {cause}"))?;
        let verdict = keys::verify(&keys, text.trim(), &format, self.now);
        let path = self.file.path().display();
        let sentence = format!("{path}: {}", verdict.sentence());
        let known = verdict.record().map(|record| keys::json(record, self.now));
        let json = json!({
            "good": verdict.is_good(),
            "reason": verdict.word(),
            "message": sentence,
            "key": known,
        });
        let shown = verdict.record().map(|record| {
            let details = keys::details(record, self.now);
            format!("\n{details}")
        });
        let answer = Answer {
            text: format!("{sentence}\n{}", shown.unwrap_or_default()),
            json: line(&json),
        };
        let code = if verdict.is_good() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        };
        Ok((answer, code))
    }
}

fn open(place: &Place) -> Result<(KeyFile, Option<String>), Box<dyn Error>> {
    let brand = place.brand.clone();
    match &place.source {
        Source {
            file: Some(file), ..
        } => Ok((KeyFile::new(file), brand)),
        Source {
            config: Some(config),
            ..
        } => {
            let keys = Config::read(config)?.keys;
            let missing = || {
                let config = config.display();
                format!("{config}: [keys]: 'source' is missing; expected the path of a key file")
            };
            let file = keys.source.ok_or_else(missing)?;
            Ok((KeyFile::new(file), brand.or(keys.brand)))
        }
        Source { .. } => Err("one of --file and --config is needed".into()),
    }
}

fn format(brand: Option<&str>) -> KeyFormat {
    let any = KeyFormat::new();
    match brand {
        Some(brand) => any.brand(brand),
        None => any,
    }
}

fn made(format: KeyFormat, opaque: bool) -> KeyFormat {
    if opaque { format.opaque() } else { format }
}

fn lines_of(from: &Path) -> Result<String, Fault> {
    let read = if from == Path::new("-") {
        bounded(io::stdin(), IMPORT_MAX)
    } else {
        File::open(from).and_then(|file| bounded(file, IMPORT_MAX))
    };
    read.map_err(|cause| Fault::new(format!("it cannot be read: {cause}")).at(from.display()))
}

fn bounded(from: impl Read, most: u64) -> io::Result<String> {
    let mut text = String::new();
    from.take(most + 1).read_to_string(&mut text)?;
    if text.len() as u64 > most {
        return Err(io::Error::other(format!("it is over {most} bytes")));
    }
    Ok(text)
}

fn line(json: &Value) -> String {
    format!("{json}\n")
}

fn print(text: &str) -> Result<(), Fault> {
    let mut output = io::stdout().lock();
    let written = output.write_all(text.as_bytes());
    let written = written.and_then(|()| output.flush());
    // A secret that was made and not seen is lost: its maker must learn of it.
    written.map_err(|cause| Fault::new(format!("the answer cannot be written: {cause}")))
}

/// The brand of the contract's own keys; a sidecar that names none takes any.
const DEFAULT_BRAND: &str = "mk";

/// A key file may have as much.
const IMPORT_MAX: u64 = 64 << 20;

/// Any key, and the white space that came with it.
const KEY_MAX: u64 = 4096;
