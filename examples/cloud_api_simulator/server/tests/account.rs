//! The Graph plane beside `/messages`, over real sockets.

use reqwest::Method;
use serde_json::{Value, json};

use super::run::{Run, USER};

#[tokio::test]
async fn accounts_and_numbers_can_be_asked_for() {
    let run = Run::start().await;
    for (path, pointer, want) in [
        (
            "106540352242922?fields=display_phone_number,throughput",
            "/throughput/level",
            json!("STANDARD"),
        ),
        (
            "106540352242922",
            "/display_phone_number",
            json!("15550783881"),
        ),
        (
            "102290129340398/phone_numbers",
            "/data/0/id",
            json!("106540352242922"),
        ),
        (
            "102290129340398/message_templates?name=hello_world&limit=1",
            "/data/0/language",
            json!("en_US"),
        ),
        (
            "102290129340398/subscribed_apps",
            "/data/0/whatsapp_business_api_data/id",
            json!("1001"),
        ),
    ] {
        let (status, answer) = run.graph(Method::GET, path).await;
        assert_eq!(
            (status, answer.pointer(pointer)),
            (200, Some(&want)),
            "{path}"
        );
    }
    for path in [
        "106540352242922?fields=colour",
        "1",
        "102290129340398/flows",
        "102290129340398/phone_numbers?limit=many",
    ] {
        let (status, answer) = run.graph(Method::GET, path).await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (400, &json!(100)),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_answer_names_its_trace_and_version() {
    let run = Run::start().await;
    for path in ["106540352242922", "1", "102290129340398/phone_numbers"] {
        let url = format!("{}/v24.0/{path}", run.url);
        let request = run.client.get(url).bearer_auth("demo-access-token");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.headers()["facebook-api-version"], "v24.0", "{path}");
        assert!(answer.headers()["x-fb-trace-id"].len() > 10, "{path}");
    }
}

#[tokio::test]
async fn an_app_that_is_not_subscribed_hears_nothing() {
    let mut run = Run::start().await;
    let path = "102290129340398/subscribed_apps";
    for method in [Method::DELETE, Method::POST] {
        let answer = run.graph(method.clone(), path).await;
        assert_eq!(answer, (200, json!({"success": true})), "{method}");
        run.write(method.as_str()).await;
    }
    assert_eq!(run.words().await, "POST");
    let (status, _) = run.graph(Method::POST, "102290129340398/flows").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn marketing_goes_through_its_own_door() {
    let mut run = Run::start().await;
    let waba = "102290129340398";
    let sale = json!({"template": [
        {"waba": waba, "name": "sale", "language": "en", "body": "Sale", "category": "marketing"},
    ]});
    run.control("world", sale).await;
    let body = |name: &str, language: &str| {
        json!({
            "messaging_product": "whatsapp", "to": USER, "type": "template",
            "template": {"name": name, "language": {"code": language}},
        })
    };
    let path = "106540352242922/marketing_messages";
    let (status, answer) = run.graph_post(path, body("hello_world", "en_US")).await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(134100)));
    let (status, _) = run.graph_post(path, body("sale", "en")).await;
    assert_eq!(status, 200);
    let told: Value = run.status().await;
    assert_eq!(told["pricing"]["category"], "marketing_lite");
    let off = json!({"waba": [{"id": waba, "apps": ["1001"], "marketing_messages": false}]});
    run.control("world", off).await;
    let (_, answer) = run.graph_post(path, body("sale", "en")).await;
    assert_eq!(answer["error"]["code"], 131055);
}
