//! The order of checks, as a table: each row repairs what the row before it was refused for.

use serde_json::json;

use super::*;
use crate::world;

#[test]
fn the_first_thing_that_is_wrong_answers() {
    let mut attempt = Attempt::with_everything_wrong();
    for (repair, refused_with) in [
        (Repair::Nothing, 100),
        (Repair::Version, 190),
        (Repair::Token("expired"), 190),
        (Repair::Token("revoked"), 190),
        (Repair::Token("no-scope"), 10),
        (Repair::Token("elsewhere"), 100),
        (Repair::Token("good"), 131057),
        (Repair::Number("unregistered"), 133010),
        (Repair::Number("deleted"), 33),
        (Repair::Number("locked"), 131031),
        (Repair::Number("restricted"), 368),
        (Repair::Number("unpaid"), 131042),
        (Repair::Number("ours"), 100),
        (Repair::Json, 100),
        (
            Repair::Field("messaging_product", json!("whatsapp")),
            131009,
        ),
        (Repair::Field("recipient_type", json!("individual")), 131008),
        (Repair::Field("to", json!("+1x")), 131009),
        (Repair::Field("to", json!("+15550783881")), 131051),
        (Repair::Field("type", json!("text")), 131008),
        (Repair::Field("text", json!("hello")), 131009),
        (Repair::Field("text", json!({})), 131008),
        (Repair::Field("text", json!({"body": ""})), 100),
        (
            Repair::Field("text", json!({"body": "é".repeat(4097)})),
            100,
        ),
        (
            Repair::Field("text", json!({"body": "é".repeat(4096)})),
            100,
        ),
        (
            Repair::Field("biz_opaque_callback_data", json!("é".repeat(512))),
            131021,
        ),
        (Repair::Field("to", json!("+16505550000")), 131030),
        (Repair::Field("to", json!("+16505551234")), 130429),
        (Repair::Throughput, 131056),
        (Repair::NoLimits, 131047),
        (Repair::OpenWindow, ACCEPTED),
    ] {
        let shown = format!("{repair:?}");
        attempt.apply(repair);
        assert_eq!(attempt.code(), refused_with, "after {shown:.80}");
    }
}

#[test]
fn a_template_is_judged_before_the_allow_list_and_not_by_the_window() {
    let template = |name: &str| json!({"name": name, "language": {"code": "en"}});
    let mut attempt = Attempt::sound();
    attempt.apply(Repair::Field("type", json!("template")));
    attempt.apply(Repair::Field("to", json!("+16505550000")));
    for (repair, refused_with) in [
        (Repair::Nothing, 131008),
        (Repair::Field("template", template("gone")), 132001),
        (Repair::Field("template", template("hello")), 131030),
        (Repair::Field("to", json!("+16505551234")), ACCEPTED),
    ] {
        let shown = format!("{repair:?}");
        attempt.apply(repair);
        assert_eq!(attempt.code(), refused_with, "after {shown}");
    }
}

#[test]
fn the_window_is_refused_at_once_only_in_sync_mode() {
    let mut attempt = Attempt::sound();
    for (mode, refused_with) in [
        (WindowMode::Sync, 131047),
        (WindowMode::Async, ACCEPTED),
        (WindowMode::Off, ACCEPTED),
    ] {
        attempt.world.settings.window_mode = mode;
        assert_eq!(attempt.code(), refused_with, "{mode:?}");
    }
}

#[test]
fn marking_as_read_is_no_send() {
    for (body, want) in [
        (
            json!({"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.x"}),
            Ok(true),
        ),
        (
            json!({"messaging_product": "whatsapp", "status": "read"}),
            Err(131008),
        ),
        (
            json!({"messaging_product": "whatsapp", "status": "sent", "message_id": "wamid.x"}),
            Err(100),
        ),
    ] {
        let mut attempt = Attempt::sound();
        attempt.body = body.to_string();
        let judged = attempt.judge().map(|wish| matches!(wish, Wish::MarkRead));
        assert_eq!(judged.map_err(|refusal| refusal.code), want, "{body}");
    }
}

#[test]
fn marketing_messages_takes_marketing_templates_only() {
    let template = |name: &str| json!({"name": name, "language": {"code": "en"}});
    let mut attempt = Attempt::sound();
    attempt.edge = Edge::MarketingMessages;
    for (repair, refused_with) in [
        (Repair::Nothing, 134100),
        (Repair::Field("type", json!("template")), 131008),
        (Repair::Field("template", template("hello")), 134100),
        (Repair::Field("template", template("sale")), ACCEPTED),
        (Repair::Number("barred"), 131055),
    ] {
        let shown = format!("{repair:?}");
        attempt.apply(repair);
        assert_eq!(attempt.code(), refused_with, "after {shown}");
    }
    attempt.apply(Repair::Number("ours"));
    attempt.edge = Edge::Messages;
    assert_eq!(attempt.code(), 131063, "marketing is off at the other door");
}

#[test]
fn a_flagged_number_sends_on() {
    let mut attempt = Attempt::sound();
    attempt.apply(Repair::OpenWindow);
    attempt.world.numbers[0].state = NumberState::Flagged;
    assert_eq!(attempt.code(), ACCEPTED);
}

#[test]
fn the_bearer_scheme_is_read_in_any_case() {
    for (authorization, want) in [
        (None, 190),
        (Some("good"), 190),
        (Some("Basic good"), 190),
        (Some("Bearer unknown"), 190),
        (Some("bearer good"), 131047),
        (Some("Bearer good"), 131047),
    ] {
        let mut attempt = Attempt::sound();
        attempt.authorization = authorization.map(str::to_owned);
        assert_eq!(attempt.code(), want, "{authorization:?}");
    }
}

const ACCEPTED: u32 = 0;

#[derive(Debug)]
enum Repair {
    Nothing,
    Version,
    Token(&'static str),
    Number(&'static str),
    Json,
    Field(&'static str, Value),
    Throughput,
    NoLimits,
    OpenWindow,
}

/// A request in the making.
struct Attempt {
    world: World,
    windows: Windows,
    limits: Limits,
    quota: Option<Quota>,
    version: &'static str,
    pnid: &'static str,
    authorization: Option<String>,
    body: String,
    edge: Edge,
}

impl Attempt {
    fn with_everything_wrong() -> Self {
        Self {
            world: world::parse(WORLD).unwrap(),
            windows: Windows::default(),
            limits: exhausted(),
            quota: Some(TIGHT),
            version: "v20.0",
            pnid: "maintained",
            authorization: None,
            body: "{".to_owned(),
            edge: Edge::Messages,
        }
    }

    /// Right in everything but the window.
    fn sound() -> Self {
        let mut attempt = Self::with_everything_wrong();
        attempt.apply(Repair::Version);
        attempt.apply(Repair::Token("good"));
        attempt.apply(Repair::Number("ours"));
        attempt.apply(Repair::NoLimits);
        let body =
            json!({"messaging_product": "whatsapp", "to": "+16505551234", "text": {"body": "hi"}});
        attempt.body = body.to_string();
        attempt
    }

    fn apply(&mut self, repair: Repair) {
        match repair {
            Repair::Nothing => {}
            Repair::Version => self.version = "v25.0",
            Repair::Token(value) => self.authorization = Some(format!("Bearer {value}")),
            Repair::Number(pnid) => self.pnid = pnid,
            Repair::Json => {
                let wrong = json!({
                    "recipient_type": "group",
                    "type": "smoke_signal",
                    "biz_opaque_callback_data": "x".repeat(513),
                });
                self.body = wrong.to_string();
            }
            Repair::Field(name, value) => {
                let mut body: Value = serde_json::from_str(&self.body).unwrap();
                body[name] = value;
                self.body = body.to_string();
            }
            Repair::Throughput => self.quota = Some(Quota { mps: 80, ..TIGHT }),
            Repair::NoLimits => self.quota = None,
            Repair::OpenWindow => {
                let user = self.world.user("16505551234").user_id();
                self.windows.touch("ours", &user, NOW, NOW);
            }
        }
    }

    fn judge(&self) -> Result<Wish, Refusal> {
        let request = Request {
            version: self.version,
            pnid: self.pnid,
            authorization: self.authorization.as_deref(),
            body: self.body.as_bytes(),
            edge: self.edge,
        };
        let ground = Ground {
            world: &self.world,
            windows: &self.windows,
            limits: &self.limits,
            quota: self.quota,
            is_in_maintenance: false,
        };
        judge(&request, &ground, NOW)
    }

    fn code(&self) -> u32 {
        self.judge().err().map_or(ACCEPTED, |refusal| refusal.code)
    }
}

/// One message was sent just now, which is all that is granted.
fn exhausted() -> Limits {
    let user = world::parse(WORLD).unwrap().user("16505551234").user_id();
    let mut limits = Limits::default();
    limits.charge_send("ours", &user, &TIGHT, NOW);
    limits
}

const TIGHT: Quota = Quota {
    mps: 1,
    pair_burst: 1,
    ..Quota::of(1)
};

const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

const WORLD: &str = r#"
settings = { window_mode = "sync" }
waba = [
    { id = "w", disable_marketing_messages_on_cloud_api = true },
    { id = "barred", marketing_messages = false },
    { id = "locked", state = "locked" },
    { id = "restricted", state = "restricted" },
    { id = "unpaid", state = "unpaid" },
    { id = "elsewhere" },
]
number = [
    { id = "ours", waba = "w", display = "15550783881", country_code = "1", allowed_recipients = ["16505551234", "15550783881"] },
    { id = "barred", waba = "barred", display = "15550783881", country_code = "1" },
    { id = "maintained", waba = "w", display = "15550783881", country_code = "1", state = "maintenance" },
    { id = "unregistered", waba = "w", display = "15550783881", country_code = "1", state = "unregistered" },
    { id = "deleted", waba = "w", display = "15550783881", country_code = "1", state = "deleted" },
    { id = "locked", waba = "locked", display = "15550783881", country_code = "1" },
    { id = "restricted", waba = "restricted", display = "15550783881", country_code = "1" },
    { id = "unpaid", waba = "unpaid", display = "15550783881", country_code = "1" },
]
token = [
    { value = "good", wabas = ["w", "barred", "locked", "restricted", "unpaid"] },
    { value = "expired", wabas = ["w"], expires_at = 1800000000 },
    { value = "revoked", wabas = ["w"], revoked = true },
    { value = "no-scope", wabas = ["w"], scopes = ["whatsapp_business_management"] },
    { value = "elsewhere", wabas = ["elsewhere"] },
]
template = [
    { waba = "w", name = "hello", language = "en", body = "Hello" },
    { waba = "w", name = "sale", language = "en", body = "Sale", category = "marketing" },
]
"#;
