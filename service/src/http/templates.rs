//! `POST /v1/whatsapp/templates`.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::{Map, Value};
use vestibule::ApiError;
use vestibule::error::Code;

use super::extract::{Fields, JsonBody};
use super::{App, accept};
use crate::accept::Call;
use crate::message::Content;
use crate::store::Store;
use crate::template::{Button, ButtonKind, Language, MediaUrl, Name, Parameters, Template};

/// Sends an approved template, at any time.
pub(super) async fn send<S: Store>(
    State(app): State<Arc<App<S>>>,
    call: Call,
    body: JsonBody,
) -> Result<Response, ApiError> {
    accept(&app, &call, body, template).await
}

fn template(fields: Fields<'_>) -> Result<Content, ApiError> {
    let Value::Object(template) = fields.required("template", "template.name")? else {
        return Err(invalid_name("template", "'template' must be an object."));
    };
    let template = Fields::new(template);
    let template = Template {
        name: template
            .required("name", "template.name")?
            .as_str()
            .and_then(Name::parse)
            .ok_or_else(|| {
                let message =
                    "'template.name' must be 1 to 512 lower-case letters, digits and '_'.";
                invalid_name("template.name", message)
            })?,
        language: template
            .required("language", "template.language")?
            .as_str()
            .and_then(Language::parse)
            .ok_or_else(|| {
                let message = "'template.language' must be a code such as en or pt_BR.";
                ApiError::new(Code::INVALID_TEMPLATE_LANGUAGE, message).param("template.language")
            })?,
        parameters: filled(template, "parameters", "template.parameters", parameters)?,
        header_parameters: filled(
            template,
            "header_parameters",
            "template.header_parameters",
            parameters,
        )?,
        header_media_url: filled(
            template,
            "header_media_url",
            "template.header_media_url",
            |value| value.as_str().and_then(MediaUrl::parse).map(Some),
        )?,
        buttons: filled(template, "buttons", "template.buttons", buttons)?,
    };
    if !template.is_consistent() {
        let message = "A header is text or media, its text has 60 characters at most, and a body \
                       with anything beside it 1024.";
        return Err(ApiError::new(Code::INVALID_TEMPLATE_PARAMETERS, message).param("template"));
    }
    Ok(Content::Template(template))
}

/// An optional field that fills the template's places.
fn filled<T: Default>(
    template: Fields<'_>,
    name: &str,
    param: &'static str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Result<T, ApiError> {
    match template.optional(name) {
        None => Ok(T::default()),
        Some(value) => read(value).ok_or_else(|| {
            let message = format!("'{param}' is not what a template takes.");
            ApiError::new(Code::INVALID_TEMPLATE_PARAMETERS, message).param(param)
        }),
    }
}

fn parameters(value: &Value) -> Option<Parameters> {
    let values = value
        .as_object()?
        .iter()
        .map(|(name, value)| value.as_str().map(|value| (name.as_str(), value)))
        .collect::<Option<Vec<_>>>()?;
    Parameters::new(values)
}

/// `[{"type":"url","value":"…","index":0}]`; a button without an index has its place in
/// the list.
fn buttons(value: &Value) -> Option<Vec<Button>> {
    let buttons = value
        .as_array()?
        .iter()
        .enumerate()
        .map(|(place, button)| {
            button
                .as_object()
                .and_then(|fields| one_button(place, fields))
        })
        .collect::<Option<Vec<_>>>()?;
    let is_told_apart = buttons.iter().enumerate().all(|(place, button)| {
        buttons[..place]
            .iter()
            .all(|other| other.index != button.index)
    });
    is_told_apart.then_some(buttons)
}

fn one_button(place: usize, fields: &Map<String, Value>) -> Option<Button> {
    let index = match fields.get("index") {
        None | Some(Value::Null) => u8::try_from(place).ok()?,
        Some(index) => u8::try_from(index.as_u64()?).ok()?,
    };
    let kind = ButtonKind::parse(fields.get("type")?.as_str()?)?;
    Button::new(index, kind, fields.get("value")?.as_str()?)
}

fn invalid_name(param: &'static str, message: &'static str) -> ApiError {
    ApiError::new(Code::INVALID_TEMPLATE_NAME, message).param(param)
}
