//! What the callback sends to the SPA: key and state, or an error in the broker's own words, and nothing else.

use std::collections::HashSet;

use token_broker::domain::client::{KeyDelivery, KeyParameter};

use super::{Begun, exchanges, started, with};
use crate::support::broker::{Setup, TestBroker};

#[actix_web::test]
async fn provider_errors_are_reported_in_the_brokers_own_words() {
    let broker = started().await;
    for (error, told, code) in [
        ("access_denied", "access_denied", "access_denied"),
        ("login_required", "login_required", "login_required"),
        ("interaction_required", "interaction_required", "interaction_required"),
        ("consent_required", "consent_required", "consent_required"),
        ("account_selection_required", "account_selection_required", "account_selection_required"),
        (
            "unmet_authentication_requirements",
            "unmet_authentication_requirements",
            "insufficient_user_authentication",
        ),
        ("temporarily_unavailable", "temporarily_unavailable", "temporarily_unavailable"),
        ("server_error", "temporarily_unavailable", "temporarily_unavailable"),
        ("invalid_scope", "server_error", "server_error"),
        ("unauthorized_client", "server_error", "server_error"),
        ("Access_Denied", "temporarily_unavailable", "provider_error"),
        ("<script>alert(1)</script>\r\nSet-Cookie: a=b", "temporarily_unavailable", "provider_error"),
    ] {
        for provider in ["dev", "ops"] {
            let begun = Begun::at(&broker, provider, "&user=alice").await;
            let address = with(&begun.with("code", None), "error", Some(error));
            let hostile = "&error_description=%3Cscript%3E&error_uri=javascript%3Aalert(1)";
            let back = begun.browser.navigate(&format!("{address}{hostile}")).await;
            assert_eq!(back.status, 303, "{error}: {back:?}");
            let location = back.location().unwrap();
            assert!(location.as_str().starts_with(&broker.at("/?error=")), "{location}");
            let names: Vec<_> = location.query_pairs().map(|(name, _)| name.into_owned()).collect();
            assert_eq!(names, ["error", "error_description", "state"]);
            assert_eq!(back.parameter("error").as_deref(), Some(told));
            assert!(back.parameter("error_description").unwrap().contains(&format!("({code}, request ")));
            assert_eq!(back.parameter("state").as_ref(), Some(&begun.login.state));
            assert!(!format!("{:?}", back.headers).contains("alert"), "{back:?}");
            begun.call().await.assert_own_page(400, "invalid_state");
        }
    }
    assert_eq!((exchanges(&broker), broker.rows("users")), (0, 0));
}

#[actix_web::test]
async fn a_user_who_cancels_returns_to_the_spa() {
    let broker = started().await;
    for (choice, error) in [
        ("&deny=1", "access_denied"),
        ("&user=alice&fault=callback_error_server_error", "temporarily_unavailable"),
        ("&user=alice&fault=callback_error_temporarily_unavailable", "temporarily_unavailable"),
        ("&user=alice&fault=callback_error_unknown", "temporarily_unavailable"),
    ] {
        for provider in ["dev", "ops"] {
            let login = broker.login(&[("provider", provider)]);
            let login = broker.complete(&broker.browser(), login, choice).await;
            assert_eq!(login.error(), error, "{choice}");
            assert_eq!(login.back.parameter("state").as_ref(), Some(&login.state));
            let shown = format!("{:?}{}", login.back.headers, login.description());
            for hostile in ["alert", "hostile", "made_up", "{{", "\\u{1b}"] {
                assert!(!shown.contains(hostile), "{choice}: {shown}");
            }
        }
    }
}

#[actix_web::test]
async fn the_redirect_contains_only_key_and_state() {
    let broker = started().await;
    let mut keys = HashSet::new();
    for provider in ["dev", "ops"] {
        let begun = Begun::at(&broker, provider, "&user=alice&fault=callback_unknown_parameter").await;
        let (cookie, code) = (begun.cookie(), begun.parameter("code"));
        let back = begun.call().await;
        assert_eq!(back.status, 303);
        assert_eq!(back.header("cache-control"), Some("no-store"));
        assert_eq!(back.header("referrer-policy"), Some("no-referrer"));
        let gone = format!("{}=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0", cookie.0);
        let set: Vec<_> =
            back.headers.get_all("set-cookie").iter().map(|set| set.to_str().unwrap()).collect();
        assert!(set.len() == 2 && set[0].starts_with("tb_session=") && set[1] == gone, "{set:?}");
        assert_eq!(back.body, "");

        let location = back.header("location").unwrap().to_owned();
        let names: Vec<_> =
            back.location().unwrap().query_pairs().map(|(name, _)| name.into_owned()).collect();
        assert_eq!(names, ["one_time_key", "state"]);
        assert_eq!(back.parameter("state").as_ref(), Some(&begun.login.state));
        assert!(location.starts_with(&broker.at("/?")) && location.ends_with('#'), "{location}");
        assert!(!location.contains(&code) && !location.contains("tbk_") && !location.contains("eyJ"));
        assert!(keys.insert(back.parameter("one_time_key").unwrap()));
    }
}

#[actix_web::test]
async fn the_client_configures_delivery_and_parameter_name() {
    for (delivery, parameter, name) in [
        (KeyDelivery::Query, KeyParameter::OneTimeKey, "one_time_key"),
        (KeyDelivery::Query, KeyParameter::Code, "code"),
        (KeyDelivery::Fragment, KeyParameter::OneTimeKey, "one_time_key"),
        (KeyDelivery::Fragment, KeyParameter::Code, "code"),
    ] {
        let broker = TestBroker::with(Setup::default().adjust(move |config| {
            let client = &mut config.clients[0];
            (client.key_delivery, client.key_parameter) = (delivery, parameter);
            client.redirect_uris.push("https://app.example.com/a?tab=1".parse().unwrap());
        }));
        broker.ready().await;
        for uri in [broker.at("/"), "https://app.example.com/a?tab=1".to_owned()] {
            for (choice, first) in [("&user=alice", name), ("&deny=1", "error")] {
                let login = broker.login(&[("redirect_uri", &uri)]);
                let login = broker.complete(&broker.browser(), login, choice).await;
                let location = login.back.header("location").unwrap();
                let joint = if uri.contains('?') { '&' } else { '?' };
                let (begin, end) = match delivery {
                    KeyDelivery::Query => {
                        (format!("{uri}{joint}{first}="), format!("&state={}#", login.state))
                    }
                    KeyDelivery::Fragment => (format!("{uri}#{first}="), format!("&state={}", login.state)),
                };
                assert!(location.starts_with(&begin) && location.ends_with(&end), "{location}");
                let Some(key) = login.back.parameter(name) else { continue };
                assert_eq!(broker.redeem(&broker.browser(), &key, &login.verifier).await.status, 200);
            }
        }
    }
}
