//! `vestibule keys`: from the arguments to the place of the keys, and from its answer to the terminal.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};
use vestibule::api_key::{KeyFormat, KeyRecord, KeyStore as _, Peppers};
use vestibule::clock::{Clock as _, SystemClock, Timestamp};
use vestibule::entropy::SystemEntropy;
use vestibule_sidecar::keys::{self, Fault, Mint, Minted, Needs, Place, each_page};

use crate::cli::KeysCommand;
use crate::input::bounded_text;
use crate::open::open;

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
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let desk = open(place, now).await?;
        let (answer, code) = desk.serve(command).await?;
        print(if place.json {
            &answer.json
        } else {
            &answer.text
        })?;
        Ok(code)
    })
}

/// Where the keys are, and what new ones are made of.
pub(crate) struct Desk {
    pub(crate) place: Place,
    pub(crate) brand: Option<String>,
    pub(crate) opaque: bool,
    pub(crate) peppers: Peppers,
    pub(crate) now: Timestamp,
}

/// What is printed: for people, or for machines.
struct Answer {
    text: String,
    json: String,
}

// === impl Desk ===

impl Desk {
    async fn serve(&self, command: &KeysCommand) -> Result<(Answer, ExitCode), Box<dyn Error>> {
        let answer = match command {
            KeysCommand::Create {
                account,
                env,
                fields,
                ..
            } => {
                let change = fields.change();
                let create =
                    |keys: &mut _| keys::create(keys, (account, env), &change, &self.mint());
                self.minted(&self.place.change(Needs::Nothing, create).await?)
            }
            KeysCommand::List { account, .. } => self.list(account.as_deref()).await?,
            KeysCommand::Show { id, .. } => self.show(id).await?,
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
                let update = |keys: &mut _| keys::update(keys, id, &change, self.now);
                self.record(&*self.place.change(Needs::Key(id), update).await?)
            }
            KeysCommand::Rotate {
                id,
                overlap,
                expires,
                ..
            } => {
                let terms = (*overlap, expires.as_ref());
                let rotate = |keys: &mut _| keys::rotate(keys, id, terms, &self.mint());
                self.minted(&self.place.change(Needs::Family(id), rotate).await?)
            }
            KeysCommand::Revoke { id, .. } => {
                let revoke = |keys: &mut _| keys::revoke(keys, id, self.now);
                self.record(&*self.place.change(Needs::Key(id), revoke).await?)
            }
            KeysCommand::Import { from, opaque, .. } => self.import(from, *opaque).await?,
            KeysCommand::Export { .. } => {
                let text = keys::export(&self.place.reader()?).await;
                let text = text.map_err(|fault| fault.at(&self.place))?;
                let json = text.clone();
                Answer { text, json }
            }
            KeysCommand::Verify { env, opaque, .. } => {
                return self.verify(env.as_deref(), *opaque).await;
            }
            KeysCommand::Pattern { .. } => return Err("a pattern needs no keys".into()),
        };
        Ok((answer, ExitCode::SUCCESS))
    }

    fn mint(&self) -> Mint<'_> {
        Mint {
            brand: self.brand.as_deref().unwrap_or(DEFAULT_BRAND),
            now: self.now,
            entropy: &SystemEntropy,
            peppers: &self.peppers,
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

    async fn show(&self, id: &str) -> Result<Answer, Fault> {
        let found = self.place.reader()?.get(id).await;
        let found = found.map_err(|error| Fault::from(error).at(&self.place))?;
        let record = found.ok_or_else(|| Fault::no_key(id).at(&self.place))?;
        Ok(self.record(&record))
    }

    async fn list(&self, account: Option<&str>) -> Result<Answer, Fault> {
        let reader = self.place.reader()?;
        let mut records: Vec<Arc<KeyRecord>> = Vec::new();
        let listed = each_page(&reader, |page| {
            let wanted = |one: &&Arc<KeyRecord>| {
                account.is_none_or(|name| one.principal().account() == name)
            };
            records.extend(page.iter().filter(wanted).cloned());
        });
        listed.await.map_err(|fault| fault.at(&self.place))?;
        let records: Vec<&KeyRecord> = records.iter().map(AsRef::as_ref).collect();
        let json = records.iter().map(|record| keys::json(record, self.now));
        let json: Vec<Value> = json.collect();
        Ok(Answer {
            text: keys::table(records, self.now),
            json: line(&json!({ "keys": json })),
        })
    }

    async fn import(&self, from: &Path, opaque: bool) -> Result<Answer, Fault> {
        let lines = lines_of(from)?;
        let format = made(KeyFormat::new(), opaque || self.opaque);
        let mint = self.mint();
        let count = self.place.import((&lines, from), &format, &mint).await?;
        Ok(Answer {
            text: format!("{count} keys were taken\n"),
            json: line(&json!({ "imported": count })),
        })
    }

    async fn verify(
        &self,
        env: Option<&str>,
        opaque: bool,
    ) -> Result<(Answer, ExitCode), Box<dyn Error>> {
        let mut format = made(format(self.brand.as_deref()), opaque || self.opaque);
        if let Some(env) = env {
            format = format.environment(env);
        }
        let text = bounded_text(io::stdin(), KEY_MAX)
            .map_err(|cause| format!("the key cannot be read from standard input: {cause}"))?;
        let judge = (&format, &self.peppers);
        let verdict = keys::verify(&self.place.reader()?, text.trim(), judge, self.now).await;
        let verdict = verdict.map_err(|fault| fault.at(&self.place))?;
        let sentence = format!("{}: {}", self.place, verdict.sentence());
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
        bounded_text(io::stdin(), IMPORT_MAX)
    } else {
        File::open(from).and_then(|file| bounded_text(file, IMPORT_MAX))
    };
    read.map_err(|cause| Fault::new(format!("it cannot be read: {cause}")).at(from.display()))
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
