//! Text for HTML, and the little of Markdown that descriptions use.

/// Text that is no markup.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
    out
}

/// Text with `code` in it.
pub(super) fn inline(text: &str) -> String {
    let mut out = String::new();
    for (place, part) in text.split('`').enumerate() {
        let part = escaped(part);
        if place % 2 == 1 {
            out.push_str(&format!("<code>{part}</code>"));
        } else {
            out.push_str(&part);
        }
    }
    out
}

/// Paragraphs and headings.
pub(super) fn prose(text: &str) -> String {
    let blocks = text
        .split("\n\n")
        .map(|block| match block.strip_prefix("## ") {
            Some(heading) => format!("<h2>{}</h2>", inline(heading)),
            None => format!("<p>{}</p>", inline(block)),
        });
    blocks.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_never_markup() {
        for (given, want) in [
            ("a < b & \"c\"", "<p>a &lt; b &amp; &quot;c&quot;</p>"),
            (
                "`<script>` is code",
                "<p><code>&lt;script&gt;</code> is code</p>",
            ),
            ("## A\n\nb", "<h2>A</h2><p>b</p>"),
        ] {
            assert_eq!(prose(given), want, "{given}");
        }
    }
}
