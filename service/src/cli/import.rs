//! Lines of an import, judged one by one: CSV with a header, or JSON Lines.

use std::fmt;
use std::io::{self, BufRead, Read as _};

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use vestibule::clock::Timestamp;

use super::messages::number;
use crate::store::ImportedWindow;

/// By what lines are judged.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// Whether a number of this id is configured.
    pub(super) is_ours: &'a dyn Fn(&str) -> bool,
    /// What lies in the future.
    pub(super) now: Timestamp,
}

/// The lines of a reader, one at a time.
pub(super) struct Rows<'a, R> {
    input: R,
    rules: Rules<'a>,
    line: u64,
    format: Option<Format>,
    is_over: bool,
}

/// What is wrong with a field of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    line: u64,
    field: Option<String>,
    why: String,
}

enum Format {
    /// Which field each column is.
    Csv(Vec<usize>),
    Json,
}

/// The fields of one line, in the order of [`FIELDS`]; what is not there is empty.
type Fields = [String; FIELDS.len()];

// === impl Rows ===

impl<'a, R: BufRead> Rows<'a, R> {
    pub(super) const fn new(input: R, rules: Rules<'a>) -> Self {
        Self {
            input,
            rules,
            line: 0,
            format: None,
            is_over: false,
        }
    }

    /// The next line that says something.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<ImportedWindow, Vec<Fault>>>> {
        while !self.is_over {
            let Some(text) = self.text()? else {
                return Ok(None);
            };
            let text = match text {
                Ok(text) if text.trim().is_empty() => continue,
                Ok(text) => text,
                Err(fault) => return Ok(Some(Err(vec![fault]))),
            };
            match self.read(text.trim_end_matches(['\r', '\n'])) {
                Ok(None) => {}
                Ok(Some(fields)) => return Ok(Some(self.judge(&fields))),
                Err(faults) => return Ok(Some(Err(faults))),
            }
        }
        Ok(None)
    }

    fn text(&mut self) -> io::Result<Option<Result<String, Fault>>> {
        let mut bytes = Vec::new();
        let mut input = self.input.by_ref().take(LINE_MAX);
        if input.read_until(b'\n', &mut bytes)? == 0 {
            return Ok(None);
        }
        self.line += 1;
        if bytes.len() as u64 == LINE_MAX {
            // What follows would be judged as a line of its own.
            self.is_over = true;
            return Ok(Some(Err(self.fault(None, "it is too long for a window"))));
        }
        if self.line == 1 && bytes.starts_with(BYTE_ORDER_MARK) {
            bytes.drain(..BYTE_ORDER_MARK.len());
        }
        let text = String::from_utf8(bytes);
        Ok(Some(text.map_err(|_| self.fault(None, "it is not UTF-8"))))
    }

    /// The fields of a line; nothing of the header.
    fn read(&mut self, text: &str) -> Result<Option<Fields>, Vec<Fault>> {
        let line = self.line;
        match &self.format {
            None if text.trim_start().starts_with('{') => {
                self.format = Some(Format::Json);
                object(line, text).map(Some)
            }
            None => {
                let columns = header(line, text);
                // Without a header no other line can be understood.
                self.is_over = columns.is_err();
                self.format = Some(Format::Csv(columns?));
                Ok(None)
            }
            Some(Format::Json) => object(line, text).map(Some),
            Some(Format::Csv(columns)) => record(line, text, columns).map(Some),
        }
    }

    fn judge(&self, fields: &Fields) -> Result<ImportedWindow, Vec<Fault>> {
        let [phone_number_id, phone, user_id, opened_at] =
            fields.each_ref().map(|text| text.trim());
        let mut faults = Vec::new();
        let mut note = |field: &str, why: String| faults.push(self.fault(Some(field), why));
        if phone_number_id.is_empty() {
            note("phone_number_id", "it is missing".to_owned());
        } else if !(self.rules.is_ours)(phone_number_id) {
            // Most often the id of the account, and then the import would be of no use.
            let why = format!("no number of the configuration has the id {phone_number_id:?}");
            note("phone_number_id", why);
        }
        let phone = (!phone.is_empty()).then(|| number(phone)).transpose();
        let phone = phone.unwrap_or_else(|why| {
            note("phone", why);
            None
        });
        if fields[1].trim().is_empty() && user_id.is_empty() {
            note("phone", "it is missing, and so is user_id".to_owned());
        }
        if user_id.len() > USER_ID_MAX
            || user_id.contains(|letter: char| !letter.is_ascii_graphic())
        {
            note("user_id", "it is no id of Meta's".to_owned());
        }
        let opened_at = moment(opened_at, self.rules.now).unwrap_or_else(|why| {
            note("opened_at", why);
            Timestamp::EPOCH
        });
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(ImportedWindow {
            phone_number_id: phone_number_id.into(),
            phone: phone.map(|phone| phone.digits().into()),
            user_id: (!user_id.is_empty()).then(|| user_id.into()),
            opened_at,
        })
    }

    fn fault(&self, field: Option<&str>, why: impl Into<String>) -> Fault {
        fault(self.line, field, why)
    }
}

// === impl Fault ===

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: ", self.line)?;
        if let Some(field) = &self.field {
            write!(f, "{field}: ")?;
        }
        f.write_str(&self.why)
    }
}

fn fault(line: u64, field: Option<&str>, why: impl Into<String>) -> Fault {
    Fault {
        line,
        field: field.map(str::to_owned),
        why: why.into(),
    }
}

fn header(line: u64, text: &str) -> Result<Vec<usize>, Vec<Fault>> {
    let expected = || {
        fault(
            line,
            None,
            format!("the header must be {}", FIELDS.join(",")),
        )
    };
    let names = cells(text).ok_or_else(|| vec![expected()])?;
    let places: Option<Vec<usize>> = names
        .iter()
        .map(|name| FIELDS.iter().position(|field| *field == name.trim()))
        .collect();
    let is_whole = |places: &Vec<usize>| {
        places.len() == FIELDS.len() && (0..FIELDS.len()).all(|place| places.contains(&place))
    };
    places.filter(is_whole).ok_or_else(|| vec![expected()])
}

fn record(line: u64, text: &str, columns: &[usize]) -> Result<Fields, Vec<Fault>> {
    let cells = cells(text)
        .ok_or_else(|| vec![fault(line, None, "a quotation mark is not where it can be")])?;
    if cells.len() != columns.len() {
        let why = format!("it has {} fields, not {}", cells.len(), columns.len());
        return Err(vec![fault(line, None, why)]);
    }
    let mut fields = Fields::default();
    for (place, cell) in columns.iter().zip(cells) {
        fields[*place] = cell;
    }
    Ok(fields)
}

/// The cells of a line of CSV (RFC 4180), without line breaks inside of quotation marks.
fn cells(text: &str) -> Option<Vec<String>> {
    let (mut cells, mut rest) = (Vec::new(), text);
    loop {
        let Some(mut quoted) = rest.strip_prefix('"') else {
            let (cell, next) = rest
                .split_once(',')
                .map_or((rest, None), |(cell, next)| (cell, Some(next)));
            if cell.contains('"') {
                return None;
            }
            cells.push(cell.to_owned());
            match next {
                Some(next) => rest = next,
                None => return Some(cells),
            }
            continue;
        };
        let mut cell = String::new();
        loop {
            let (part, after) = quoted.split_once('"')?;
            cell.push_str(part);
            // Two stand for one.
            match after.strip_prefix('"') {
                Some(after) => {
                    cell.push('"');
                    quoted = after;
                }
                None => {
                    quoted = after;
                    break;
                }
            }
        }
        cells.push(cell);
        if quoted.is_empty() {
            return Some(cells);
        }
        rest = quoted.strip_prefix(',')?;
    }
}

fn object(line: u64, text: &str) -> Result<Fields, Vec<Fault>> {
    let object: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| vec![fault(line, None, "it is no JSON object")])?;
    let (mut fields, mut faults) = (Fields::default(), Vec::new());
    for (name, value) in object {
        let Some(place) = FIELDS.iter().position(|field| *field == name) else {
            faults.push(fault(line, Some(&name), "nobody knows this field"));
            continue;
        };
        match value {
            Value::Null => {}
            Value::String(text) => fields[place] = text,
            Value::Number(number) => fields[place] = number.to_string(),
            Value::Array(_) | Value::Bool(_) | Value::Object(_) => {
                faults.push(fault(line, Some(&name), "it is neither text nor a number"));
            }
        }
    }
    match faults.is_empty() {
        true => Ok(fields),
        false => Err(faults),
    }
}

/// When a customer last wrote.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if text.is_empty() {
        return Err("it is missing".to_owned());
    }
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let at = match is_number {
        true => text.parse().ok().map(|seconds: u64| {
            // Past any time that there is, it is still in the future.
            Timestamp::from_unix_millis(seconds.saturating_mul(1000))
        }),
        false => OffsetDateTime::parse(text, &Rfc3339)
            .ok()
            .and_then(|at| u64::try_from(at.unix_timestamp_nanos() / 1_000_000).ok())
            .map(Timestamp::from_unix_millis),
    };
    let at = at.ok_or_else(|| format!("{text:?} is neither RFC 3339 nor Unix seconds"))?;
    if at > now {
        // Milliseconds, most often. It would open a window that is closed.
        return Err(format!(
            "{text:?} lies in the future; Unix times are in seconds"
        ));
    }
    Ok(at)
}

const FIELDS: [&str; 4] = ["phone_number_id", "phone", "user_id", "opened_at"];

/// Longer than any line that is meant.
const LINE_MAX: u64 = 4096;

/// Longer than any id that Meta has.
const USER_ID_MAX: usize = 160;

/// Spreadsheets begin files with it.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_who_wrote_when() {
        for (text, phone, user, seconds) in [
            (
                "1,+16505551234,,1799999000",
                Some("16505551234"),
                None,
                1_799_999_000,
            ),
            (
                "1,16505551234,US.1,1799999000",
                Some("16505551234"),
                Some("US.1"),
                1_799_999_000,
            ),
            (
                "1,,US.1,2027-01-15T07:43:20Z",
                None,
                Some("US.1"),
                1_799_999_000,
            ),
            (
                "1,,US.1,2027-01-15T08:43:20+01:00",
                None,
                Some("US.1"),
                1_799_999_000,
            ),
            (
                "\"1\",\"16505551234\",,\"1799999000\"\r",
                Some("16505551234"),
                None,
                1_799_999_000,
            ),
        ] {
            let read = rows(&format!("{}\n{text}\n", FIELDS.join(",")));
            let [Ok(window)] = &read[..] else {
                panic!("{text}: {read:?}");
            };
            assert_eq!(&*window.phone_number_id, "1", "{text}");
            assert_eq!(
                (window.phone.as_deref(), window.user_id.as_deref()),
                (phone, user),
                "{text}"
            );
            assert_eq!(window.opened_at.as_unix_seconds(), seconds, "{text}");
        }
    }

    #[test]
    fn columns_may_stand_in_any_order_and_lines_may_be_objects() {
        for text in [
            "\u{feff}opened_at,user_id,phone,phone_number_id\n1799999000,,16505551234,1",
            "{\"phone_number_id\":\"1\",\"phone\":\"+16505551234\",\"opened_at\":1799999000}",
            "\n{\"phone_number_id\":1,\"user_id\":null,\"phone\":\"16505551234\",\
             \"opened_at\":\"1799999000\"}\n\n",
        ] {
            let read = rows(text);
            assert!(matches!(&read[..], [Ok(_)]), "{text}: {read:?}");
        }
    }

    #[test]
    fn every_fault_is_named_by_line_and_field() {
        let header = FIELDS.join(",");
        for (text, want) in [
            (
                "phone,opened_at\n",
                vec!["line 1: the header must be phone_number_id,phone,user_id,opened_at"],
            ),
            ("{header}\n1,1", vec!["line 2: it has 2 fields, not 4"]),
            (
                "{header}\n1,\"1,,",
                vec!["line 2: a quotation mark is not where it can be"],
            ),
            (
                "{header}\n,+1,,soon\n1,16505551234,,1799999000\n2,,,1800000001000",
                vec![
                    "line 2: phone_number_id: it is missing",
                    "line 2: phone: a phone number is written as +15551234567, or as its digits",
                    "line 2: opened_at: \"soon\" is neither RFC 3339 nor Unix seconds",
                    "line 4: phone_number_id: no number of the configuration has the id \"2\"",
                    "line 4: phone: it is missing, and so is user_id",
                    "line 4: opened_at: \"1800000001000\" lies in the future; Unix times are in seconds",
                ],
            ),
            (
                "{header}\n1,,an id,1799999000",
                vec!["line 2: user_id: it is no id of Meta's"],
            ),
            (
                "{\"phone_number_id\":\"1\",\"wa_id\":\"1\",\"opened_at\":true}\nx",
                vec![
                    "line 1: wa_id: nobody knows this field",
                    "line 1: opened_at: it is neither text nor a number",
                    "line 2: it is no JSON object",
                ],
            ),
        ] {
            let read = rows(&text.replace("{header}", &header));
            let faults = read.iter().filter_map(|row| row.as_ref().err()).flatten();
            let found: Vec<String> = faults.map(ToString::to_string).collect();
            assert_eq!(found, want, "{text}");
        }
    }

    #[test]
    fn a_line_without_end_is_not_read_to_its_end() {
        let text = format!("{}\n{}", FIELDS.join(","), "1".repeat(1 << 20));
        let read = rows(&text);
        let [Err(faults)] = &read[..] else {
            panic!("{read:?}");
        };
        assert_eq!(faults[0].to_string(), "line 2: it is too long for a window");
    }

    fn rows(text: &str) -> Vec<Result<ImportedWindow, Vec<Fault>>> {
        let is_ours = |id: &str| id == "1";
        let rules = Rules {
            is_ours: &is_ours,
            now: Timestamp::from_unix_seconds(1_800_000_000),
        };
        let mut rows = Rows::new(text.as_bytes(), rules);
        std::iter::from_fn(|| rows.next().unwrap()).collect()
    }
}
