//! Reading the world from a file, and refusing one that contradicts itself.

use std::path::Path;

use thiserror::Error;

use super::{World, is_loopback};

/// Why a world cannot be used; the sentence names file, line, key and value.
#[derive(Debug, Error)]
#[error("{file}{line}: {problem}")]
pub(crate) struct WorldError {
    file: String,
    line: String,
    problem: String,
}

/// How far webhooks may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    Anywhere,
    Loopback,
}

/// A contradiction: which key holds which value, and what is wrong with it.
#[derive(Debug, PartialEq, Eq)]
struct Contradiction {
    key: &'static str,
    value: String,
    problem: String,
}

// === impl WorldError ===

impl WorldError {
    fn new(file: &str, line: Option<usize>, problem: String) -> Self {
        Self {
            file: file.to_owned(),
            line: line.map(|line| format!(":{line}")).unwrap_or_default(),
            problem,
        }
    }
}

/// Reads a world from a file.
///
/// # Errors
///
/// A file that cannot be read, is not TOML of this schema, or contradicts itself.
pub(crate) fn load(path: &Path, reach: Reach) -> Result<World, WorldError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| WorldError::new(&file, None, format!("cannot be read: {error}")))?;
    read(&file, &text, reach)
}

/// Reads a world from text; its webhooks stay on this machine.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn parse(text: &str) -> Result<World, WorldError> {
    read("world", text, Reach::Loopback)
}

/// Refuses a world that contradicts itself.
///
/// # Errors
///
/// The first contradiction found.
pub(crate) fn check(world: &World, reach: Reach) -> Result<(), WorldError> {
    match contradiction(world, reach) {
        None => Ok(()),
        Some(found) => Err(WorldError::new("world", None, found.sentence())),
    }
}

// === impl Contradiction ===

impl Contradiction {
    fn new(key: &'static str, value: &str, problem: &str) -> Self {
        Self {
            key,
            value: value.to_owned(),
            problem: problem.to_owned(),
        }
    }

    fn sentence(&self) -> String {
        format!("{} = {:?}: {}", self.key, self.value, self.problem)
    }

    /// The line of the first entry of this key that has this value.
    fn line_in(&self, text: &str) -> Option<usize> {
        let names = |line: &str| line.contains(self.key) && line.contains(&self.value);
        text.lines().position(names).map(|index| index + 1)
    }
}

fn read(file: &str, text: &str, reach: Reach) -> Result<World, WorldError> {
    let world: World = toml::from_str(text).map_err(|error| {
        let line = error.span().map(|span| line_at(text, span.start));
        WorldError::new(file, line, error.message().to_owned())
    })?;
    match contradiction(&world, reach) {
        None => Ok(world),
        Some(found) => Err(WorldError::new(file, found.line_in(text), found.sentence())),
    }
}

fn line_at(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

fn contradiction(world: &World, reach: Reach) -> Option<Contradiction> {
    settings(world)
        .or_else(|| remote_callback(world, reach))
        .or_else(|| unknown_app(world))
        .or_else(|| unknown_waba(world))
        .or_else(|| malformed_number(world))
        .or_else(|| unheard_of_throughput(world))
        .or_else(|| unsigned_app(world))
        .or_else(|| nameless_user(world))
}

fn settings(world: &World) -> Option<Contradiction> {
    let (key, value, problem) = world.settings.fault()?;
    Some(Contradiction::new(key, &value, problem))
}

fn unheard_of_throughput(world: &World) -> Option<Contradiction> {
    let numbers = &mut world.numbers.iter();
    let number = numbers.find(|number| ![20, 80, 1000].contains(&number.mps))?;
    let problem = "a number sends 20, 80 or 1000 messages a second";
    Some(Contradiction::new("mps", &number.mps.to_string(), problem))
}

fn remote_callback(world: &World, reach: Reach) -> Option<Contradiction> {
    let mut urls = world
        .apps
        .iter()
        .filter_map(|app| app.callback_url.as_ref());
    let remote = urls.find(|url| reach == Reach::Loopback && !is_loopback(url))?;
    let problem = "not an address of this machine; --allow-remote-callbacks lets it through";
    Some(Contradiction::new("callback_url", remote, problem))
}

fn unknown_app(world: &World) -> Option<Contradiction> {
    let mut named = world.wabas.iter().flat_map(|waba| &waba.apps);
    let unknown = named.find(|id| !world.apps.iter().any(|app| app.id == **id))?;
    Some(Contradiction::new(
        "apps",
        unknown,
        "no [[app]] has this id",
    ))
}

fn unknown_waba(world: &World) -> Option<Contradiction> {
    let of_numbers = world.numbers.iter().map(|number| ("waba", &number.waba));
    let of_templates = world
        .templates
        .iter()
        .map(|template| ("waba", &template.waba));
    let of_tokens = world.tokens.iter().flat_map(|token| &token.wabas);
    let (key, unknown) = of_numbers
        .chain(of_templates)
        .chain(of_tokens.map(|waba| ("wabas", waba)))
        .find(|(_, id)| !world.wabas.iter().any(|waba| waba.id == **id))?;
    Some(Contradiction::new(key, unknown, "no [[waba]] has this id"))
}

fn malformed_number(world: &World) -> Option<Contradiction> {
    let displays = world
        .numbers
        .iter()
        .map(|number| ("display", &number.display));
    let codes = world
        .numbers
        .iter()
        .map(|number| ("country_code", &number.country_code));
    let wa_ids = world
        .users
        .iter()
        .filter_map(|user| Some(("wa_id", user.wa_id.as_ref()?)));
    let (key, value) = displays
        .chain(codes)
        .chain(wa_ids)
        .find(|(_, value)| value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(Contradiction::new(
        key,
        value,
        "a number is written as digits only",
    ))
}

fn unsigned_app(world: &World) -> Option<Contradiction> {
    let app = world.apps.iter().find(|app| app.secrets.is_empty())?;
    Some(Contradiction::new(
        "id",
        &app.id,
        "this app has no secret to sign with",
    ))
}

fn nameless_user(world: &World) -> Option<Contradiction> {
    let nobody = world
        .users
        .iter()
        .find(|user| user.wa_id.is_none() && user.bsuid.is_none())?;
    Some(Contradiction::new(
        "name",
        nobody.profile_name(),
        "a user needs wa_id or bsuid",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_world_is_sound() {
        let world = parse(include_str!("../world.toml")).unwrap();
        assert!(!world.numbers.is_empty());
        assert!(!world.templates.is_empty());
    }

    #[test]
    fn the_schema_in_the_readme_is_the_one_that_is_read() {
        let readme = include_str!("../README.md");
        let (_, block) = readme.split_once("```toml\n").unwrap();
        let (text, _) = block.split_once("```").unwrap();
        let world = parse(text).unwrap();
        assert_eq!(world.templates[0].buttons.len(), 3);
        assert_eq!(world.users[0].user_id(), "US.13491208655302741918");
    }

    #[test]
    fn a_refusal_names_file_line_key_and_value() {
        for (text, want) in [
            (
                "\n[[waba]]\nid = 3\n",
                "world:3: invalid type: integer `3`, expected a string",
            ),
            (
                "[[waba]]\nid = \"w\"\ncolour = \"x\"\n",
                "world:3: unknown field `colour`",
            ),
            (
                "[[waba]]\nid = \"w\"\napps = [\"gone\"]\n",
                "world:3: apps = \"gone\": no [[app]] has this id",
            ),
            (
                "[[number]]\nid = \"1\"\nwaba = \"gone\"\ndisplay = \"1\"\ncountry_code = \"1\"\n",
                "world:3: waba = \"gone\": no [[waba]] has this id",
            ),
            (
                "[[app]]\nid = \"a\"\nsecrets = [\"s\"]\nverify_token = \"v\"\ncallback_url = \"http://example.com/\"\n",
                "world:5: callback_url = \"http://example.com/\": not an address of this machine",
            ),
            (
                "[[user]]\nwa_id = \"+1\"\n",
                "world:2: wa_id = \"+1\": a number is written as digits only",
            ),
            (
                "[[user]]\nname = \"Ada\"\n",
                "world:2: name = \"Ada\": a user needs wa_id or bsuid",
            ),
            (
                "[settings]\nsent_ms = [9, 3]\n",
                "world:2: sent_ms = \"[9, 3]\": the least is more than the most",
            ),
            (
                "[settings]\nbatch = 1001\n",
                "world:2: batch = \"1001\": not between 1 and 1000",
            ),
            (
                "[[waba]]\nid = \"w\"\n[[number]]\nid = \"n\"\nwaba = \"w\"\ndisplay = \"1\"\ncountry_code = \"1\"\nmps = 50\n",
                "world:8: mps = \"50\": a number sends 20, 80 or 1000 messages a second",
            ),
        ] {
            let refusal = parse(text).unwrap_err().to_string();
            assert!(refusal.starts_with(want), "{refusal}\nwanted {want}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let refusal = load(Path::new("no/such/world.toml"), Reach::Loopback)
            .unwrap_err()
            .to_string();
        assert!(
            refusal.starts_with("no/such/world.toml: cannot be read"),
            "{refusal}"
        );
    }
}
