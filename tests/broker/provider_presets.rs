//! Presets of plain OAuth 2 providers: a sign-in through each of them, at a stub that answers as the provider documents
//! it and refuses what the provider would refuse. Only the addresses are changed: `https://host/path` becomes
//! `http://127.0.0.1:port/host/path`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use token_broker::config::{self, KeysFile, Mode};
use token_broker::domain::clock::{Clock, SystemClock};
use token_broker::domain::entropy::SystemEntropy;
use token_broker::provider::settings::{KindSettings, ProviderSettings};

use crate::support::broker::{Login, LoginUrl, Setup, TestBroker};
use crate::support::browser::Browser;
use crate::support::stub::{Asked, Reply, Stub, json_reply};

/// The names of client id, client secret, code and grant type in a token request.
type TokenNames = [&'static str; 4];

const STANDARD: TokenNames = ["client_id", "client_secret", "code", "grant_type"];

/// A provider as it is documented.
struct Documented {
    preset: &'static str,
    authorize: &'static str,
    /// Parameters of the authorization request, beside those of every provider.
    asked: &'static [(&'static str, &'static str)],
    /// The parameter of the callback with the code.
    code: &'static str,
    answer: fn(&Asked) -> Reply,
    /// Username, display name, email address and whether it is verified.
    user: Value,
}

fn standard(
    preset: &'static str,
    authorize: &'static str,
    answer: fn(&Asked) -> Reply,
    user: Value,
) -> Documented {
    Documented { preset, authorize, asked: &[("client_id", "the-client")], code: "code", answer, user }
}

/// Username, display name, email address and whether it is verified.
fn person(username: Option<&str>, name: Option<&str>, email: Option<&str>, verified: bool) -> Value {
    json!({ "username": username, "display_name": name, "email": email, "email_verified": verified })
}

fn documented() -> Vec<Documented> {
    let alice = person(Some("alice"), Some("Alice"), Some("alice@example.com"), true);
    let unverified = person(None, Some("Alice"), Some("alice@example.com"), false);
    let only_name = person(None, Some("爱丽丝"), None, false);
    vec![
        standard("github", "github.com/login/oauth/authorize", github, alice.clone()),
        standard("bitbucket", "bitbucket.org/site/oauth2/authorize", bitbucket, alice.clone()),
        standard("discord", "discord.com/oauth2/authorize", discord, alice),
        standard(
            "gitee",
            "gitee.com/oauth/authorize",
            gitee,
            person(Some("alice"), Some("Alice"), Some("alice@example.com"), false),
        ),
        standard(
            "linkedin",
            "www.linkedin.com/oauth/v2/authorization",
            linkedin,
            person(None, Some("Alice"), Some("alice@example.com"), true),
        ),
        standard("line", "access.line.me/oauth2/v2.1/authorize", line, only_name.clone()),
        standard("x", "x.com/i/oauth2/authorize", x, person(Some("alice"), Some("Alice"), None, false)),
        standard("facebook", "www.facebook.com/dialog/oauth", facebook, unverified.clone()),
        Documented {
            asked: &[("client_id", "the-client"), ("audience", "api.atlassian.com"), ("prompt", "consent")],
            ..standard("atlassian", "auth.atlassian.com/authorize", atlassian, unverified.clone())
        },
        Documented {
            asked: &[("appid", "the-client"), ("scope", "snsapi_login")],
            ..standard("wechat", "open.weixin.qq.com/connect/qrconnect", wechat, only_name.clone())
        },
        standard("weibo", "api.weibo.com/oauth2/authorize", weibo, only_name),
        standard("qq", "graph.qq.com/oauth2.0/authorize", qq, person(None, None, None, false)),
        Documented {
            asked: &[("client_id", "the-client"), ("prompt", "consent"), ("scope", "openid")],
            code: "authCode",
            ..standard("dingtalk", "login.dingtalk.com/oauth2/auth", dingtalk, unverified.clone())
        },
        standard("feishu", "accounts.feishu.cn/open-apis/authen/v1/authorize", feishu, unverified.clone()),
        standard("lark", "accounts.larksuite.com/open-apis/authen/v1/authorize", feishu, unverified),
    ]
}

/// Whether a token request has what the provider needs, under its names.
fn fits(request: &BTreeMap<String, String>, names: TokenNames) -> bool {
    let [id, secret, code, grant_type] = names.map(|name| request.get(name).map(String::as_str));
    (id, secret) == (Some("the-client"), Some("the-secret"))
        && (code, grant_type) == (Some("the-code"), Some("authorization_code"))
}

/// The token answer of the standard for a form with the credentials in the body.
fn form_token(asked: &Asked) -> Reply {
    let good = asked.method == "POST" && fits(&asked.form(), STANDARD);
    json_reply(&if good {
        json!({ "access_token": "at", "token_type": "bearer", "expires_in": 3600, "scope": "all" })
    } else {
        json!({ "error": "invalid_client" })
    })
}

/// As [`form_token`], with the credentials in the header.
fn basic_token(asked: &Asked) -> Reply {
    const CREDENTIALS: &str = "Basic dGhlLWNsaWVudDp0aGUtc2VjcmV0";
    let form = asked.form();
    let good = asked.header("authorization") == Some(CREDENTIALS) && !form.contains_key("client_secret");
    json_reply(&if good {
        json!({ "access_token": "at", "token_type": "Bearer", "expires_in": 3600 })
    } else {
        json!({ "error": "invalid_client" })
    })
}

/// A profile document for the bearer of the token.
fn bearer(asked: &Asked, document: &Value) -> Reply {
    if asked.header("authorization") == Some("Bearer at") { json_reply(document) } else { None }
}

fn github(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        // Without `Accept: application/json` the answer is a form.
        "/github.com/login/oauth/access_token" if asked.header("accept") == Some("application/json") => {
            form_token(asked)
        }
        "/api.github.com/user" => {
            bearer(asked, &json!({ "id": 583231, "login": "alice", "name": "Alice", "email": null }))
        }
        "/api.github.com/user/emails" => bearer(
            asked,
            &json!([
                { "email": "old@example.com", "primary": false, "verified": false },
                { "email": "alice@example.com", "primary": true, "verified": true },
            ]),
        ),
        _ => None,
    }
}

fn bitbucket(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/bitbucket.org/site/oauth2/access_token" => basic_token(asked),
        "/api.bitbucket.org/2.0/user" => bearer(
            asked,
            &json!({ "uuid": "{a54f16da-24e9-4d7f-a3a7-b1ba2cd98aa3}", "username": "alice", "display_name": "Alice" }),
        ),
        "/api.bitbucket.org/2.0/user/emails" => bearer(
            asked,
            &json!({ "values": [
                { "email": "alice@example.com", "is_primary": true, "is_confirmed": true },
                { "email": "old@example.com", "is_primary": false, "is_confirmed": false },
            ] }),
        ),
        _ => None,
    }
}

fn discord(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/discord.com/api/oauth2/token" => basic_token(asked),
        "/discord.com/api/users/@me" => bearer(
            asked,
            &json!({
                "id": "80351110224678912", "username": "alice", "global_name": "Alice",
                "email": "alice@example.com", "verified": true,
            }),
        ),
        _ => None,
    }
}

fn gitee(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/gitee.com/oauth/token" => form_token(asked),
        "/gitee.com/api/v5/user" => bearer(
            asked,
            &json!({ "id": 7, "login": "alice", "name": "Alice", "email": "alice@example.com" }),
        ),
        _ => None,
    }
}

fn linkedin(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/www.linkedin.com/oauth/v2/accessToken" => form_token(asked),
        "/api.linkedin.com/v2/userinfo" => bearer(
            asked,
            &json!({ "sub": "782bbtaQ", "name": "Alice", "email": "alice@example.com", "email_verified": true }),
        ),
        _ => None,
    }
}

fn line(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/api.line.me/oauth2/v2.1/token" => form_token(asked),
        "/api.line.me/v2/profile" => {
            bearer(asked, &json!({ "userId": "U4af4980629", "displayName": "爱丽丝" }))
        }
        _ => None,
    }
}

fn x(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/api.x.com/2/oauth2/token" if asked.form().contains_key("code_verifier") => basic_token(asked),
        "/api.x.com/2/users/me" => {
            bearer(asked, &json!({ "data": { "id": "2244994945", "name": "Alice", "username": "alice" } }))
        }
        _ => None,
    }
}

fn facebook(asked: &Asked) -> Reply {
    let (_, body) = match asked.path.as_str() {
        "/graph.facebook.com/oauth/access_token" => form_token(asked),
        "/graph.facebook.com/me" if asked.query["fields"] == "id,name,email" => {
            bearer(asked, &json!({ "id": "1234567890", "name": "Alice", "email": "alice@example.com" }))
        }
        _ => None,
    }?;
    Some(("text/javascript; charset=UTF-8", body))
}

fn atlassian(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/auth.atlassian.com/oauth/token" => form_token(asked),
        "/api.atlassian.com/me" => bearer(
            asked,
            &json!({ "account_id": "112233aa-bb11", "name": "Alice", "email": "alice@example.com" }),
        ),
        _ => None,
    }
}

fn wechat(asked: &Asked) -> Reply {
    let body = match asked.path.as_str() {
        "/api.weixin.qq.com/sns/oauth2/access_token" => {
            let names = ["appid", "secret", "code", "grant_type"];
            if asked.method == "GET" && fits(&asked.query, names) {
                json!({ "access_token": "at", "expires_in": 7200, "refresh_token": "rt", "openid": "oLVPpj", "scope": "snsapi_login" })
            } else {
                json!({ "errcode": 40029, "errmsg": "invalid code" })
            }
        }
        "/api.weixin.qq.com/sns/userinfo" => {
            let asked_for = (asked.query["access_token"].as_str(), asked.query["openid"].as_str());
            if asked_for == ("at", "oLVPpj") && asked.header("authorization").is_none() {
                json!({ "openid": "oLVPpj", "nickname": "爱丽丝", "unionid": "o6_bmasdasdsad6" })
            } else {
                json!({ "errcode": 40003, "errmsg": "invalid openid" })
            }
        }
        _ => return None,
    };
    Some(("text/plain", body.to_string()))
}

fn weibo(asked: &Asked) -> Reply {
    let body = match asked.path.as_str() {
        "/api.weibo.com/oauth2/access_token" if fits(&asked.form(), STANDARD) => {
            json!({ "access_token": "at", "remind_in": "157679999", "expires_in": 157679999, "uid": "5220263285" })
        }
        "/api.weibo.com/2/users/show.json" => {
            let asked_for = (asked.query["access_token"].as_str(), asked.query["uid"].as_str());
            assert_eq!(asked_for, ("at", "5220263285"));
            json!({ "id": 5220263285_u64, "idstr": "5220263285", "screen_name": "爱丽丝" })
        }
        _ => return None,
    };
    Some(("text/plain;charset=UTF-8", body.to_string()))
}

fn qq(asked: &Asked) -> Reply {
    let body = match asked.path.as_str() {
        // Without `fmt=json` both answers are texts of their own kinds.
        "/graph.qq.com/oauth2.0/token" if asked.query["fmt"] == "json" && fits(&asked.query, STANDARD) => {
            json!({ "access_token": "at", "expires_in": 7776000, "refresh_token": "rt" })
        }
        "/graph.qq.com/oauth2.0/me"
            if asked.query["fmt"] == "json" && asked.query["access_token"] == "at" =>
        {
            json!({ "client_id": "the-client", "openid": "8BC6D8D9B2EAC0F0" })
        }
        _ => return None,
    };
    Some(("text/html", body.to_string()))
}

fn dingtalk(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/api.dingtalk.com/v1.0/oauth2/userAccessToken" => {
            let good = fits(&asked.json(), ["clientId", "clientSecret", "code", "grantType"]);
            good.then(|| json_reply(&json!({ "accessToken": "at", "refreshToken": "rt", "expireIn": 7200 })))?
        }
        "/api.dingtalk.com/v1.0/contact/users/me" => {
            let good = asked.header("x-acs-dingtalk-access-token") == Some("at");
            let profile = json!({ "nick": "Alice", "unionId": "z21HjQliSzpw0Yxxxx", "openId": "123", "email": "alice@example.com" });
            good.then(|| json_reply(&profile))?
        }
        _ => None,
    }
}

fn feishu(asked: &Asked) -> Reply {
    match asked.path.as_str() {
        "/open.feishu.cn/open-apis/authen/v2/oauth/token"
        | "/open.larksuite.com/open-apis/authen/v2/oauth/token" => {
            json_reply(&if fits(&asked.json(), STANDARD) {
                json!({ "code": 0, "access_token": "at", "token_type": "Bearer", "expires_in": 7200 })
            } else {
                json!({ "code": 20003, "error": "invalid_grant", "error_description": "…" })
            })
        }
        "/open.feishu.cn/open-apis/authen/v1/user_info"
        | "/open.larksuite.com/open-apis/authen/v1/user_info" => {
            let data = json!({
                "name": "Alice", "en_name": "Alice", "open_id": "ou-caecc734c2e3328a62489fe0648c4b98779515d3",
                "union_id": "on-d89jhsdhjsajkda7828enjdj328ydhhw3u43yjhdj", "enterprise_email": "alice@example.com",
            });
            bearer(asked, &json!({ "code": 0, "msg": "success", "data": data }))
        }
        _ => None,
    }
}

/// The settings of a preset with three lines of configuration, as `serve` reads them.
fn preset(name: &str) -> ProviderSettings {
    let folder = tempfile::tempdir().unwrap();
    let keys = KeysFile::fresh(&SystemEntropy, SystemClock.now()).text();
    std::fs::write(folder.path().join("keys.toml"), keys.expose_secret()).unwrap();
    let text = format!(
        r#"
        public_url = "http://localhost:8080"
        database.url = "sqlite:broker.sqlite"
        key_store.url = "memory:"
        server_keys.file = "keys.toml"

        [[providers]]
        id = "{name}"
        kind = "{name}"
        client_id = "the-client"
        client_secret = "the-secret"

        [[clients]]
        id = "web"
        redirect_uris = ["http://localhost:5173/"]
        "#
    );
    let file = folder.path().join("token-broker.toml");
    std::fs::write(&file, text).unwrap();
    let mut providers = config::load(&file, [], Mode::Development).unwrap().config.providers;
    providers.pop().unwrap()
}

/// The settings with every address at the stub.
fn at_stub(mut settings: ProviderSettings, stub: SocketAddr) -> ProviderSettings {
    let KindSettings::OAuth2(oauth2) = &mut settings.kind else { panic!("{settings:?}") };
    let documents = oauth2.profile.iter_mut().map(|document| &mut document.url);
    for url in [&mut oauth2.authorize_url, &mut oauth2.token_url].into_iter().chain(documents) {
        let rest = url.as_str().strip_prefix("https://").unwrap();
        *url = format!("http://{stub}/{rest}").parse().unwrap();
    }
    settings
}

/// A broker that knows one preset, at its stub.
async fn broker(name: &str, stub: &Stub) -> TestBroker {
    let settings = at_stub(preset(name), stub.addr);
    let broker = TestBroker::with(Setup::default().adjust(move |config| {
        let mut settings = settings.clone();
        let path = format!("oauth2_callback/{}", settings.id);
        settings.redirect_uri = config.public_url.join(&path).unwrap();
        config.providers.push(settings);
    }));
    broker.ready().await;
    broker
}

/// A login up to the provider: where the browser was sent, as parameters by name.
struct AtProvider {
    browser: Browser,
    login: LoginUrl,
    address: String,
    fragment: Option<String>,
    asked: BTreeMap<String, String>,
}

impl AtProvider {
    async fn begin(broker: &TestBroker, provider: &str) -> Self {
        let (browser, login) = (broker.browser(), broker.login(&[("provider", provider)]));
        let location = browser.navigate(&login.url).await.location().unwrap();
        let asked: Vec<_> = location.query_pairs().into_owned().collect();
        let names = asked.len();
        let asked = BTreeMap::from_iter(asked);
        assert_eq!(asked.len(), names, "a parameter is repeated in {location}");
        Self {
            browser,
            login,
            address: location.path().trim_start_matches('/').to_owned(),
            fragment: location.fragment().map(str::to_owned),
            asked,
        }
    }

    /// The provider answers with these parameters beside `state`.
    async fn comes_back(self, answer: &str) -> (Browser, Login) {
        let Self { browser, login, asked, .. } = self;
        let callback = format!("{}?{answer}&state={}", asked["redirect_uri"], asked["state"]);
        let back = browser.navigate(&callback).await;
        (browser, Login { back, callback, verifier: login.verifier, state: login.state })
    }
}

#[actix_web::test]
async fn each_preset_signs_in_at_a_provider_that_keeps_to_its_documentation() {
    for Documented { preset, authorize, asked, code, answer, user } in documented() {
        let stub = Stub::start(answer);
        let broker = broker(preset, &stub).await;
        let at_provider = AtProvider::begin(&broker, preset).await;
        assert_eq!(at_provider.address, authorize);
        for (name, value) in asked {
            assert_eq!(at_provider.asked.get(*name).map(String::as_str), Some(*value), "{preset}: {name}");
        }
        let (browser, login) = at_provider.comes_back(&format!("{code}=the-code")).await;
        let answer = broker.redeem(&browser, &login.key(), &login.verifier).await;
        assert_eq!(answer.status, 200, "{preset}: {answer:?}");
        let me = broker.call("/api/me", answer.json()["access_token"].as_str().unwrap()).await.json();
        for (name, value) in user.as_object().unwrap() {
            assert_eq!(&me["user"][name], value, "{preset}: {name}");
        }
        let again = AtProvider::begin(&broker, preset).await.comes_back(&format!("{code}=the-code")).await.1;
        again.key();
        assert_eq!(broker.rows("identities"), 1, "{preset}: the same person again");
    }
}

#[actix_web::test]
async fn the_address_of_wechat_ends_with_its_fragment() {
    let stub = Stub::start(wechat);
    let at_provider = AtProvider::begin(&broker("wechat", &stub).await, "wechat").await;
    assert_eq!(at_provider.fragment.as_deref(), Some("wechat_redirect"));
    assert!(!at_provider.asked.contains_key("client_id"), "{:?}", at_provider.asked);
}

#[actix_web::test]
async fn a_callback_of_wechat_without_a_code_is_a_refusal() {
    let stub = Stub::start(wechat);
    let broker = broker("wechat", &stub).await;
    let (_, login) = AtProvider::begin(&broker, "wechat").await.comes_back("from=qr").await;
    assert_eq!(login.error(), "access_denied");
    // At a provider that keeps to the standard it is no answer at all.
    let dev = AtProvider::begin(&broker, "ops").await.comes_back("from=qr").await.1;
    dev.back.assert_own_page(400, "invalid_request");
}

#[actix_web::test]
async fn an_error_with_status_200_ends_the_login() {
    for (preset, answer) in
        [("wechat", wechat as fn(&Asked) -> Reply), ("feishu", feishu), ("github", github)]
    {
        let stub = Stub::start(answer);
        let broker = broker(preset, &stub).await;
        let (_, login) = AtProvider::begin(&broker, preset).await.comes_back("code=another-code").await;
        assert!(login.description().contains("(provider_error, "), "{preset}: {}", login.description());
        assert_eq!(broker.rows("users"), 0, "{preset}");
    }
}

#[actix_web::test]
async fn the_code_of_dingtalk_is_read_under_its_own_name_only() {
    let stub = Stub::start(dingtalk);
    let broker = broker("dingtalk", &stub).await;
    for bad in ["code=the-code", "authCode=the-code&authCode=the-code", "authCode=%FF", "authCode="] {
        let (_, login) = AtProvider::begin(&broker, "dingtalk").await.comes_back(bad).await;
        login.back.assert_own_page(400, "invalid_request");
    }
    assert!(stub.asked().is_empty(), "no code was exchanged");
}
