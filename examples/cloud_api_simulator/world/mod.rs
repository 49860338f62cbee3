//! The world: who may send what to whom, as plain data.
//!
//! It is read from a TOML file ([`file`]), changed through the control plane with the same
//! schema, and only looked at by the decisions.

mod app;
mod file;
mod number;
mod settings;
mod template;
mod user;

use serde::Deserialize;

pub(crate) use self::app::{App, Secret, is_loopback};
pub(crate) use self::file::{Reach, check, load, parse};
pub(crate) use self::number::{Number, NumberState, Token, Waba, WabaState};
pub(crate) use self::settings::{Range, Settings, WindowMode};
pub(crate) use self::template::{
    Button, Category, Header, ParameterFormat, Placeholder, Template, TemplateStatus, placeholders,
};
pub(crate) use self::user::User;

/// Everything that exists.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct World {
    #[serde(default)]
    pub(crate) settings: Settings,
    #[serde(default, rename = "app")]
    pub(crate) apps: Vec<App>,
    #[serde(default, rename = "waba")]
    pub(crate) wabas: Vec<Waba>,
    #[serde(default, rename = "number")]
    pub(crate) numbers: Vec<Number>,
    #[serde(default, rename = "token")]
    pub(crate) tokens: Vec<Token>,
    #[serde(default, rename = "template")]
    pub(crate) templates: Vec<Template>,
    #[serde(default, rename = "user")]
    pub(crate) users: Vec<User>,
}

// === impl World ===

impl World {
    /// The number with this id.
    pub(crate) fn number(&self, pnid: &str) -> Option<&Number> {
        self.numbers.iter().find(|number| number.id == pnid)
    }

    /// The account that a number belongs to.
    pub(crate) fn waba_of(&self, number: &Number) -> Option<&Waba> {
        self.wabas.iter().find(|waba| waba.id == number.waba)
    }

    /// What is known of this access token.
    pub(crate) fn token(&self, value: &str) -> Option<&Token> {
        self.tokens.iter().find(|token| token.value.is(value))
    }

    /// The template of this name and language.
    pub(crate) fn template(&self, waba: &str, name: &str, language: &str) -> Option<&Template> {
        self.templates.iter().find(|template| {
            template.waba == waba && template.name == name && template.language == language
        })
    }

    /// The user with this phone number (digits) or user id; whom the world does not name
    /// is an ordinary user.
    pub(crate) fn user(&self, address: &str) -> User {
        let named = self.users.iter().find(|user| user.is_at(address));
        named.cloned().unwrap_or_else(|| User::ordinary(address))
    }

    /// The apps that are told of what happens in an account, and where.
    pub(crate) fn listeners<'a>(
        &'a self,
        waba: &'a str,
        field: &'a str,
    ) -> impl Iterator<Item = &'a App> {
        let subscribed = self.wabas.iter().find(|account| account.id == waba);
        let ids = subscribed.map_or(&[][..], |account| &account.apps);
        let apps = self.apps.iter().filter(|app| ids.contains(&app.id));
        apps.filter(|app| app.callback_url.is_some() && app.hears(field))
    }

    /// Revokes the tokens that may use an account, or all.
    pub(crate) fn revoke_tokens(&mut self, waba: Option<&str>) {
        let is_meant = |id: &String| waba.is_none_or(|waba| id == waba);
        for token in &mut self.tokens {
            token.revoked |= token.wabas.iter().any(is_meant);
        }
    }

    /// Locks an account, or all.
    pub(crate) fn lock_wabas(&mut self, waba: Option<&str>) {
        let wabas = self.wabas.iter_mut();
        for account in wabas.filter(|account| waba.is_none_or(|waba| account.id == waba)) {
            account.state = WabaState::Locked;
        }
    }

    /// Pauses an account's templates of this name, or all.
    pub(crate) fn pause_templates(&mut self, waba: Option<&str>, name: Option<&str>) {
        let templates = self.templates.iter_mut();
        let meant = templates.filter(|template| {
            waba.is_none_or(|waba| template.waba == waba)
                && name.is_none_or(|name| template.name == name)
        });
        for template in meant {
            template.status = TemplateStatus::Paused;
        }
    }

    /// Adds what `changes` holds, in place of what has the same key.
    pub(crate) fn merge(&mut self, changes: Self) {
        upsert(&mut self.apps, changes.apps, |a, b| a.id == b.id);
        upsert(&mut self.wabas, changes.wabas, |a, b| a.id == b.id);
        upsert(&mut self.numbers, changes.numbers, |a, b| a.id == b.id);
        upsert(&mut self.tokens, changes.tokens, |a, b| a.value == b.value);
        upsert(&mut self.users, changes.users, User::is_same_as);
        upsert(&mut self.templates, changes.templates, |a, b| {
            (&a.waba, &a.name, &a.language) == (&b.waba, &b.name, &b.language)
        });
    }
}

fn upsert<T>(held: &mut Vec<T>, changes: Vec<T>, is_same: impl Fn(&T, &T) -> bool) {
    for change in changes {
        match held.iter_mut().find(|item| is_same(item, &change)) {
            Some(item) => *item = change,
            None => held.push(change),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_hears_only_of_accounts_that_subscribed_it_and_only_at_an_address() {
        let world = parse(
            "[[app]]\nid = \"a\"\nsecrets = [\"s\"]\nverify_token = \"v\"\ncallback_url = \"http://127.0.0.1:1/\"\n\
             [[app]]\nid = \"b\"\nsecrets = [\"s\"]\nverify_token = \"v\"\n\
             [[waba]]\nid = \"w\"\napps = [\"a\", \"b\"]\n[[waba]]\nid = \"x\"\n",
        )
        .unwrap();
        for (waba, want) in [("w", vec!["a"]), ("x", vec![]), ("unknown", vec![])] {
            let heard: Vec<&str> = world
                .listeners(waba, "messages")
                .map(|app| &*app.id)
                .collect();
            assert_eq!(heard, want, "{waba}");
        }
    }

    #[test]
    fn a_change_takes_the_place_of_what_has_its_key() {
        let mut world = parse("[[user]]\nwa_id = \"1\"\n[[waba]]\nid = \"w\"\n").unwrap();
        let changes = "[[user]]\nwa_id = \"1\"\nonline = false\n[[user]]\nwa_id = \"2\"\n";
        world.merge(parse(changes).unwrap());
        assert_eq!(world.users.len(), 2);
        assert!(!world.user("1").online);
        assert!(world.user("2").online);
        assert_eq!(world.wabas.len(), 1);
    }
}
