//! An explanation as people read it.

use std::fmt;

use super::{Answer, Explanation, Finding, Step};

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", printable(&self.request), self.answer)?;
        writeln!(f)?;
        for step in &self.steps {
            write!(f, "{step}")?;
        }
        writeln!(f)?;
        for line in &self.unsaid {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded => f.write_str("would be sent on to the service"),
            Self::Refused { status, code, .. } => write!(f, "would be refused: {status} {code}"),
            Self::Replayed { status } => {
                write!(f, "would be answered by the first response again: {status}")
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (layer, finding) = (self.layer.as_str(), self.finding.as_str());
        let line = format!("  {layer:<16} {finding:<12} {}", printable(&self.reason));
        writeln!(f, "{}", line.trim_end())?;
        if self.facts.is_empty() || self.finding == Finding::NotAsked {
            return Ok(());
        }
        let facts = self.facts.iter();
        let facts: Vec<String> = facts
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        writeln!(f, "  {:<29} {}", "", printable(&facts.join(" · ")))
    }
}

// === impl Finding ===

impl Finding {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::NotAsked => "not asked",
            Self::NotReached => "not reached",
            Self::Passes => "passes",
            Self::Refuses => "refuses",
        }
    }
}

/// What a caller sent or a record says is shown on a terminal, which obeys control characters.
fn printable(text: &str) -> String {
    let shown = |letter: char| {
        if letter.is_control() {
            '\u{fffd}'
        } else {
            letter
        }
    };
    text.chars().map(shown).collect()
}
