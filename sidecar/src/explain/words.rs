//! A command taken apart into words, as a POSIX shell does it.

use std::iter::Peekable;
use std::str::Chars;

use super::Fault;

/// The words of one command.
///
/// What a shell would put in the place of something, a variable or another command's output,
/// is not known here and refused.
pub(super) fn split(command: &str) -> Result<Vec<String>, Fault> {
    let mut letters = command.trim().chars().peekable();
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    while let Some(letter) = letters.next() {
        match letter {
            ' ' | '\t' | '\n' | '\r' => words.extend(word.take()),
            '#' if word.is_none() => while letters.next_if(|letter| *letter != '\n').is_some() {},
            '\\' => match letters.next() {
                // The line goes on.
                Some('\n') => {}
                Some('\r') if letters.next_if_eq(&'\n').is_some() => {}
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err(Fault::new("the command ends with a backslash")),
            },
            '\'' => single(&mut letters, word.get_or_insert_default())?,
            '"' => double(&mut letters, word.get_or_insert_default())?,
            '$' if letters.next_if_eq(&'\'').is_some() => {
                ansi(&mut letters, word.get_or_insert_default())?;
            }
            '$' | '`' => return Err(unknown(letter, &mut letters)),
            '&' | '|' | ';' | '<' | '>' | '(' | ')' => {
                return Err(Fault::new(format!(
                    "a shell ends the command at the unquoted {letter:?}: a URL or a value that has it must be quoted"
                )));
            }
            letter => word.get_or_insert_default().push(letter),
        }
    }
    words.extend(word);
    Ok(words)
}

fn single(letters: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), Fault> {
    loop {
        match letters.next().ok_or_else(|| unclosed('\''))? {
            '\'' => return Ok(()),
            letter => word.push(letter),
        }
    }
}

fn double(letters: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), Fault> {
    loop {
        match letters.next().ok_or_else(|| unclosed('"'))? {
            '"' => return Ok(()),
            '\\' => match letters.next().ok_or_else(|| unclosed('"'))? {
                '\n' => {}
                letter @ ('$' | '`' | '"' | '\\') => word.push(letter),
                letter => word.extend(['\\', letter]),
            },
            // A sign by itself stays what it is.
            '$' if letters.peek().is_some_and(|next| !names(*next)) => word.push('$'),
            letter @ ('$' | '`') => return Err(unknown(letter, letters)),
            letter => word.push(letter),
        }
    }
}

/// `$'…'`, as browsers copy a body with an apostrophe in it.
fn ansi(letters: &mut Peekable<Chars<'_>>, word: &mut String) -> Result<(), Fault> {
    loop {
        let letter = letters.next().ok_or_else(|| unclosed('\''))?;
        match letter {
            '\'' => return Ok(()),
            '\\' => {
                let escape = letters.next().ok_or_else(|| unclosed('\''))?;
                word.push(escaped(escape, letters)?);
            }
            letter => word.push(letter),
        }
    }
}

fn escaped(escape: char, letters: &mut Peekable<Chars<'_>>) -> Result<char, Fault> {
    Ok(match escape {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'e' | 'E' => '\u{1b}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '?' => escape,
        'x' => numbered(letters, 16, 2)?,
        'u' => numbered(letters, 16, 4)?,
        'U' => numbered(letters, 16, 8)?,
        other => return Err(Fault::new(format!("$'…' has no escape \\{other} here"))),
    })
}

fn numbered(letters: &mut Peekable<Chars<'_>>, radix: u32, most: usize) -> Result<char, Fault> {
    let mut digits = String::new();
    while digits.len() < most
        && let Some(digit) = letters.next_if(|letter| letter.is_digit(radix))
    {
        digits.push(digit);
    }
    let number = u32::from_str_radix(&digits, radix).ok();
    let letter = number.and_then(char::from_u32);
    letter.ok_or_else(|| Fault::new(format!("$'…' has no character with the number {digits:?}")))
}

fn names(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '{' | '(' | '@' | '*' | '?' | '!')
}

fn unknown(sign: char, letters: &mut Peekable<Chars<'_>>) -> Fault {
    let mut name = String::from(sign);
    while name.len() < NAME_MAX
        && let Some(letter) = letters.next_if(|letter| names(*letter))
    {
        name.push(letter);
    }
    Fault::new(format!(
        "a shell would put something in the place of {name}, which is not known here: write it out, or quote it with '…'"
    ))
}

fn unclosed(sign: char) -> Fault {
    Fault::new(format!("a quotation that begins with {sign} does not end"))
}

/// As much of a name as tells which one it is.
const NAME_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_shell() {
        for (command, want) in [
            ("curl  a\tb\n c", vec!["curl", "a", "b", "c"]),
            ("a\\\n b \\\r\n c", vec!["a", "b", "c"]),
            ("a\\ b 'c d'e\"f g\"", vec!["a b", "c def g"]),
            ("'' \"\"", vec!["", ""]),
            (r#"'a\n"$x`' "\"\\\$\`\n""#, vec!["a\\n\"$x`", "\"\\$`\\n"]),
            (r"$'it\'s\n\x41é\U0001f600'", vec!["it's\nAé😀"]),
            ("a # a comment\nb c#d", vec!["a", "b", "c#d"]),
            ("\"5 $ and 6\"", vec!["5 $ and 6"]),
            ("", vec![]),
        ] {
            assert_eq!(split(command).unwrap(), want, "{command}");
        }
    }

    #[test]
    fn what_only_a_shell_knows_is_refused() {
        for (command, want) in [
            ("curl $URL", "in the place of $URL, which"),
            ("curl \"Bearer ${KEY}\"", "in the place of ${KEY, which"),
            ("curl \"$(cat key)\"", "in the place of $(cat, which"),
            ("curl `cat key`", "in the place of `cat, which"),
            ("curl http://a/?b=1&c=2", "at the unquoted '&'"),
            ("curl a | jq", "at the unquoted '|'"),
            ("curl 'a", "a quotation that begins with ' does not end"),
            ("curl \"a", "a quotation that begins with \" does not end"),
            ("curl $'a", "a quotation that begins with ' does not end"),
            ("curl a\\", "ends with a backslash"),
            (r"curl $'\q'", "no escape \\q"),
            (r"curl $'\ud800'", "no character with the number \"d800\""),
        ] {
            let fault = split(command).unwrap_err().to_string();
            assert!(fault.contains(want), "{command}: {fault}");
        }
    }
}
