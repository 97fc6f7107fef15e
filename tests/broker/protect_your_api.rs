//! `docs/protect-your-api.md`: the examples whose runtime is installed protect an API as the page says.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::api::Api;
use crate::support::broker::TestBroker;
use crate::support::browser::{Answer, Browser};
use crate::support::dpop;

/// A server around the page's `requireToken`, which answers with what the broker said.
const NODE_SERVER: &str = "
import { createServer } from 'node:http';
import { requireToken } from './broker.mjs';
const answer = (request, response) => () => response.end(JSON.stringify(request.token));
const server = createServer((request, response) => requireToken(request, response, answer(request, response)));
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
";

/// Prints what the page's `introspect` says of each token: `null` for None, `\"unknown\"` for an OSError.
const PYTHON_MAIN: &str = "
import sys
for token in sys.argv[1:]:
    try:
        print(json.dumps(introspect(token)))
    except OSError:
        print(json.dumps('unknown'))
";

/// The block of this language in the page.
fn block(language: &str) -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/protect-your-api.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rest = page.split(&format!("```{language}\n")).nth(1).unwrap_or_else(|| panic!("no {language}"));
    rest.split("\n```").next().unwrap().to_owned()
}

fn with_credentials(program: &str, broker: &TestBroker, api: &Api) -> Command {
    let mut command = Command::new(program);
    command.env("BROKER_URL", &broker.url).env("BROKER_ID", &api.id).env("BROKER_SECRET", &api.secret);
    command
}

/// A running API, stopped at the end of the test.
struct NodeApi {
    process: Child,
    url: String,
}

impl NodeApi {
    fn start(folder: &Path, broker: &TestBroker, api: &Api) -> Self {
        std::fs::write(folder.join("broker.mjs"), block("js")).unwrap();
        std::fs::write(folder.join("server.mjs"), NODE_SERVER).unwrap();
        let mut process = with_credentials("node", broker, api)
            .arg("server.mjs")
            .current_dir(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        Self { process, url: format!("http://127.0.0.1:{}/", port.trim()) }
    }

    async fn call(&self, authorization: Option<&str>) -> Answer {
        let headers: Vec<_> = authorization.iter().map(|value| ("authorization", *value)).collect();
        Browser::new().get(&self.url, &headers).await
    }
}

impl Drop for NodeApi {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[actix_web::test]
async fn the_node_example_tells_yes_no_and_unknown_apart() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let bearer = format!("Bearer {token}");
    let folder = tempfile::tempdir().unwrap();
    let node = NodeApi::start(folder.path(), &broker, &api);

    let good = node.call(Some(&bearer)).await;
    let me = broker.call("/api/me", &token).await.json();
    assert_eq!((good.status.as_u16(), &good.json()["sub"]), (200, &me["user"]["id"]), "{good:?}");
    for (header, challenge) in [
        (None, "Bearer"),
        (Some("Basic YTpi"), "Bearer"),
        (Some("Bearer tbk_dead"), r#"Bearer error="invalid_token""#),
    ] {
        let refused = node.call(header).await;
        let seen = (refused.status.as_u16(), refused.header("www-authenticate"));
        assert_eq!(seen, (401, Some(challenge)), "{header:?}");
    }
    let stolen = dpop::sign_in(&broker, &dpop::AppKey::generate()).await;
    let without_proof = node.call(Some(&format!("Bearer {stolen}"))).await;
    assert_eq!(without_proof.status, 401, "a token that is bound to a key");
    let mistaken = NodeApi::start(folder.path(), &broker, &Api::unregistered("orders"));
    let unknown = mistaken.call(Some(&bearer)).await;
    assert_eq!((unknown.status.as_u16(), unknown.header("retry-after")), (503, Some("2")));

    assert!(broker.post("/api/logout", &token, &json!({})).await.status.is_success());
    assert_eq!(node.call(Some(&bearer)).await.status, 401, "at once");
    broker.stop();
    assert_eq!(node.call(Some(&bearer)).await.status, 503);
}

#[actix_web::test]
async fn the_python_example_tells_yes_no_and_unknown_apart() {
    let broker = TestBroker::start();
    let api = Api::register(&broker, "orders", &broker.url).await;
    let token = broker.sign_in(&broker.browser(), "dev", "alice").await;
    let program = block("python") + PYTHON_MAIN;
    let run = async |api: Api, tokens: &[&str]| -> Vec<Value> {
        let mut command = with_credentials("python3", &broker, &api);
        command.args(["-c", &program]).args(tokens);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let stolen = dpop::sign_in(&broker, &dpop::AppKey::generate()).await;
    let told = run(api.clone(), &[&token, "tbk_dead", &stolen]).await;
    let me = broker.call("/api/me", &token).await.json();
    assert_eq!((&told[0]["sub"], &told[1]), (&me["user"]["id"], &Value::Null));
    assert_eq!(told[2], Value::Null, "a token that is bound to a key");
    assert_eq!(run(Api::unregistered("orders"), &[&token]).await, ["unknown"]);
}
