//! What can be wrong with a gateway: one table of names, causes and fixes.

use std::fmt;

macro_rules! holes {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $cause:literal, $fix:literal;)*) => {
        /// Something that is wrong with a gateway.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Hole {
            $($(#[$doc])* $name,)*
        }

        impl Hole {
            /// Every hole.
            #[cfg(test)]
            pub(super) const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name.
            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What is wrong.
            fn cause(self) -> &'static str {
                match self { $(Self::$name => $cause,)* }
            }

            /// What to do.
            fn fix(self) -> &'static str {
                match self { $(Self::$name => $fix,)* }
            }
        }
    };
}

holes! {
    /// A valid token is refused, so that little else can be checked.
    ValidTokenRefused = "valid_token_refused", "The gateway refuses the token, so what arrives at the API could not be checked.",
        "Use a token whose audience is that of the policy and whose user meets it; if it is one, look for unknown_policy in the broker's log, and check the address that the gateway calls.";
    /// The service behind the gateway does not say what has arrived.
    NotAnEcho = "not_an_echo", "The answer does not say what has arrived at the API, so headers and open paths could not be checked.",
        "Run token-broker doctor --echo on the address of the API while you check, or ask for a path that answers {\"headers\": …}.";
    /// No credential is needed.
    OpenWithoutCredential = "open_without_credential", "A request without a token is answered as if it had one.",
        "Let the gateway ask /authz before it passes a request on to this path, and pass on only after a 200.";
    /// Some paths or methods need no credential.
    OpenPath = "open_path", "Requests with another path or method reach the API without a token.",
        "Protect all paths and methods of the API, not a list of them; answer OPTIONS in the gateway itself if browsers need it.";
    /// Any token is accepted.
    MadeUpTokenAccepted = "made_up_token_accepted", "A token that the broker never issued is accepted.",
        "Pass the Authorization header on to /authz, and let only the status 200 of the broker count.";
    /// A token in the URL is accepted.
    TokenInQueryAccepted = "token_in_query_accepted", "A token in the URL is accepted. URLs are logged and sent to other sites.",
        "Do not turn the query into an Authorization header in the gateway.";
    /// Headers of the visitor decide which path is protected.
    ForwardedHeadersTrusted = "forwarded_headers_trusted", "A header with another path, method or address opens the API without a token.",
        "Remove X-Forwarded-*, X-Original-*, X-Rewrite-* and X-HTTP-Method-Override of visitors, and decide by none of them.";
    /// Identity headers that a visitor made up reach the API.
    SpoofedIdentityHeaders = "spoofed_identity_headers", "Identity headers that the visitor made up reach the API, which may take the visitor for someone else.",
        "Remove them in every spelling (X-Auth-…, X_Auth_…, X.Auth.…) before the gateway sets those of the broker: see the examples in deploy/.";
    /// The API does not get to know who the visitor is.
    MissingIdentityHeaders = "missing_identity_headers", "Identity headers of the broker do not reach the API.",
        "Copy them from the answer of /authz to the request; --headers must name the same set as [forward_auth] headers.";
    /// The API can be reached beside the gateway.
    DirectAccess = "direct_access", "The API answers without the gateway: anyone who reaches it can write the identity headers.",
        "Let the API listen on an address that only the gateway reaches, such as 127.0.0.1, or close it with a firewall.";
    /// Scripts of any site can read the answers.
    CorsForAnyOrigin = "cors_for_any_origin", "The answer lets a page of any origin read it (Access-Control-Allow-Origin).",
        "Name the origins of your apps in the gateway or the API; never repeat the Origin header of the request.";
    /// The clock is wrong.
    ClockSkew = "clock_skew", "The Date of the answers differs from this machine's clock by more than a minute.",
        "Synchronise the clocks (NTP). If the broker's clock is wrong too, tokens expire too early or too late.";
    /// Programs are redirected.
    RedirectForApiCalls = "redirect_for_api_calls", "A call of a script without a token is redirected, and the script cannot see that it has to sign in.",
        "Answer 401 for everything that is no navigation; of the gateway's own sign-in, redirect only Sec-Fetch-Mode: navigate.";
    /// A refusal does not say what is needed.
    NoChallenge = "no_challenge", "A request without a token is not answered with 401 and WWW-Authenticate.",
        "Pass the broker's 401 and its WWW-Authenticate header on.";
    /// An outage opens the API.
    AllowsWhileUnknown = "allows_while_unknown", "While the broker cannot answer, requests reach the API.",
        "Let only the status 200 of the broker count. Turn settings such as Envoy's failure_mode_allow off.";
    /// An outage is reported as a refusal.
    OutageCalledInvalid = "outage_called_invalid", "While the broker cannot answer, a valid token is refused as invalid: apps sign their users out.",
        "Answer 503 with Retry-After unless the broker's status is 200, 401 or 403.";
    /// The API gets the cookies of the broker.
    BrokerCookiesPassedOn = "broker_cookies_passed_on", "The page gets the broker's cookies, and can use the site in the name of its visitors.",
        "Replace the Cookie header of the request with that of the broker's answer: see the examples for pages in deploy/.";
    /// People are not sent to sign in.
    NoSignIn = "no_sign_in", "A navigation without a cookie is not redirected to the broker's /login with a way back to this site.",
        "Name this origin in the pages of the policy and the gateway in server.trusted_proxies, and pass redirects of /authz on.";
    /// People cannot come back.
    CallbackNotRouted = "callback_not_routed", "The path /_token-broker/callback does not lead to the broker, so no sign-in can be completed.",
        "Pass /_token-broker/ on to the broker, with X-Forwarded-Proto and X-Forwarded-Host, and without asking /authz.";
}

/// A hole, and how it was seen.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) hole: Hole,
    /// What was sent or answered. It contains no credential.
    pub(super) seen: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hole, seen } = self;
        writeln!(out, "{}: {}", hole.name(), hole.cause())?;
        writeln!(out, "  seen: {seen}")?;
        write!(out, "  fix:  {}", hole.fix())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_hole_has_a_name_of_its_own_and_is_documented() {
        let docs = include_str!("../../../docs/forward-auth.md");
        let names: BTreeSet<_> = Hole::ALL.iter().map(|hole| hole.name()).collect();
        assert_eq!(names.len(), Hole::ALL.len());
        for name in names {
            assert!(docs.contains(&format!("`{name}`")), "docs/forward-auth.md does not explain {name}");
        }
    }
}
