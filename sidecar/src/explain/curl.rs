//! A command of curl as people paste it, read into the request that it would send.

use std::io;

use bytes::Bytes;
use http::header::{
    ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, HOST, REFERER, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};

use super::{Fault, raw, words};

/// Reads a command of curl; `read` gets the files that it names with `@`.
///
/// # Errors
///
/// [`Fault`] where it is no command of curl, or has an option whose effect on the request is
/// not known here.
pub fn of_curl(
    command: &str,
    read: &dyn Fn(&str) -> io::Result<Vec<u8>>,
) -> Result<Request<Bytes>, Fault> {
    let mut words = words::split(command)?.into_iter();
    match words.next().as_deref() {
        Some("curl" | "curl.exe") => {}
        _ => return Err(Fault::new("the command does not begin with curl")),
    }
    let mut asked = Asked {
        words: words.collect::<Vec<_>>().into_iter(),
        read,
        method: None,
        url: None,
        headers: Vec::new(),
        data: Vec::new(),
        has_data: false,
        is_json: false,
        in_query: false,
        is_head: false,
    };
    asked.read_words()?;
    asked.request()
}

/// What a command asks for, as far as it has been read.
struct Asked<'a> {
    words: std::vec::IntoIter<String>,
    read: &'a dyn Fn(&str) -> io::Result<Vec<u8>>,
    method: Option<String>,
    url: Option<String>,
    headers: Vec<String>,
    data: Vec<u8>,
    has_data: bool,
    is_json: bool,
    in_query: bool,
    is_head: bool,
}

// === impl Asked ===

impl Asked<'_> {
    fn read_words(&mut self) -> Result<(), Fault> {
        let mut only_urls = false;
        while let Some(word) = self.words.next() {
            match word.strip_prefix("--") {
                Some("") if !only_urls => only_urls = true,
                Some(name) if !only_urls => self.long(name)?,
                _ if only_urls || !word.starts_with('-') || word == "-" => self.to(word)?,
                _ => self.short(&word[1..])?,
            }
        }
        Ok(())
    }

    fn long(&mut self, option: &str) -> Result<(), Fault> {
        // curl itself takes the value of a long option as the next word only.
        let name = format!("--{option}");
        if IGNORED.contains(&option) {
            return Ok(());
        }
        if IGNORED_WITH_VALUE.contains(&option) {
            return self.value(&name, "").map(drop);
        }
        let short = LONG.iter().find(|(long, _)| *long == option);
        let Some((_, letter)) = short else {
            return self.only_long(option, &name);
        };
        self.take(*letter, &name, "")
    }

    fn only_long(&mut self, option: &str, name: &str) -> Result<(), Fault> {
        match option {
            "url" => {
                let url = self.value(name, "")?;
                self.to(url)
            }
            "data-raw" => {
                let text = self.value(name, "")?;
                self.add(text.as_bytes());
                Ok(())
            }
            "data-binary" => self.data(name, |_| true),
            "json" => {
                self.is_json = true;
                self.data(name, |_| true)
            }
            "oauth2-bearer" => {
                let token = self.value(name, "")?;
                self.headers.push(format!("Authorization: Bearer {token}"));
                Ok(())
            }
            _ => Err(unknown(name)),
        }
    }

    /// Letters that stand together; the rest of them is the value of one that takes one.
    fn short(&mut self, letters: &str) -> Result<(), Fault> {
        for (place, letter) in letters.char_indices() {
            let (name, rest) = (format!("-{letter}"), &letters[place + letter.len_utf8()..]);
            match letter {
                '0' | '1' | '2' | '4' | '6' | '#' | 'f' | 'g' | 'i' | 'k' | 'L' | 'N' | 'O'
                | 'q' | 's' | 'S' | 'v' => {}
                'G' | 'I' => self.take(letter, &name, "")?,
                'm' | 'o' | 'w' | 'x' | 'D' => return self.value(&name, rest).map(drop),
                letter => return self.take(letter, &name, rest),
            }
        }
        Ok(())
    }

    fn take(&mut self, letter: char, name: &str, rest: &str) -> Result<(), Fault> {
        match letter {
            'G' => self.in_query = true,
            'I' => self.is_head = true,
            'X' => self.method = Some(self.value(name, rest)?),
            'H' => {
                let header = self.value(name, rest)?;
                self.headers.push(header);
            }
            'A' => self.header(&USER_AGENT, name, rest)?,
            'e' => self.header(&REFERER, name, rest)?,
            'b' => {
                let cookies = self.value(name, rest)?;
                if !cookies.contains('=') {
                    return Err(Fault::new(format!(
                        "{name} names a file of cookies: write them out"
                    )));
                }
                self.headers.push(format!("{COOKIE}: {cookies}"));
            }
            'd' => return self.data_at(name, rest, |byte| !matches!(byte, b'\r' | b'\n' | 0)),
            'u' => {
                return Err(Fault::new(
                    "-u sends a user and a password, which no route takes: an API key goes into -H 'Authorization: Bearer KEY'",
                ));
            }
            _ => return Err(unknown(name)),
        }
        Ok(())
    }

    fn header(&mut self, header: &HeaderName, name: &str, rest: &str) -> Result<(), Fault> {
        let value = self.value(name, rest)?;
        self.headers.push(format!("{header}: {value}"));
        Ok(())
    }

    fn data(&mut self, name: &str, keeps: fn(&u8) -> bool) -> Result<(), Fault> {
        self.data_at(name, "", keeps)
    }

    /// Data, or `@` and the file that has it, of which these bytes are kept.
    fn data_at(&mut self, name: &str, rest: &str, keeps: fn(&u8) -> bool) -> Result<(), Fault> {
        let text = self.value(name, rest)?;
        let Some(file) = text.strip_prefix('@') else {
            self.add(text.as_bytes());
            return Ok(());
        };
        let bytes = (self.read)(file).map_err(|cause| Fault::new(format!("{file}: {cause}")))?;
        let bytes: Vec<u8> = bytes.into_iter().filter(keeps).collect();
        self.add(&bytes);
        Ok(())
    }

    fn add(&mut self, data: &[u8]) {
        if self.has_data && !self.is_json {
            self.data.push(b'&');
        }
        self.has_data = true;
        self.data.extend_from_slice(data);
    }

    fn value(&mut self, name: &str, rest: &str) -> Result<String, Fault> {
        if !rest.is_empty() {
            return Ok(rest.to_owned());
        }
        let next = self.words.next();
        next.ok_or_else(|| Fault::new(format!("{name} has no value")))
    }

    fn to(&mut self, url: String) -> Result<(), Fault> {
        match self.url.replace(url) {
            None => Ok(()),
            Some(_) => Err(Fault::new(
                "the command has two URLs; a value that has a space in it must be quoted",
            )),
        }
    }

    fn request(self) -> Result<Request<Bytes>, Fault> {
        let url = self
            .url
            .as_deref()
            .ok_or_else(|| Fault::new("the command has no URL"))?;
        let (host, mut target) = located(url)?;
        let mut body = self.data;
        if self.in_query && self.has_data {
            let sign = if target.contains('?') { '&' } else { '?' };
            let data = String::from_utf8(std::mem::take(&mut body));
            let data = data.map_err(|_| Fault::new("what -G puts into the query is no text"))?;
            target = format!("{target}{sign}{data}");
        }
        let sends_body = self.has_data && !self.in_query;
        let mut headers = HeaderMap::new();
        let accepted = if self.is_json {
            "application/json"
        } else {
            "*/*"
        };
        headers.insert(ACCEPT, HeaderValue::from_static(accepted));
        headers.insert(HOST, value_of("the host", &host)?);
        if sends_body {
            let form = "application/x-www-form-urlencoded";
            let form = if self.is_json {
                "application/json"
            } else {
                form
            };
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
            headers.insert(CONTENT_LENGTH, body.len().into());
        }
        own(&mut headers, &self.headers)?;
        let method = match (&self.method, self.is_head, sends_body) {
            (Some(method), ..) => method,
            (None, true, _) => "HEAD",
            (None, false, true) => "POST",
            (None, false, false) => "GET",
        };
        raw::request(method, &target, headers, body.into())
    }
}

/// Sets the headers of the command, of which the first of a name takes the place of curl's own.
fn own(headers: &mut HeaderMap, lines: &[String]) -> Result<(), Fault> {
    let mut named: Vec<HeaderName> = Vec::new();
    for line in lines {
        if line.starts_with('@') {
            return Err(Fault::new("-H names a file of headers: write them out"));
        }
        // 'Name;' is a header without a value, 'Name:' takes one away.
        let (name, value) = match line.split_once(':') {
            Some((name, value)) if value.trim().is_empty() => (name, None),
            Some((name, value)) => (name, Some(value.trim())),
            None => (line.strip_suffix(';').unwrap_or("\0"), Some("")),
        };
        let known = HeaderName::from_bytes(name.trim().as_bytes());
        // A line without a name may be a secret, so it is not shown.
        let name = known.map_err(|_| Fault::new("-H has no header like 'Name: value'"))?;
        if !named.contains(&name) {
            headers.remove(&name);
            named.push(name.clone());
        }
        if let Some(value) = value {
            let value = value_of(name.as_str(), value)?;
            headers.append(name, value);
        }
    }
    Ok(())
}

fn value_of(name: &str, value: &str) -> Result<HeaderValue, Fault> {
    let mut read = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| Fault::new(format!("{name} has a value that no header can have")))?;
    read.set_sensitive(name == AUTHORIZATION.as_str());
    Ok(read)
}

/// The host of a URL, and its path and query.
fn located(url: &str) -> Result<(String, String), Fault> {
    let (url, _fragment) = url.split_once('#').unwrap_or((url, ""));
    let with_scheme = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let uri = with_scheme.parse::<Uri>().ok();
    let uri = uri.filter(|uri| matches!(uri.scheme_str(), Some("http" | "https")));
    // A URL may hold a secret, so it is not shown.
    let no_url = || Fault::new("the URL is none, or not of http or https");
    let uri = uri.ok_or_else(no_url)?;
    let authority = uri.authority().ok_or_else(no_url)?.as_str();
    if authority.contains('@') {
        return Err(Fault::new("the URL has a user, which no route takes"));
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((authority.to_owned(), format!("{slash}{target}")))
}

fn unknown(name: &str) -> Fault {
    Fault::new(format!(
        "the option {name} of curl is not read here; leave it out if it does not change the request"
    ))
}

/// Long options, and the letters that are the same.
const LONG: [(&str, char); 11] = [
    ("cookie", 'b'),
    ("data", 'd'),
    ("data-ascii", 'd'),
    ("get", 'G'),
    ("head", 'I'),
    ("header", 'H'),
    ("referer", 'e'),
    ("request", 'X'),
    ("user", 'u'),
    ("user-agent", 'A'),
    ("basic", 'u'),
];

/// What they change is not the request.
const IGNORED: [&str; 22] = [
    "compressed",
    "fail",
    "fail-with-body",
    "globoff",
    "http1.0",
    "http1.1",
    "http2",
    "http2-prior-knowledge",
    "include",
    "insecure",
    "ipv4",
    "ipv6",
    "location",
    "no-buffer",
    "no-progress-meter",
    "path-as-is",
    "progress-bar",
    "remote-name",
    "show-error",
    "silent",
    "verbose",
    "tcp-nodelay",
];

const IGNORED_WITH_VALUE: [&str; 14] = [
    "cacert",
    "cert",
    "connect-timeout",
    "connect-to",
    "dump-header",
    "key",
    "max-time",
    "output",
    "proxy",
    "resolve",
    "retry",
    "retry-delay",
    "unix-socket",
    "write-out",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_the_request_that_curl_sends() {
        for (command, want) in [
            ("curl http://h/a", "GET /a|accept */*|host h|"),
            ("curl h:1", "GET /|accept */*|host h:1|"),
            ("curl 'https://h?b=1#c'", "GET /?b=1|accept */*|host h|"),
            ("curl -I --url http://h/a", "HEAD /a|accept */*|host h|"),
            ("curl -sSXDELETE http://h/a", "DELETE /a|accept */*|host h|"),
            ("curl -X POST http://h/a", "POST /a|accept */*|host h|"),
            (
                "curl http://h/a -d b=1 -d@f --data-raw @g",
                "POST /a|accept */*|content-length 13|content-type application/x-www-form-urlencoded|host h|b=1&onetwo&@g",
            ),
            (
                "curl http://h/a --data-binary @f -H 'content-type: text/plain'",
                "POST /a|accept */*|content-length 8|content-type text/plain|host h|one\ntwo\n",
            ),
            (
                "curl http://h/a --json '{' --json '}'",
                "POST /a|accept application/json|content-length 2|content-type application/json|host h|{}",
            ),
            (
                "curl -G http://h/a -d b=1 --data c=2",
                "GET /a?b=1&c=2|accept */*|host h|",
            ),
            (
                "curl -G 'http://h/a?z' -d b",
                "GET /a?z&b|accept */*|host h|",
            ),
            (
                "curl http://h/a -H 'A: 1' -H 'a: 2' -H Accept: -H 'B;' -b c=d -A me -e you",
                "GET /a|a 1|a 2|b |cookie c=d|host h|referer you|user-agent me|",
            ),
            (
                "curl http://h/a --oauth2-bearer t -H 'Host: other'",
                "GET /a|accept */*|authorization Bearer t|host other|",
            ),
            (
                "curl --location --request PUT \\\n  'http://h/a' \\\n  -ksSo /dev/null -w '%{http_code}' -m 5 --max-time 3 --compressed -- ",
                "PUT /a|accept */*|host h|",
            ),
        ] {
            let request =
                of_curl(command, &file).unwrap_or_else(|fault| panic!("{command}: {fault}"));
            assert_eq!(shown(&request), want, "{command}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused_and_no_secret_is_told() {
        for (command, want) in [
            ("wget http://h/a", "does not begin with curl"),
            ("curl", "the command has no URL"),
            ("curl http://h/a http://h/b", "the command has two URLs"),
            ("curl ftp://h/a", "not of http or https"),
            ("curl http://me:secret@h/a", "the URL has a user"),
            (
                "curl http://h/a -u me:secret",
                "-u sends a user and a password",
            ),
            (
                "curl http://h/a --user me:secret",
                "-u sends a user and a password",
            ),
            (
                "curl http://h/a -F a=secret",
                "the option -F of curl is not read here",
            ),
            (
                "curl http://h/a --digest",
                "the option --digest of curl is not read here",
            ),
            ("curl http://h/a -H", "-H has no value"),
            (
                "curl http://h/a -H secret",
                "-H has no header like 'Name: value'",
            ),
            (
                "curl http://h/a -H $'A: \\x01secret'",
                "a has a value that no header can have",
            ),
            ("curl http://h/a -H @secret", "-H names a file of headers"),
            ("curl http://h/a -b secret", "-b names a file of cookies"),
            ("curl http://h/a -d @missing", "missing: there is none"),
            ("curl http://h/a -X 'A B'", "\"A B\" is no method"),
        ] {
            let fault = of_curl(command, &file).unwrap_err().to_string();
            assert!(fault.contains(want), "{command}: {fault}");
            assert!(!fault.contains("secret"), "{command}: {fault}");
        }
    }

    fn file(name: &str) -> io::Result<Vec<u8>> {
        match name {
            "f" => Ok(b"one\ntwo\n".to_vec()),
            _ => Err(io::Error::other("there is none")),
        }
    }

    fn shown(request: &Request<Bytes>) -> String {
        let mut headers: Vec<String> = request
            .headers()
            .iter()
            .map(|(name, value)| format!("{name} {}|", value.to_str().unwrap()))
            .collect();
        headers.sort();
        let body = std::str::from_utf8(request.body()).unwrap();
        let (method, uri) = (request.method(), request.uri());
        format!("{method} {uri}|{}{body}", headers.concat())
    }
}
