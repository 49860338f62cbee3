//! Message templates: their placeholders and what they may be sent with.

use serde::Deserialize;

/// A template of one name and language.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Template {
    pub(crate) waba: String,
    pub(crate) name: String,
    pub(crate) language: String,
    #[serde(default)]
    pub(crate) category: Category,
    #[serde(default)]
    pub(crate) parameter_format: ParameterFormat,
    #[serde(default)]
    pub(crate) status: TemplateStatus,
    pub(crate) header: Option<Header>,
    /// Text with `{{1}}` or `{{name}}` where a value goes.
    pub(crate) body: String,
    #[serde(default, rename = "button")]
    pub(crate) buttons: Vec<Button>,
}

/// What a template is for; it sets the price and where it may go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Category {
    Authentication,
    Marketing,
    #[default]
    Utility,
}

/// How values find their placeholders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ParameterFormat {
    Named,
    #[default]
    Positional,
}

/// What Meta thinks of a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TemplateStatus {
    #[default]
    Approved,
    Disabled,
    Paused,
    Pending,
    Rejected,
}

/// What stands above the body.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Header {
    Document,
    Image,
    Location,
    /// `{ text = "…" }`, with placeholders as in the body.
    Text(String),
    Video,
}

/// What stands below the body; a URL may end in `{{1}}`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Button {
    CopyCode,
    QuickReply,
    Url { url: String },
}

/// A place in a text where a value goes: its name, or its number.
pub(crate) type Placeholder<'a> = &'a str;

// === impl Category ===

impl Category {
    /// The word for it in webhooks.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Authentication => "authentication",
            Self::Marketing => "marketing",
            Self::Utility => "utility",
        }
    }

    /// Whether it costs nothing inside the window.
    pub(crate) const fn is_free_in_window(self) -> bool {
        matches!(self, Self::Utility)
    }
}

/// The placeholders of a text, each once, in the order of the text.
pub(crate) fn placeholders(text: &str) -> Vec<Placeholder<'_>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once("{{") {
        let Some((name, next)) = after.split_once("}}") else {
            break;
        };
        if !found.contains(&name.trim()) {
            found.push(name.trim());
        }
        rest = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_read_from_the_text() {
        for (text, want) in [
            ("plain", vec![]),
            ("Hi {{1}}, order {{2}}", vec!["1", "2"]),
            ("{{ first_name }}{{first_name}}", vec!["first_name"]),
            ("{{open", vec![]),
            ("{{a}} and {{open", vec!["a"]),
        ] {
            assert_eq!(placeholders(text), want, "{text}");
        }
    }
}
