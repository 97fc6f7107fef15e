//! Everything that must not start, and how it is named.

use super::*;

/// The example with one thing changed, the key that must be named, and a word of the fix.
const BAD: &[(&str, &str, &str, &str)] = &[
    // Form.
    ("[docs]", "[docs", "line 121, column 6", "is not TOML"),
    ("listen = \"0.0.0.0:8080\"", "lisen = \"0.0.0.0:8080\"", "server.lisen", "`listen`"),
    ("[docs]", "[dosc]", "dosc", "`docs`"),
    ("id = \"web\"", "id = \"web\"\nname = \"x\"", "clients[0].name", "`display_name`"),
    ("kind = \"oidc\"", "kind = \"saml\"", "providers[0].kind", "oidc"),
    ("#workers = 4", "workers = \"many\"", "server.workers", "integer"),
    ("#legacy = false", "legacy = \"maybe\"", "clients[0].legacy", "boolean"),
    (
        "#legacy = false",
        "legacy = true\ninactivity_seconds = 43200",
        "clients[0].inactivity_seconds",
        "together with legacy",
    ),
    ("into = \"permissions\"", "in = \"permissions\"", "providers[1].profile[1].in", "`into`"),
    ("#dpop = \"optional\"", "dpop = \"sometimes\"", "clients[0].dpop", "required"),
    ("#legacy = false", "legacy = true\ndpop = \"required\"", "clients[0].dpop", "together with legacy"),
    ("#nonces = \"token_endpoints\"", "nonces = \"never\"", "dpop.nonces", "wrong_time"),
    (
        "#dpop_calls_per_minute = 3000",
        "dpop_calls_per_minute = 0",
        "limits.dpop_calls_per_minute",
        "1 to 1000000",
    ),
    // Nothing that is there for trying out may run in production.
    ("\"https://auth.example.com\"", "\"http://auth.example.com\"", "public_url", "https"),
    ("\"https://auth.example.com\"", "\"https://localhost\"", "public_url", "public host"),
    ("\"https://auth.example.com\"", "\"https://auth.example.com/broker\"", "public_url", "alone"),
    ("\"https://login.example.com\"", "\"http://127.0.0.1:9000\"", "providers[0].issuer", "production"),
    ("\"https://login.example.com\"", "\"https://[::1]/\"", "providers[0].issuer", "production"),
    (
        "\"https://app.example.com/signed-in\"",
        "\"http://localhost/\"",
        "clients[0].redirect_uris[0]",
        "https",
    ),
    ("#origins = [\"https://app.example.com\"]", "origins = [\"*\"]", "clients[0].origins[0]", "origin"),
    (
        "#origins = [\"https://app.example.com\"]",
        "origins = [\"http://localhost\"]",
        "clients[0].origins[0]",
        "https",
    ),
    ("#enabled = true", "enabled = false", "clients", "enabled"),
    (
        "trusted_proxies = [\"10.0.0.0/8\"]",
        "trusted_proxies = [\"::/0\"]",
        "server.trusted_proxies[0]",
        "all addresses",
    ),
    // Secrets come from files of their own or the environment, never from this file.
    (
        "client_secret_file = \"/run/secrets/corp\"",
        "client_secret = \"x\"",
        "providers[0].client_secret",
        "file",
    ),
    (
        "file = \"/run/secrets/server_keys.toml\"",
        "issuing = 1\nkeys = [{ id = 1, secret = \"jcB-BQeCqC-rbIOsZV5Hd8hA5y7MZw3nXfTt5kUGkQE\" }]",
        "server_keys.keys[0].secret",
        "server_keys.file",
    ),
    ("\"rediss://redis", "\"rediss://:password@redis", "key_store.url", "url_file"),
    // Personal tokens.
    ("#max_days = 366", "max_days = 367", "personal_tokens.max_days", "1 to 366"),
    (
        "#fresh_sign_in_minutes = 15",
        "fresh_sign_in_minutes = 0",
        "personal_tokens.fresh_sign_in_minutes",
        "1 to",
    ),
    ("#per_user = 20", "per_user = 201", "personal_tokens.per_user", "1 to 200"),
    // Addresses.
    ("0.0.0.0:8080", "8080", "server.listen", "port"),
    ("127.0.0.1:9090", "0.0.0.0:8080", "server.admin_listen", "differ"),
    (
        "#gateway_listen = \"10.0.0.2:8081\"",
        "gateway_listen = \"127.0.0.1:9090\"",
        "server.gateway_listen",
        "differ",
    ),
    ("\"10.0.0.0/8\"", "\"10.0.0.0/33\"", "server.trusted_proxies[0]", "network"),
    ("\"rediss://redis", "\"http://redis", "key_store.url", "memory:"),
    ("6380/0\"", "6380/none\"", "key_store.url", "number"),
    ("6380/0\"", "6380/0?ca_file=/absent.pem\"", "key_store.url", "ca_file cannot be read"),
    ("url_file = \"/run/secrets/database_url\"", "url = \"sqlite:a?mode=ro\"", "database.url", "parameters"),
    ("url_file = \"/run/secrets/database_url\"", "url = \"mysql://h/d\"", "database.url", "postgres://"),
    ("url_file = \"/run/secrets/database_url\"", "url = \"sqlite::memory:\"", "database.url", "file"),
    ("url_file = \"/run/secrets/database_url\"", "", "database.url", "url_file"),
    ("/run/secrets/corp", "/run/secrets/absent", "providers[0].client_secret_file", "absent"),
    (
        "#url_file = \"/run/secrets/key_store_url\"",
        "url_file = \"/run/secrets/key_store_url\"",
        "key_store.url",
        "remove one",
    ),
    // Numbers.
    ("#one_time_key_seconds = 120", "one_time_key_seconds = 121", "tokens.one_time_key_seconds", "10 to 120"),
    ("#one_time_key_seconds = 120", "one_time_key_seconds = 9", "tokens.one_time_key_seconds", "10 to 120"),
    ("#api_token_seconds = 604800", "api_token_seconds = 604801", "tokens.api_token_seconds", "604800"),
    ("#session_seconds = 2592000", "session_seconds = 59", "tokens.session_seconds", "60"),
    ("#login_per_minute = 120", "login_per_minute = 0", "limits.login_per_minute", "1 to"),
    ("#pool_size = 10", "pool_size = -1", "database.pool_size", "integer"),
    ("#pool_size = 10", "pool_size = 99999999999", "database.pool_size", "integer"),
    ("#capacity = 100000", "capacity = 1", "key_store.capacity", "100 to"),
    ("#key_prefix = \"token-broker:\"", "key_prefix = \"a b\"", "key_store.key_prefix", "A-Z"),
    (
        "#shutdown_timeout_seconds = 15",
        "shutdown_timeout_seconds = 21",
        "server.shutdown_timeout_seconds",
        "20",
    ),
    ("#drain_seconds = 5", "drain_seconds = 20", "server.drain_seconds", "25 together"),
    ("#keep_alive_seconds = 75", "keep_alive_seconds = 0", "server.keep_alive_seconds", "1 to"),
    ("#audit_days = 90", "audit_days = 0", "purge.audit_days", "1 to"),
    ("#format = \"json\"", "format = \"xml\"", "log.format", "`json`"),
    ("#filter = \"info\"", "filter = \"info,=x=y\"", "log.filter", "level"),
    // Policies and the headers of gateways.
    ("#[[policies]]", "[[policies]]", "policies[0].id", "name the policy"),
    ("#[[policies]]", "[[policies]]\nid = \"nginx\"", "policies[0].id", "/authz"),
    ("#[[policies]]", "[[policies]]\nid = \"a/b\"", "policies[0].id", "a-z"),
    ("#[[policies]]", "[[policies]]\nid = \"a\"\n[[policies]]\nid = \"a\"", "policies[1].id", "not unique"),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\naudience = \"a b\"",
        "policies[0].audience",
        "visible ASCII",
    ),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\nclients = [\"other\"]",
        "policies[0].clients[0]",
        "id of a client",
    ),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\nany = { groups = [\"\"] }",
        "policies[0].any.groups[0]",
        "empty",
    ),
    ("#[[policies]]", "[[policies]]\nid = \"a\"\nall = { roles = [] }", "policies[0].all.roles", "`groups`"),
    // Pages.
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\npages = [\"http://tools.example.com\"]",
        "policies[0].pages[0]",
        "origin",
    ),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\npages = [\"https://tools.example.com/\"]",
        "policies[0].pages[0]",
        "origin",
    ),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\npages = [\"http://localhost:8000\"]",
        "policies[0].pages[0]",
        "https",
    ),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\npages = [\"https://a.example\", \"https://a.example\"]",
        "policies[0].pages[1]",
        "twice",
    ),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"abcdefghijklmnopqrstuvwxyz0\"\npages = [\"https://a.example\"]",
        "policies[0].id",
        "26 characters",
    ),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\npages = [\"https://a.example\"]\npage_inactivity_seconds = 599",
        "policies[0].page_inactivity_seconds",
        "600 to",
    ),
    (
        "#[[policies]]",
        "[[policies]]\nid = \"a\"\ndisplay_name = \"A\"",
        "policies[0].display_name",
        "without pages",
    ),
    ("#headers = \"x-auth\"", "headers = \"x-user\"", "forward_auth.headers", "`remote-user`"),
    ("#user = \"X-Auth-User\"", "user = \"X_Auth_User\"", "forward_auth.header_names.user", "hyphens"),
    ("#user = \"X-Auth-User\"", "user = \"Authorization\"", "forward_auth.header_names.user", "another name"),
    (
        "#groups = \"X-Auth-Groups\"",
        "groups = \"x-auth-user\"",
        "forward_auth.header_names.groups",
        "another header",
    ),
    // Providers.
    ("id = \"corp\"", "id = \"Corp\"", "providers[0].id", "a-z"),
    ("id = \"ops\"", "id = \"corp\"", "providers[1].id", "not unique"),
    ("issuer = \"https://login.example.com\"", "", "providers[0].issuer", "missing"),
    (
        "issuer = \"https://login.example.com\"",
        "issuer = \"https://login.example.com?a\"",
        "providers[0].issuer",
        "query",
    ),
    (
        "#algorithms = [\"RS256\", \"ES256\"]",
        "algorithms = [\"HS256\"]",
        "providers[0].algorithms[0]",
        "RS256",
    ),
    (
        "#algorithms = [\"RS256\", \"ES256\"]",
        "algorithms = [\"RS256\", \"none\"]",
        "providers[0].algorithms[1]",
        "RS256",
    ),
    ("#scope = \"openid profile email\"", "scope = \"profile\"", "providers[0].scope", "openid"),
    ("#client_auth = \"basic\"", "client_auth = \"jwt\"", "providers[0].client_auth", "`basic`"),
    (
        "#callback_path = \"/oauth2_callback/{id}\"",
        "callback_path = \"/callback\"",
        "providers[0].callback_path",
        "{id}",
    ),
    (
        "#callback_path = \"/oauth2_callback/{id}\"",
        "callback_path = \"/oauth2_callback/ops\"",
        "providers[0].callback_path",
        "{id}",
    ),
    (
        "#allowed_email_domains = [\"example.com\"]",
        "allowed_email_domains = [\"@example.com\"]",
        "providers[0].allowed_email_domains[0]",
        "domain",
    ),
    ("#ca_file = \"/etc/ssl/corp.pem\"", "ca_file = \"/run/secrets/corp\"", "providers[0].ca_file", "PEM"),
    ("subject = \"$.name\", ", "", "providers[1].claims.subject", "unchanging"),
    ("\"$.permissions[*]\" }", "\"permissions\" }", "providers[1].claims.permissions", "RFC 9535"),
    ("token_url = \"https://ops.example.com/o/token/\"", "", "providers[1].token_url", "missing"),
    (
        "authorize_url = \"https://ops",
        "authorize_url = \"https://u:p@ops",
        "providers[1].authorize_url",
        "password",
    ),
    ("authorize_url =", "acr_values = [\"x\"]\nauthorize_url =", "providers[1].acr_values", "oidc"),
    (
        "issuer = \"https://login",
        "token_url = \"https://x.example\"\nissuer = \"https://login",
        "providers[0].token_url",
        "is a key of kind = \"oauth2\", not of \"oidc\"",
    ),
    ("kind = \"oauth2\"", "kind = \"oauth2\"\nsubject = 1", "providers[1].subject", "`authorize_url`"),
    ("kind = \"oauth2\"", "", "providers[1].kind", "write \"oidc\" or \"oauth2\""),
    ("{ subject = ", "{ sub = \"$.id\", subject = ", "providers[1].claims.sub", "`subject`"),
    ("#userinfo = true", "userinfo = \"perhaps\"", "providers[0].userinfo", "boolean"),
    ("#userinfo = true", "claims.subject = \"$.id\"", "providers[0].claims.subject", "always the claim sub"),
    ("#algorithms = [\"RS256\", \"ES256\"]", "algorithms = []", "providers[0].algorithms", "at least one"),
    ("/o/authorize/\"", "/o/authorize/?state=1\"", "providers[1].authorize_url", "sets itself"),
    (
        "{ url = \"https://ops.example.com/public-api/current_user/base_info\" },",
        "{},",
        "providers[1].profile[0].url",
        "missing",
    ),
    // Clients.
    ("id = \"web\"", "", "clients[0].id", "missing"),
    ("redirect_uris = [\"https://app.example.com/signed-in\"]", "", "clients[0].redirect_uris", "address"),
    ("app.example.com/signed-in", "app.example.com/?code=1", "clients[0].redirect_uris[0]", "code"),
    ("app.example.com/signed-in", "*.example.com/", "clients[0].redirect_uris[0]", "'*'"),
    ("#home_uri = \"https://", "home_uri = \"http://", "clients[0].home_uri", "https"),
    ("#home_uri = \"https://app.example.com/", "home_uri = \"/app", "clients[0].home_uri", "absolute"),
    (
        "\"https://app.example.com/signed-in\"]",
        "\"https://a.example/\", \"https://a.example/\"]",
        "clients[0].redirect_uris[1]",
        "twice",
    ),
    ("#key_delivery = \"query\"", "key_delivery = \"header\"", "clients[0].key_delivery", "`fragment`"),
    ("#scopes = [\"profile\", \"permissions\"]", "scopes = [\"a b\"]", "clients[0].scopes[0]", "spaces"),
    (
        "#login_parameters = [\"prompt\", \"login_hint\", \"max_age\"]",
        "login_parameters = [\"acr\"]",
        "clients[0].login_parameters[0]",
        "`max_age`",
    ),
];

#[test]
fn every_mistake_stops_the_start_and_is_named() {
    let folder = Folder::new();
    let mut wrong = Vec::new();
    for (from, to, key, fix) in BAD {
        assert!(EXAMPLE.contains(from), "the example has no {from}");
        match folder.load(&EXAMPLE.replacen(from, to, 1), &[], Mode::Production) {
            Ok(_) => wrong.push(format!("{to} is accepted")),
            Err(problems) if keys(&problems) == [*key] && problems.to_string().contains(fix) => {}
            Err(problems) => wrong.push(format!("{to} should name {key} and {fix}: {problems}")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = EXAMPLE
        .replace("https://auth.example.com\"", "auth\"")
        .replace("\n[server]", "\n[server]\ncolour = 1\nworkers = \"x\"")
        .replace("id = \"web\"", "id = \"web\"\nlegasy = true\nenabled = \"perhaps\"")
        .replace("#pool_size = 10", "pool_size = 0");
    let problems = load(&text, &[]).unwrap_err();
    let mut named = keys(&problems);
    named.sort_unstable();
    assert_eq!(
        named,
        [
            "clients[0].enabled",
            "clients[0].legasy",
            "database.pool_size",
            "public_url",
            "server.colour",
            "server.workers"
        ],
        "{problems}"
    );
}
