//! What is wrong with the connection to Redis is said in the log and in the detailed health, with what to do about it, and
//! without the password.

use crate::support::broker::{Setup, TestBroker};
use crate::support::certificates::Certificates;
use crate::support::outage::{assert_becomes, assert_recovers, problems};
use crate::support::process::free_port;
use crate::support::redis::RedisServer;
use crate::support::wait::until;

/// The problem that a broker with this key store reports about it.
async fn problem_with(url: &str) -> String {
    let broker = TestBroker::with(Setup { key_store: Some(url.to_owned()), ..Setup::default() });
    let problem = until(async || {
        let problems = problems(&broker).await;
        let found = problems.iter().find(|(part, _)| part == "key store");
        found.map(|(_, problem)| problem.clone()).ok_or(problems)
    })
    .await;
    assert!(!problem.contains("hunter2"), "{problem}");
    problem
}

#[actix_web::test]
async fn a_wrong_password_name_port_or_certificate_of_redis_is_explained() {
    let tls_port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::write(folder.path(), &["localhost"]);
    let redis = RedisServer::start(&[
        "requirepass right",
        &format!("tls-port {tls_port}"),
        &format!("tls-cert-file {}", files.certificate.display()),
        &format!("tls-key-file {}", files.key.display()),
        &format!("tls-ca-cert-file {}", files.ca.display()),
        "tls-auth-clients no",
    ]);
    let port = redis.port();
    for (url, explained) in [
        (format!("redis://:hunter2@127.0.0.1:{port}"), "check user and password"),
        (format!("redis://127.0.0.1:{port}"), "check user and password"),
        ("redis://no-such-host.invalid".to_owned(), "check the host"),
        (format!("redis://127.0.0.1:{}", free_port()), "refused"),
        (format!("rediss://:right@localhost:{port}"), "speaks TLS"),
        (format!("rediss://:right@localhost:{tls_port}"), "ca_file"),
    ] {
        let problem = problem_with(&url).await;
        assert!(problem.contains(explained), "{url}: {problem}");
    }
}

/// `key_store.ca_file` names the authority of a private certificate.
#[actix_web::test]
async fn the_authority_of_redis_can_be_named_in_the_configuration() {
    let tls_port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::write(folder.path(), &["localhost"]);
    let mut redis = RedisServer::start(&[
        &format!("tls-port {tls_port}"),
        &format!("tls-cert-file {}", files.certificate.display()),
        &format!("tls-key-file {}", files.key.display()),
        &format!("tls-ca-cert-file {}", files.ca.display()),
        "tls-auth-clients no",
    ]);
    let setup = Setup { key_store: Some(format!("rediss://localhost:{tls_port}")), ..Setup::default() };
    let ca = files.ca.clone();
    let broker = TestBroker::with(setup.adjust(move |config| {
        config.key_store.url = config.key_store.url.clone().with_ca_file(&ca).unwrap();
    }));
    assert_recovers(&broker, "the start").await;
    redis.stop();
    assert_becomes(&broker, (false, false, true)).await;
}
