//! The schema against the file that is shipped, and against the parser.

use super::super::{Config, ConfigError};
use super::*;

#[test]
fn the_schema_that_is_shipped_is_the_one_that_is_printed() {
    let shipped = include_str!("../../../vestibule.schema.json");
    assert!(
        shipped == schema(),
        "write it anew: cargo run -p vestibule-sidecar -- schema > sidecar/vestibule.schema.json"
    );
}

#[test]
fn the_parser_knows_the_keys_of_the_schema_and_no_others() {
    for room in ROOMS {
        let mut described: Vec<&str> = room.rows.iter().map(|row| row.key).collect();
        described.extend(inner(room).map(|(key, _)| key));
        described.sort_unstable();
        let error = read(room, "nobody_knows_this = 1").unwrap_err();
        let text = error.faults().iter().find_map(|fault| {
            let (_, known) = fault.text().split_once("expected one of: ")?;
            fault
                .text()
                .starts_with("unknown key 'nobody_knows_this'")
                .then_some(known)
        });
        let mut known: Vec<&str> = text.unwrap().split(", ").collect();
        known.sort_unstable();
        assert_eq!(known, described, "[{}]", room.path);
    }
}

#[test]
fn the_parser_takes_what_the_schema_allows_and_nothing_beyond_its_bounds() {
    for room in ROOMS {
        for Row { key, kind, .. } in room.rows {
            for (value, is_good) in kind.samples() {
                let line = format!("{key} = {value}");
                let said = read(room, &line).map_err(|error| error.to_string());
                let found = said.as_ref().err().filter(|said| {
                    said.lines().any(|fault| {
                        fault.contains(&format!("{key} = ")) || fault.contains(&format!(" {key}: "))
                    })
                });
                assert_eq!(
                    found.is_none(),
                    is_good,
                    "[{}] {line}: {found:?}",
                    room.path
                );
            }
        }
    }
}

/// What is said of a line in a room, in a file in which what must be there is.
fn read(room: &Room, line: &str) -> Result<Config, ConfigError> {
    let (key, _) = line.split_once(' ').unwrap_or_default();
    let top = [
        ("listen", "'127.0.0.1:0'"),
        ("upstream", "['127.0.0.1:1', '127.0.0.1:2']"),
        ("store", "'redis://redis'"),
    ];
    let top = top
        .iter()
        .filter(|(name, _)| !room.path.is_empty() || *name != key);
    let top: String = top
        .map(|(name, value)| format!("{name} = {value}\n"))
        .collect();
    // A pepper's id is judged beside its secret.
    let line = match key {
        "id" => format!("{line}\nenv = 'PATH'"),
        _ => line.to_owned(),
    };
    let (around, route) = ("[[route]]\nmatch = 'GET /x'", room.path == "route");
    let text = match (room.path, room.shape) {
        ("", _) => format!("{line}\n{top}{around}"),
        (path, Shape::One) => format!("{top}[{path}]\n{line}\n{around}"),
        (_, Shape::Many) if route && key != "match" => format!("{top}{around}\n{line}"),
        (path, Shape::Many) => format!("{top}[[{path}]]\n{line}\n{around}"),
    };
    Config::parse("c.toml", &text)
}

// === impl Kind ===

impl Kind {
    /// Values, and whether they are taken.
    fn samples(&self) -> Vec<(String, bool)> {
        match self {
            Self::Text => vec![("17".to_owned(), false)],
            Self::Like(_, example) => {
                vec![(format!("{example:?}"), true), ("17".to_owned(), false)]
            }
            Self::Several(_, example) => vec![
                (format!("{example:?}"), true),
                (format!("[{example:?}]"), true),
                ("[]".to_owned(), false),
                ("17".to_owned(), false),
            ],
            Self::Word(words) => {
                let mut samples: Vec<_> = words
                    .iter()
                    .map(|word| (format!("{word:?}"), true))
                    .collect();
                samples.push(("\"other\"".to_owned(), false));
                samples
            }
            Self::Flag => vec![("true".to_owned(), true), ("\"true\"".to_owned(), false)],
            Self::Whole(least, most) => bounds(*least, *most, |number| number.to_string()),
            Self::Share => [
                ("0", true),
                ("0.25", true),
                ("1.0", true),
                ("1.01", false),
                ("-0.1", false),
                ("nan", false),
                ("2", false),
                ("\"0.5\"", false),
            ]
            .map(|(share, is_good)| (share.to_owned(), is_good))
            .to_vec(),
            Self::Duration(least, most) => {
                bounds(*least, *most, |number| format!("\"{number}ms\""))
            }
            Self::Size(least, most) => {
                let mut samples = bounds(*least, *most, |number| number.to_string());
                samples.extend(bounds(*least, *most, |number| format!("\"{number}B\"")));
                samples
            }
        }
    }
}

fn bounds(least: u64, most: u64, written: impl Fn(u64) -> String) -> Vec<(String, bool)> {
    let mut samples = vec![
        (written(least), true),
        (written(most), true),
        (written(most + 1), false),
        ("\"few\"".to_owned(), false),
    ];
    if let Some(less) = least.checked_sub(1) {
        samples.push((written(less), false));
    }
    samples
}
