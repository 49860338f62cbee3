//! A headless Chromium, driven through the DevTools protocol over a pipe.

use std::env;
use std::process::Stdio;

use harness::PATIENCE;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{Duration, sleep, timeout};

/// A browser with one page; it ends with the test.
#[derive(Debug)]
pub(super) struct Browser {
    process: Child,
    orders: ChildStdin,
    reports: BufReader<ChildStdout>,
    ordered: u64,
    session: Option<String>,
    /// What it told beside its answers.
    events: Vec<Value>,
    _profile: TempDir,
}

// === impl Browser ===

impl Browser {
    /// Starts it and opens a page.
    pub(super) async fn open(url: &str) -> Self {
        let mut browser = Self::start();
        let target = browser
            .order("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = browser.order("Target.attachToTarget", attach).await;
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Log", "Network", "Page", "Runtime"] {
            browser.order(&format!("{domain}.enable"), json!({})).await;
        }
        browser.order("Page.navigate", json!({"url": url})).await;
        browser
    }

    fn start() -> Self {
        let name = env::var("CHROMIUM").unwrap_or_else(|_| "chromium".to_owned());
        let profile = TempDir::new().expect("the system has a temporary folder");
        let data = format!("--user-data-dir={}", profile.path().display());
        // It reads orders on descriptor 3 and reports on 4: only a shell can hand them over.
        let mut process = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#])
            .arg(&name)
            .args(OPTIONS)
            .arg(data)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("there is a shell");
        let piped = "it was asked for";
        Self {
            orders: process.stdin.take().expect(piped),
            reports: BufReader::new(process.stdout.take().expect(piped)),
            process,
            ordered: 0,
            session: None,
            events: Vec::new(),
            _profile: profile,
        }
    }

    /// Evaluates an expression in the page.
    pub(super) async fn evaluate(&mut self, expression: &str) -> Value {
        let order = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.order("Runtime.evaluate", order).await;
        let thrown = &answer["exceptionDetails"];
        assert!(thrown.is_null(), "{expression}: {thrown}");
        answer["result"]["value"].clone()
    }

    /// Evaluates until it is true.
    pub(super) async fn until(&mut self, expression: &str) {
        // A page that is still loading may lack what is asked for.
        let guarded = format!("(() => {{ try {{ return {expression}; }} catch {{ }} }})()");
        let holding = async {
            while self.evaluate(&guarded).await != true {
                sleep(Duration::from_millis(20)).await;
            }
        };
        if timeout(PATIENCE, holding).await.is_err() {
            let seen = self.evaluate("document.body.innerText").await;
            panic!("it never came to hold: {expression}; the page says {seen}");
        }
    }

    /// Presses and lets go of the mouse in the middle of an element.
    pub(super) async fn click(&mut self, selector: &str) {
        let middle = format!(
            "(() => {{ const element = document.querySelector({selector:?}); \
             element.scrollIntoView({{block: 'center', behavior: 'instant'}}); \
             const box = element.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        );
        let middle = self.evaluate(&middle).await;
        for kind in ["mousePressed", "mouseReleased"] {
            let order = json!({
                "type": kind, "x": middle[0], "y": middle[1], "button": "left", "clickCount": 1,
            });
            self.order("Input.dispatchMouseEvent", order).await;
        }
    }

    /// Types into an element and presses Enter.
    pub(super) async fn type_into(&mut self, selector: &str, text: &str) {
        self.click(selector).await;
        self.order("Input.insertText", json!({"text": text})).await;
        for kind in ["keyDown", "keyUp"] {
            let order = json!({
                "type": kind, "key": "Enter", "code": "Enter", "text": "\r",
                "windowsVirtualKeyCode": 13,
            });
            self.order("Input.dispatchKeyEvent", order).await;
        }
    }

    /// Holds it to a quiet console and to requests to this origin, and ends it.
    pub(super) async fn close_without_complaint(mut self, origin: &str) {
        // What was told before this answer is in the list after it.
        self.evaluate("true").await;
        for event in &self.events {
            let (method, params) = (&event["method"], &event["params"]);
            let is_complaint = method == "Runtime.exceptionThrown"
                || method == "Runtime.consoleAPICalled"
                || method == "Log.entryAdded";
            assert!(!is_complaint, "{event}");
            if method == "Network.requestWillBeSent" {
                let url = params["request"]["url"].as_str().unwrap_or_default();
                let is_own = url.starts_with(&format!("{origin}/")) || url.starts_with("data:");
                assert!(is_own, "{url}");
            }
        }
        self.close().await;
    }

    /// Ends it.
    pub(super) async fn close(mut self) {
        self.session = None;
        self.order("Browser.close", json!({})).await;
        let ended = timeout(PATIENCE, self.process.wait()).await;
        assert!(ended.is_ok(), "the browser does not end");
    }

    async fn order(&mut self, method: &str, params: Value) -> Value {
        self.ordered += 1;
        let mut order = json!({"id": self.ordered, "method": method, "params": params});
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        let mut bytes = order.to_string().into_bytes();
        bytes.push(END);
        let written = self.orders.write_all(&bytes).await;
        assert!(written.is_ok(), "{method}: the browser has gone");
        let answer = timeout(PATIENCE, self.answer(method)).await;
        answer.unwrap_or_else(|_| panic!("{method}: no answer"))
    }

    async fn answer(&mut self, method: &str) -> Value {
        loop {
            let mut bytes = Vec::new();
            let read = self.reports.read_until(END, &mut bytes).await;
            assert!(
                read.is_ok_and(|length| length > 0),
                "{method}: the browser has gone, or there is none ({INSTALL})"
            );
            bytes.pop();
            let mut report: Value = serde_json::from_slice(&bytes).expect("it speaks JSON");
            if report["id"] == self.ordered {
                assert!(report["error"].is_null(), "{method}: {report}");
                return report["result"].take();
            }
            self.events.push(report);
        }
    }
}

/// What ends an order and a report.
const END: u8 = 0;

const INSTALL: &str = "sh examples/prerequisites chromium";

/// Alone with itself: no sandbox, which containers forbid, and nothing asked of the network.
const OPTIONS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
];
