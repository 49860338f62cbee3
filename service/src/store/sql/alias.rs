//! The names of customers, and the windows that they open under any of them.
//!
//! Meta calls one customer by a phone number, by an id of its own, or by both, and the
//! number that was dialled may be written another way than the number that answers. All
//! names lead to one key, and the window lies under the key.

use std::collections::{BTreeMap, HashMap};

use vestibule::clock::Timestamp;

use super::many::{many, rows};
use super::row::unreadable;
use super::{Sql, args};
use crate::delivery::{Names, Renamed};

/// A number and the names of one customer of its.
#[derive(Clone, Copy)]
pub(in crate::store) struct Acquaintance<'a> {
    pub(in crate::store) phone_number_id: &'a str,
    /// The digits that were dialled, where somebody was.
    pub(in crate::store) dialled: Option<&'a str>,
    pub(in crate::store) names: &'a Names,
}

// === impl Acquaintance ===

impl<'a> Acquaintance<'a> {
    /// Every name, that which outweighs the others first.
    fn all(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let id = self.names.id.as_deref().into_iter();
        id.chain(self.dialled).chain(self.names.phone.as_deref())
    }
}

/// Writes down that these names are one customer's; returns the customer's key.
///
/// Meta's id outweighs a number: a number that turns up under another id has been given to
/// another person, and that person has none of the first one's window.
pub(in crate::store) async fn learn(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    dialled: Option<&str>,
    names: &Names,
    now: Timestamp,
) -> Result<Option<String>, sqlx::Error> {
    let id = names.id.as_deref();
    let phones: Vec<&str> = dialled.into_iter().chain(names.phone.as_deref()).collect();
    let Some(first) = id.or_else(|| phones.first().copied()) else {
        return Ok(None);
    };
    let mut known = Vec::with_capacity(3);
    for name in id.into_iter().chain(phones.iter().copied()) {
        known.push((name, key_of(sql, phone_number_id, name).await?));
    }
    if let (_, Some(key)) = &known[0]
        && known.iter().all(|(_, other)| other.as_ref() == Some(key))
    {
        return Ok(Some(key.clone()));
    }
    let key = match (&known[0].1, id) {
        (Some(key), _) => key.clone(),
        (None, Some(id)) => free_key(sql, phone_number_id, id, &known[1..]).await?,
        (None, None) => known
            .iter()
            .find_map(|(_, key)| key.clone())
            .unwrap_or_else(|| first.to_owned()),
    };
    for (name, current) in &known {
        match current {
            Some(current) if *current == key => {}
            Some(current) if !has_other_id(sql, phone_number_id, current, id).await? => {
                merge(sql, phone_number_id, current, &key).await?;
            }
            _ => point(sql, phone_number_id, name, &key, now).await?,
        }
    }
    Ok(Some(key))
}

/// Writes down the names of customers.
pub(in crate::store) async fn learn_all(
    sql: &mut Sql<'_>,
    met: &[Acquaintance<'_>],
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    for one in learn_new(sql, met, now).await? {
        learn(sql, one.phone_number_id, one.dialled, one.names, now).await?;
    }
    Ok(())
}

/// Writes down the names of customers whom nobody knows yet, in one step; returns those that
/// [`learn`] must look at, because one of their names is known already and others are not.
async fn learn_new<'a>(
    sql: &mut Sql<'_>,
    met: &[Acquaintance<'a>],
    now: Timestamp,
) -> Result<Vec<Acquaintance<'a>>, sqlx::Error> {
    if met.is_empty() {
        return Ok(Vec::new());
    }
    let mut keys = keys_of(sql, met).await?;
    // In their order, so that two who do never wait for one another.
    let mut fresh = BTreeMap::new();
    let mut known = Vec::new();
    for one in met {
        let number = one.phone_number_id;
        let found: Vec<Option<&str>> = one
            .all()
            .map(|name| keys.get(&(number, name)).map(|key| &**key))
            .collect();
        let Some(first) = one.all().next() else {
            continue;
        };
        if found.iter().all(Option::is_none) {
            for name in one.all() {
                fresh.insert((number, name), first);
                keys.insert((number, name), first.into());
            }
        } else if found[0].is_none() || found.iter().any(|key| *key != found[0]) {
            known.push(*one);
        }
    }
    if !fresh.is_empty() {
        let fresh = fresh
            .iter()
            .map(|((number, name), key)| [number, name, key]);
        sql.execute(
            many!(
                "INSERT INTO alias
                 SELECT value ->> 0, value ->> 1, value ->> 2, $2 FROM " ROWS " WHERE true
                 ON CONFLICT (phone_number_id, name) DO NOTHING"
            ),
            args![&*rows(&fresh.collect::<Vec<_>>())?, now],
        )
        .await?;
    }
    Ok(known)
}

/// The keys of all names that are known of these.
async fn keys_of<'a>(
    sql: &mut Sql<'_>,
    met: &[Acquaintance<'a>],
) -> Result<HashMap<(&'a str, &'a str), Box<str>>, sqlx::Error> {
    let named = |one: &Acquaintance<'a>| {
        let number = one.phone_number_id;
        one.all().map(move |name| (number, name))
    };
    let names: Vec<(&str, &str)> = met.iter().flat_map(named).collect();
    let found = sql
        .all(
            many!(
                "SELECT n, user_key
                 FROM (SELECT CAST(value ->> 0 AS BIGINT) AS n, value ->> 1 AS number,
                              value ->> 2 AS name FROM " ROWS ") AS given
                 LEFT JOIN alias ON alias.phone_number_id = given.number
                                AND alias.name = given.name"
            ),
            args![&*rows(
                &names
                    .iter()
                    .enumerate()
                    .map(|(n, (number, name))| (n, number, name))
                    .collect::<Vec<_>>()
            )?],
        )
        .await?;
    let mut keys = HashMap::with_capacity(found.len());
    for row in found {
        let n = usize::try_from(row.get::<u64>("n")?).ok();
        let name = n
            .and_then(|n| names.get(n))
            .ok_or_else(|| unreadable("n"))?;
        if let Some(key) = row.maybe("user_key")? {
            keys.insert(*name, key);
        }
    }
    Ok(keys)
}

/// Moves the names of a customer who has changed number or id. The window stays with the
/// id; whether it goes along with a number, Meta does not say.
pub(in crate::store) async fn rename(
    sql: &mut Sql<'_>,
    renamed: &Renamed,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let number = &*renamed.phone_number_id;
    let mut key = None;
    for id in [&renamed.old.id, &renamed.new.id].into_iter().flatten() {
        key = match key {
            Some(key) => Some(key),
            None => key_of(sql, number, id).await?,
        };
    }
    if let Some(old) = renamed.old.phone.as_deref()
        && renamed.new.phone.as_deref().is_some_and(|new| new != old)
    {
        sql.execute(
            "DELETE FROM alias WHERE phone_number_id = $1 AND name = $2",
            args![number, old],
        )
        .await?;
    }
    let Some(key) = key else { return Ok(()) };
    for name in [&renamed.new.phone, &renamed.new.id].into_iter().flatten() {
        point(sql, number, name, &key, now).await?;
    }
    Ok(())
}

/// Opens a customer's window at this moment, unless it was opened later already.
pub(in crate::store) async fn open_window(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    key: &str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sql.execute(
        "INSERT INTO customer_window (phone_number_id, user_key, opened_at) VALUES ($1, $2, $3)
         ON CONFLICT (phone_number_id, user_key) DO UPDATE SET opened_at =
             CASE WHEN excluded.opened_at > customer_window.opened_at
                  THEN excluded.opened_at ELSE customer_window.opened_at END",
        args![phone_number_id, key, at],
    )
    .await?;
    Ok(())
}

/// Writes down that Meta called a window closed, known here or not.
pub(in crate::store) async fn refuse_window(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    name: &str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let names = Names {
        phone: Some(name.into()),
        id: None,
    };
    match learn(sql, phone_number_id, None, &names, at).await? {
        Some(key) => refuse_key(sql, phone_number_id, &key, at).await,
        None => Ok(()),
    }
}

async fn refuse_key(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    key: &str,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sql.execute(
        "INSERT INTO customer_window (phone_number_id, user_key, opened_at, refused_at)
         VALUES ($1, $2, 0, $3)
         ON CONFLICT (phone_number_id, user_key) DO UPDATE SET refused_at =
             CASE WHEN customer_window.refused_at > excluded.refused_at
                  THEN customer_window.refused_at ELSE excluded.refused_at END",
        args![phone_number_id, key, at],
    )
    .await?;
    Ok(())
}

async fn key_of(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    name: &str,
) -> Result<Option<String>, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT user_key FROM alias WHERE phone_number_id = $1 AND name = $2",
            args![phone_number_id, name],
        )
        .await?;
    row.map(|row| row.get("user_key")).transpose()
}

/// The key for an id that is new: that of its phone number, where no other id has it.
async fn free_key(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    id: &str,
    phones: &[(&str, Option<String>)],
) -> Result<String, sqlx::Error> {
    for (_, key) in phones {
        if let Some(key) = key
            && !has_other_id(sql, phone_number_id, key, Some(id)).await?
        {
            return Ok(key.clone());
        }
    }
    Ok(id.to_owned())
}

/// Whether a key is known under another id of Meta's than this one. Only ids have a dot.
async fn has_other_id(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    key: &str,
    id: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let row = sql
        .optional(
            "SELECT name FROM alias
             WHERE phone_number_id = $1 AND user_key = $2 AND name LIKE '%.%' AND name <> $3
             LIMIT 1",
            args![phone_number_id, key, id.unwrap_or_default()],
        )
        .await?;
    Ok(row.is_some())
}

async fn point(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    name: &str,
    key: &str,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    sql.execute(
        "INSERT INTO alias VALUES ($1, $2, $3, $4)
         ON CONFLICT (phone_number_id, name) DO UPDATE
         SET user_key = excluded.user_key, seen_at = excluded.seen_at",
        args![phone_number_id, name, key, now],
    )
    .await?;
    Ok(())
}

/// Two keys turn out to be one customer's: the later window counts.
async fn merge(
    sql: &mut Sql<'_>,
    phone_number_id: &str,
    from: &str,
    into: &str,
) -> Result<(), sqlx::Error> {
    sql.execute(
        "UPDATE alias SET user_key = $1 WHERE phone_number_id = $2 AND user_key = $3",
        args![into, phone_number_id, from],
    )
    .await?;
    let gone = sql
        .optional(
            "DELETE FROM customer_window WHERE phone_number_id = $1 AND user_key = $2
             RETURNING opened_at, refused_at",
            args![phone_number_id, from],
        )
        .await?;
    let Some(gone) = gone else { return Ok(()) };
    open_window(sql, phone_number_id, into, gone.get("opened_at")?).await?;
    match gone.maybe("refused_at")? {
        Some(at) => refuse_key(sql, phone_number_id, into, at).await,
        None => Ok(()),
    }
}
