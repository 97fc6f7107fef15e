//! The addresses that gateways are configured with, and the policy that such an address names.
//!
//! A gateway that appends the visitor's path to its address (Envoy) must not let the visitor name the policy. The
//! visitor's path always begins with `/`, so the policy of such an address is joined with a colon instead:
//! `/authz/envoy:orders` + `/any/path`. Every other gateway calls its address exactly as it is written; a path below one
//! of these addresses is therefore a mistake of the configuration, and is refused.

/// How a gateway asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// nginx, `auth_request`: understands 2xx, 401 and 403.
    Nginx,
    /// Traefik, `forwardAuth`.
    Traefik,
    /// Caddy, `forward_auth`: appends the visitor's query.
    Caddy,
    /// Envoy, `ext_authz` over HTTP: the visitor's method, and the visitor's path and query appended; only 200 is a yes.
    Envoy,
    /// Any other gateway that calls the address as it is written.
    Generic,
}

impl Dialect {
    /// Every dialect. [`Dialect::Generic`] comes last, because its addresses contain those of the others.
    pub const ALL: [Self; 5] = [Self::Nginx, Self::Traefik, Self::Caddy, Self::Envoy, Self::Generic];

    /// The address, to which the policy is added.
    pub fn base(self) -> &'static str {
        match self {
            Self::Nginx => "/authz/nginx",
            Self::Traefik => "/authz/traefik",
            Self::Caddy => "/authz/caddy",
            Self::Envoy => "/authz/envoy",
            Self::Generic => "/authz",
        }
    }

    /// The dialect of a path below [`Dialect::base`].
    pub fn of(path: &str) -> Self {
        let second = path.split('/').filter(|segment| !segment.is_empty()).nth(1).unwrap_or_default();
        let named = second.split(':').next().unwrap_or_default();
        let is_named = |dialect: &Self| dialect.base().strip_prefix("/authz/") == Some(named);
        Self::ALL.into_iter().find(is_named).unwrap_or(Self::Generic)
    }

    /// The address with a policy, as a template.
    pub fn with_policy(self) -> String {
        match self {
            Self::Envoy => format!("{}:{{policy}}", self.base()),
            _ => format!("{}/{{policy}}", self.base()),
        }
    }

    /// The patterns of the routes: the address and everything below.
    pub fn patterns(self) -> Vec<String> {
        let base = self.base();
        let mut patterns = vec![base.to_owned(), format!("{base}/{{below:.*}}")];
        if self == Self::Envoy {
            patterns.push(format!("{base}:{{below:.*}}"));
        }
        patterns
    }
}

/// An address that is not that of a policy; the text says what to change in the gateway's configuration.
pub type Mistake = &'static str;

const ENVOY_WITHOUT_POLICY: Mistake = "the address of Envoy must name a policy after a colon, as in path_prefix: \
     /authz/envoy:default, because Envoy appends the visitor's path to it";
const BELOW: Mistake = "the gateway calls an address with more than a policy after it, so it appends the visitor's path: \
     use /authz/envoy:default (or another policy after the colon) for a gateway that does";

/// The policy that a path names, as it was sent: nothing is decoded. Redundant slashes do not count.
///
/// # Errors
/// The gateway calls an address that it must not call.
pub fn policy_of(path: &str) -> Result<&str, Mistake> {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).skip(1);
    let (first, rest) = (segments.next(), segments.next());
    let below = segments.next().is_some();
    match first.map(|first| (first, first.split_once(':'))) {
        None => Ok(crate::domain::policy::DEFAULT_POLICY),
        Some((_, Some(("envoy", policy)))) => Ok(policy),
        Some(("envoy", _)) => Err(ENVOY_WITHOUT_POLICY),
        Some(("nginx" | "traefik" | "caddy", _)) if !below => {
            Ok(rest.unwrap_or(crate::domain::policy::DEFAULT_POLICY))
        }
        Some((policy, None)) if rest.is_none() => Ok(policy),
        Some(_) => Err(BELOW),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_what_the_operator_writes() {
        for (path, policy) in [
            ("/authz", "default"),
            ("/authz/", "default"),
            ("/authz/orders", "orders"),
            ("/authz/nginx", "default"),
            ("/authz/nginx/", "default"),
            ("/authz/nginx/orders", "orders"),
            ("/authz/nginx//orders/", "orders"),
            ("/authz/traefik/orders", "orders"),
            ("/authz/caddy/orders", "orders"),
            ("/authz/envoy:orders", "orders"),
            ("/authz/envoy:orders/", "orders"),
            ("/authz/envoy:orders/api/y", "orders"),
            ("/authz/envoy:orders/admin", "orders"),
            ("/authz/envoy:orders//admin/x", "orders"),
            ("/authz/envoy:orders/../envoy:admin/x", "orders"),
            ("/authz/envoy:orders/%2e%2e/envoy:admin", "orders"),
        ] {
            assert_eq!(policy_of(path), Ok(policy), "{path}");
        }
    }

    #[test]
    fn an_address_to_which_the_visitors_path_is_appended_names_a_policy_after_a_colon_or_is_refused() {
        for path in [
            "/authz/envoy",
            "/authz/envoy/",
            "/authz/envoy/admin",
            "/authz/envoy/admin/api/y",
            "/authz/envoy/default",
        ] {
            assert_eq!(policy_of(path), Err(ENVOY_WITHOUT_POLICY), "{path}");
        }
        for path in [
            "/authz/nginx/orders/api/y",
            "/authz/traefik/api/y/z",
            "/authz/caddy/orders/admin",
            "/authz/orders/api",
            "/authz/api/y/z",
            "/authz/a:b",
        ] {
            assert_eq!(policy_of(path), Err(BELOW), "{path}");
        }
    }

    #[test]
    fn the_dialect_is_the_one_of_the_address() {
        for (path, dialect) in [
            ("/authz", Dialect::Generic),
            ("/authz/orders", Dialect::Generic),
            ("/authz/nginx", Dialect::Nginx),
            ("/authz//nginx/orders", Dialect::Nginx),
            ("/authz/nginx2/orders", Dialect::Generic),
            ("/authz/traefik/orders", Dialect::Traefik),
            ("/authz/caddy/orders", Dialect::Caddy),
            ("/authz/envoy:orders/authz/nginx", Dialect::Envoy),
        ] {
            assert_eq!(Dialect::of(path), dialect, "{path}");
        }
    }

    #[test]
    fn nothing_is_decoded() {
        for (path, policy) in [
            ("/authz/%6eginx", "%6eginx"),
            ("/authz/nginx/%61dmin", "%61dmin"),
            ("/authz/envoy%3aadmin", "envoy%3aadmin"),
        ] {
            assert_eq!(policy_of(path), Ok(policy), "no id of a policy contains a percent sign");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_path_of_a_visitor_changes_the_policy_of_envoys_address(path in "/[!-~]{0,40}") {
            let (named, unnamed) = (format!("/authz/envoy:orders{path}"), format!("/authz/envoy{path}"));
            proptest::prop_assert_eq!(policy_of(&named), Ok("orders"));
            proptest::prop_assert!(policy_of(&unnamed).is_err());
        }
    }
}
