//! Reading what a command is given, up to a length.

use std::io::{self, Read};

/// All that there is, or an error where it is more than so many bytes.
pub(crate) fn bounded(from: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it is over {most} bytes")));
    }
    Ok(bytes)
}

/// The same, which must be text.
pub(crate) fn bounded_text(from: impl Read, most: u64) -> io::Result<String> {
    String::from_utf8(bounded(from, most)?).map_err(|_| io::Error::other("it is no UTF-8"))
}
