//! The simulator's page in a real browser: what a person types, sees and orders there.

mod browser;

use std::net::SocketAddr;
use std::process::Command;

use harness::process::{Process, binary};
use harness::{Draft, Reply, Wire};
use serde_json::{Value, json};

use self::browser::Browser;

#[tokio::test]
async fn a_customer_writes_and_sees_the_answer_come_as_far_as_it_is_read() {
    let simulator = Simulator::start("127.0.0.1:0");
    let mut page = simulator.open_page().await;
    page.until("phone().querySelector('.window').dataset.open === 'false'")
        .await;
    page.type_into(".composer input", MARKUP).await;
    page.until(&format!(
        "bubble('customer').querySelector('.text').textContent === {MARKUP:?}"
    ))
    .await;
    let planted = page.evaluate("document.querySelector('.bubble b, .bubble img')");
    assert_eq!(
        planted.await,
        Value::Null,
        "what is typed becomes no markup"
    );
    page.until("/^23:59:[0-5]\\d$/.test(left())").await;
    let first = page.evaluate("left()").await;
    page.until(&format!("left() < {first}")).await;
    // From here on time stands still and no delay is drawn, so that each step can be seen.
    simulator.tell("clock", &json!({"rate": 0})).await;
    let second = json!([1000, 1000]);
    let delays = json!({"sent_ms": second, "delivered_ms": second, "read_ms": second});
    simulator.tell("world", &json!({"settings": delays})).await;
    simulator.send("You are welcome.").await;
    page.until("progress('business') === 'accepted'").await;
    for want in ["sent", "delivered", "read"] {
        simulator.tell("clock", &json!({"advance_ms": 1000})).await;
        page.until(&format!("progress('business') === {want:?}"))
            .await;
    }
    page.click("#day").await;
    page.until("phone().querySelector('.window').dataset.open === 'false'")
        .await;
    page.close_without_complaint(&simulator.url()).await;
}

#[tokio::test]
async fn a_customer_who_comes_online_gets_what_waited() {
    let simulator = Simulator::start("127.0.0.1:0");
    let mut page = simulator.open_page().await;
    page.type_into(".composer input", "Hello").await;
    page.until("bubble('customer') !== null").await;
    page.click(".presence").await;
    page.until("phone().dataset.online === 'false'").await;
    simulator.tell("clock", &json!({"rate": 0})).await;
    simulator.send("Are you there?").await;
    simulator
        .tell("clock", &json!({"advance_ms": 60_000}))
        .await;
    page.until("progress('business') === 'sent'").await;
    page.click(".presence").await;
    page.until("phone().dataset.online === 'true'").await;
    simulator
        .tell("clock", &json!({"advance_ms": 60_000}))
        .await;
    page.until("progress('business') === 'read'").await;
    page.close_without_complaint(&simulator.url()).await;
}

#[tokio::test]
async fn each_business_number_has_its_own_conversation_and_window() {
    let simulator = Simulator::start("127.0.0.1:0");
    let mut page = simulator.open_page().await;
    page.until("document.getElementById('number').disabled")
        .await;
    let second = json!({
        "id": "2", "waba": "102290129340398", "display": "15550783882", "country_code": "1",
    });
    simulator.tell("world", &json!({"number": [second]})).await;
    page.until("!document.getElementById('number').disabled")
        .await;
    page.type_into(".composer input", "Hello").await;
    page.until("phone().querySelector('.window').dataset.open === 'true'")
        .await;
    for (number, open, bubbles) in [("2", "false", 0), ("106540352242922", "true", 1)] {
        page.evaluate(&format!("choose({number:?})")).await;
        page.until(&format!(
            "phone().querySelector('.window').dataset.open === {open:?} \
             && phone().querySelectorAll('.bubble').length === {bubbles}"
        ))
        .await;
    }
    page.close_without_complaint(&simulator.url()).await;
}

#[tokio::test]
async fn a_fault_that_is_ordered_on_the_page_fails_the_next_message() {
    let simulator = Simulator::start("127.0.0.1:0");
    let mut page = simulator.open_page().await;
    page.type_into(".composer input", "Hello").await;
    page.until("bubble('customer') !== null").await;
    page.evaluate("document.getElementById('times').value = '2'")
        .await;
    page.click("#order .primary").await;
    page.until("waiting() === 'Fail after it is accepted · code 131026 × 2'")
        .await;
    let wamid = simulator.send("Hi").await;
    page.until("progress('business') === 'failed'").await;
    let reason = page
        .evaluate("bubble('business').querySelector('.reason').textContent")
        .await;
    assert_eq!(reason, "Failed · 131026 Message undeliverable");
    let shown = page.evaluate("bubble('business').dataset.wamid").await;
    assert_eq!(shown, wamid, "it is the message of the ledger");
    page.until("waiting() === 'Fail after it is accepted · code 131026 × 1'")
        .await;
    page.click("#clear").await;
    page.until("waiting() === '' && !document.getElementById('all-well').hidden")
        .await;
    page.close_without_complaint(&simulator.url()).await;
}

#[tokio::test]
async fn anybody_can_be_a_customer() {
    let simulator = Simulator::start("127.0.0.1:0");
    let mut page = simulator.open_page().await;
    page.type_into("#another-number", "+49 151 12345678").await;
    page.until("document.querySelectorAll('.phone').length === 2")
        .await;
    page.type_into(".phone:nth-of-type(2) .composer input", "Moin")
        .await;
    let second = "document.querySelectorAll('.phone')[1]";
    page.until(&format!(
        "{second}.querySelector('.text').textContent === 'Moin'"
    ))
    .await;
    page.until(&format!(
        "{second}.querySelector('.window').dataset.open === 'true'"
    ))
    .await;
    let phones = page.evaluate("document.querySelectorAll('.phone').length");
    assert_eq!(phones.await, 2, "who has written is not shown twice");
    page.close_without_complaint(&simulator.url()).await;
}

#[tokio::test]
async fn a_page_finds_the_simulator_again_by_itself() {
    let simulator = Simulator::start("127.0.0.1:0");
    let mut page = simulator.open_page().await;
    page.type_into(".composer input", "Hello").await;
    page.until("bubble('customer') !== null").await;
    let address = simulator.address.to_string();
    drop(simulator);
    page.until("document.getElementById('connection').dataset.state === 'lost'")
        .await;
    let _again = Simulator::start(&address);
    page.until("document.getElementById('connection').dataset.state === 'live'")
        .await;
    page.until("bubble('customer') === null").await;
    // The browser's console tells of the time without a simulator, as it should.
    page.close().await;
}

/// A simulator as a process of its own.
struct Simulator {
    address: SocketAddr,
    _process: Process,
}

impl Simulator {
    fn start(listen: &str) -> Self {
        let mut command = Command::new(binary("examples/cloud_api_simulator"));
        let (process, line) = Process::announced(command.args(["--listen", listen]));
        let said: Value = serde_json::from_str(&line).expect("it says where it is");
        let url = said["control_url"].as_str().unwrap_or_default();
        let address = url.trim_start_matches("http://").parse();
        Self {
            address: address.expect("it is on the loopback"),
            _process: process,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens the page and waits until it is live.
    async fn open_page(&self) -> Browser {
        let mut page = Browser::open(&format!("{}/", self.url())).await;
        page.until("document.getElementById('connection').dataset.state === 'live'")
            .await;
        page.evaluate(HELPERS).await;
        page.until("phone() !== null").await;
        page
    }

    /// The business sends a text; returns its id at Meta.
    async fn send(&self, text: &str) -> Value {
        let message = json!({
            "messaging_product": "whatsapp", "to": "+16505551234", "type": "text",
            "text": {"body": text},
        });
        let draft = Draft::post("/v25.0/106540352242922/messages")
            .field("authorization", "Bearer demo-access-token")
            .json(&message.to_string());
        let reply = self.exchange(&draft).await;
        reply.json()["messages"][0]["id"].clone()
    }

    async fn tell(&self, what: &str, body: &Value) {
        let draft = Draft::post(&format!("/__sim/{what}")).json(&body.to_string());
        self.exchange(&draft).await;
    }

    async fn exchange(&self, draft: &Draft) -> Reply {
        let reply = Wire::connect(self.address).await.exchange(draft).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply
    }
}

/// What a customer types who means harm; quotes would need to be written twice.
const MARKUP: &str = "<b>Hello</b><img src=x onerror=alert(1)>";

/// The first phone, as a person reads it.
const HELPERS: &str = "
    globalThis.phone = () => document.querySelector('.phone');
    globalThis.left = () => phone().querySelector('.window-left').textContent;
    globalThis.bubble = (from) => phone().querySelector(`.bubble[data-from=${from}]`);
    globalThis.progress = (from) => bubble(from)?.querySelector('.status').textContent;
    globalThis.choose = (number) => {
        const choice = document.getElementById('number');
        choice.value = number;
        choice.dispatchEvent(new Event('change'));
    };
    globalThis.waiting = () => document.getElementById('waiting').innerText.replace(/\\s+/g, ' ').trim();
";
