//! One operation as a section of the page.

use serde_json::Value;

use super::Document;
use super::fields;
use super::markup::{escaped, inline, prose};

/// Its line among the links.
pub(super) fn entry(method: &str, operation: &Value) -> String {
    format!(
        "<li><a href=\"#{}\"><span class=\"{method}\">{}</span> {}</a></li>",
        escaped(text(&operation["operationId"])),
        method.to_uppercase(),
        escaped(text(&operation["summary"]))
    )
}

/// Its section.
pub(super) fn section(
    document: Document<'_>,
    path: &str,
    method: &str,
    operation: &Value,
) -> String {
    let id = escaped(text(&operation["operationId"]));
    let mut out = format!(
        "<section id=\"{id}\"><h3><a href=\"#{id}\">{}</a></h3>\
         <p class=\"line\"><span class=\"{method}\">{}</span> <code>{}</code></p>{}",
        escaped(text(&operation["summary"])),
        method.to_uppercase(),
        escaped(path),
        prose(text(&operation["description"]))
    );
    out.push_str(&parameters(document, operation));
    let body = &operation["requestBody"]["content"]["application/json"];
    let fields = fields::table(document, &body["schema"]);
    if !fields.is_empty() {
        out.push_str(&format!("<h4>Body</h4>{fields}"));
    }
    out.push_str(&examples(document, path, method, operation));
    let answers = operation["responses"].as_object().into_iter().flatten();
    let (refusals, answers): (Vec<_>, Vec<_>) = answers
        .map(|(status, answer)| (&**status, document.resolved(answer)))
        .partition(|(status, _)| status.starts_with(['4', '5']));
    for (status, response) in answers {
        out.push_str(&answer(document, status, response));
    }
    out.push_str(&errors(document, &refusals));
    out.push_str("</section>");
    out
}

fn parameters(document: Document<'_>, operation: &Value) -> String {
    let rows: String = each(&operation["parameters"])
        .map(|parameter| {
            let parameter = document.resolved(parameter);
            let is_required = parameter["required"] == true;
            let meaning = text(&parameter["description"]);
            let name = format!("{} ({})", text(&parameter["name"]), text(&parameter["in"]));
            fields::row(document, &name, is_required, &parameter["schema"], meaning)
        })
        .collect();
    let head = "<thead><tr><th>Name<th>Type<th>Meaning</thead>";
    format!("<h4>Parameters</h4><table>{head}<tbody>{rows}</tbody></table>")
}

/// A command line for each example of the body, or one where there is no body.
fn examples(document: Document<'_>, path: &str, method: &str, operation: &Value) -> String {
    let (mut path, mut headers) = (path.to_owned(), String::new());
    let mut query = Vec::new();
    for parameter in each(&operation["parameters"]).map(|found| document.resolved(found)) {
        let name = text(&parameter["name"]);
        if name == "Idempotency-Key" {
            // Only here: an example in the document is what its readers send each time.
            headers.push_str(" \\\n  -H 'Idempotency-Key: order-17'");
        }
        let Some(example) = parameter["example"].as_str() else {
            continue;
        };
        match text(&parameter["in"]) {
            "path" => path = path.replace(&format!("{{{name}}}"), example),
            "query" => query.push(format!("{name}={}", example.replace('+', "%2B"))),
            _ => {}
        }
    }
    if !query.is_empty() {
        path = format!("{path}?{}", query.join("&"));
    }
    if operation["security"].is_array() {
        headers.insert_str(0, " \\\n  -H \"Authorization: Bearer $KEY\"");
    }
    let command = format!("curl -i \"$API{path}\"{headers}");
    let bodies = operation["requestBody"]["content"]["application/json"]["examples"].as_object();
    let shown: String = if method == "post" {
        let bodies = bodies.into_iter().flatten();
        bodies
            .map(|(_, example)| {
                let command = format!(
                    "{command} \\\n  -H 'Content-Type: application/json' \\\n  -d '{}'",
                    example["value"]
                );
                let summary = inline(text(&example["summary"]));
                format!("<p>{summary}:</p><pre>{}</pre>", escaped(&command))
            })
            .collect()
    } else {
        format!("<pre>{}</pre>", escaped(&command))
    };
    format!("<h4>Example</h4>{shown}")
}

fn answer(document: Document<'_>, status: &str, response: &Value) -> String {
    let mut out = format!(
        "<h4>Answer <span class=\"good\">{}</span></h4>{}",
        escaped(status),
        prose(text(&response["description"]))
    );
    let contents = response["content"].as_object().into_iter().flatten();
    for (media_type, content) in contents {
        out.push_str(&format!("<p><code>{}</code></p>", escaped(media_type)));
        out.push_str(&fields::table(document, &content["schema"]));
        let example = match &content["example"] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            json => format!("{json:#}"),
        };
        out.push_str(&format!("<pre>{}</pre>", escaped(&example)));
    }
    out.push_str(&headers(document, response));
    out
}

fn headers(document: Document<'_>, response: &Value) -> String {
    let headers = response["headers"].as_object().into_iter().flatten();
    let rows: String = headers
        .map(|(name, header)| {
            let header = document.resolved(header);
            let meaning = text(&header["description"]);
            let is_always = header["required"] == true;
            let when = if is_always { "always" } else { "sometimes" };
            format!(
                "<tr><td><code>{}</code><td>{when}<td>{}</tr>",
                escaped(name),
                inline(meaning)
            )
        })
        .collect();
    format!(
        "<details><summary>Headers</summary><table><thead><tr><th>Name<th>Sent<th>Meaning</thead>\
         <tbody>{rows}</tbody></table></details>"
    )
}

fn errors(document: Document<'_>, refusals: &[(&str, &Value)]) -> String {
    let mut rows = String::new();
    for (status, response) in refusals {
        let names = response["headers"].as_object().into_iter().flatten();
        let names: Vec<String> = names
            .map(|(name, _)| name)
            .filter(|name| TOLD.contains(&name.as_str()))
            .map(|name| format!("<code>{name}</code>"))
            .collect();
        let examples = &response["content"]["application/json"]["examples"];
        for (code, example) in examples.as_object().into_iter().flatten() {
            let example = document.resolved(example);
            rows.push_str(&format!(
                "<tr><td>{status}<br>{}<td><code>{}</code><td>{}<td>{}</tr>",
                names.join("<br>"),
                escaped(code),
                escaped(text(&example["value"]["error"]["message"])),
                inline(text(&example["description"]))
            ));
        }
    }
    format!(
        "<h4>Errors</h4><table class=\"errors\"><thead><tr><th>Status<th>Code<th>It says\
         <th>What to do</thead><tbody>{rows}</tbody></table>"
    )
}

fn each(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The headers of refusals that a caller acts on.
const TOLD: [&str; 3] = ["Allow", "Retry-After", "WWW-Authenticate"];
