//! Everything that can be made to go wrong: one table of faults for a single login, one of switches for the
//! whole server.
//!
//! A fault is asked for with `fault=<name>` at the authorization endpoint and travels with the code and the
//! access token of that login, so that parallel logins do not disturb each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What part of a login a fault changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultGroup {
    /// The redirect back to the broker.
    Callback,
    /// The `iss` of that redirect (RFC 9207); OpenID provider only.
    CallbackIssuer,
    /// The token endpoint's answer.
    TokenAnswer,
    /// The ID token; OpenID provider only.
    IdToken,
    /// What the profile documents say about the person.
    Person,
    /// What only the UserInfo document can get wrong; OpenID provider only.
    UserInfo,
    /// How the profile documents (UserInfo, or both plain ones) are answered.
    ProfileAnswer,
}

impl FaultGroup {
    /// Every group, in the order of a login.
    pub const ALL: [Self; 7] = [
        Self::Callback,
        Self::CallbackIssuer,
        Self::TokenAnswer,
        Self::IdToken,
        Self::Person,
        Self::UserInfo,
        Self::ProfileAnswer,
    ];

    /// The heading on the page.
    pub fn label(self) -> &'static str {
        match self {
            Self::Callback => "The way back",
            Self::CallbackIssuer => "The issuer on the way back",
            Self::TokenAnswer => "The token endpoint",
            Self::IdToken => "The ID token",
            Self::Person => "What is said about the person",
            Self::UserInfo => "The UserInfo document",
            Self::ProfileAnswer => "How profiles are answered",
        }
    }
}

macro_rules! faults {
    ($($group:ident { $($name:ident = $text:literal, $label:literal;)* })*) => {
        /// What goes wrong in one login.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Fault {
            $($(#[doc = concat!($label, ".")] $name,)*)*
        }

        impl Fault {
            /// Every fault.
            pub const ALL: &'static [Self] = &[$($(Self::$name,)*)*];

            /// The stable name, as it is written in `fault=`.
            pub fn name(self) -> &'static str {
                match self { $($(Self::$name => $text,)*)* }
            }

            /// A few words for people.
            pub fn label(self) -> &'static str {
                match self { $($(Self::$name => $label,)*)* }
            }

            /// What it changes.
            pub fn group(self) -> FaultGroup {
                match self { $($(Self::$name)|* => FaultGroup::$group,)* }
            }
        }
    };
}

faults! {
    Callback {
        CallbackErrorServerError = "callback_error_server_error", "The provider says server_error";
        CallbackErrorTemporarilyUnavailable = "callback_error_temporarily_unavailable", "The provider says temporarily_unavailable";
        CallbackErrorUnknown = "callback_error_unknown", "An unknown error with hostile text";
        CallbackErrorAndCode = "callback_error_and_code", "Both a code and an error";
        CallbackNeither = "callback_neither", "Neither a code nor an error";
        CallbackDuplicateState = "callback_duplicate_state", "The state twice";
        CallbackDuplicateCode = "callback_duplicate_code", "Two codes";
        CallbackWrongState = "callback_wrong_state", "A state that no login has";
        CallbackMissingState = "callback_missing_state", "No state";
        CallbackLongCode = "callback_long_code", "A code of 2049 characters";
        CallbackControlCode = "callback_control_code", "A code with line breaks in it";
        CallbackWrongIss = "callback_wrong_iss", "The issuer of another provider";
        CallbackUnknownParameter = "callback_unknown_parameter", "Unknown parameters (allowed)";
    }
    CallbackIssuer {
        CallbackMissingIss = "callback_missing_iss", "No issuer, although announced";
        CallbackDuplicateIss = "callback_duplicate_iss", "The issuer twice";
    }
    TokenAnswer {
        TokenHtml = "token_html", "A web page";
        TokenTextPlain = "token_text_plain", "JSON that calls itself text/plain";
        TokenArray = "token_array", "A JSON list";
        TokenNotJson = "token_not_json", "Half a JSON document";
        TokenDeep = "token_deep", "JSON nested 10 000 levels";
        TokenDuplicateMember = "token_duplicate_member", "The access token twice";
        TokenNoAccessToken = "token_no_access_token", "No access token";
        TokenEmptyAccessToken = "token_empty_access_token", "An empty access token";
        TokenWrongType = "token_wrong_type", "Token type mac";
        TokenMissingType = "token_missing_type", "No token type";
        TokenLowercaseType = "token_lowercase_type", "Token type in small letters (allowed)";
        Token201 = "token_201", "Status 201";
        Token500 = "token_500", "Status 500";
        Token503 = "token_503", "Status 503";
        TokenErrorInvalidGrant = "token_error_invalid_grant", "invalid_grant";
        TokenErrorInvalidClient = "token_error_invalid_client", "invalid_client";
        TokenRedirect = "token_redirect", "A redirect (307) to another address";
        TokenHuge = "token_huge", "A megabyte";
        TokenSlow = "token_slow", "Nothing for 30 seconds";
        TokenDrip = "token_drip", "One byte a second";
        TokenCut = "token_cut", "The connection breaks in the middle";
    }
    IdToken {
        MissingIdToken = "missing_id_token", "No ID token";
        IdTokenNumber = "id_token_number", "A number in its place";
        IdTokenGarbage = "id_token_garbage", "No JWT at all";
        IdTokenFiveParts = "id_token_five_parts", "Five parts, as if encrypted";
        IdTokenCut = "id_token_cut", "The signature is cut off";
        BadSignature = "bad_signature", "One bit of the signature is wrong";
        AlgNone = "alg_none", "Algorithm none";
        AlgHs256 = "alg_hs256", "HS256 with the client secret";
        AlgHs256PublicKey = "alg_hs256_public_key", "HS256 with the public key";
        AlgPs256 = "alg_ps256", "PS256 with the RS256 key";
        AlgOfOtherKey = "alg_of_other_key", "The header names another algorithm than the key's";
        UnknownKid = "unknown_kid", "An unknown key id";
        MissingKid = "missing_kid", "No key id although there are several keys";
        WrongKey = "wrong_key", "Signed with another key";
        EmbeddedJwk = "embedded_jwk", "Signed with another key, which it brings along";
        ForeignJku = "foreign_jku", "Signed with another key, which it says where to fetch";
        ForeignCrit = "foreign_crit", "An unknown critical header";
        WrongIss = "wrong_iss", "Another issuer";
        MissingIss = "missing_iss", "No issuer";
        WrongAud = "wrong_aud", "Another audience";
        MissingAud = "missing_aud", "No audience";
        ExtraAud = "extra_aud", "A second audience";
        AudList = "aud_list", "The audience as a list of one (allowed)";
        ForeignAzp = "foreign_azp", "Another authorized party";
        WrongNonce = "wrong_nonce", "Another nonce";
        MissingNonce = "missing_nonce", "No nonce";
        Expired = "expired", "Expired two minutes ago";
        MissingExp = "missing_exp", "No expiry";
        ExpAsString = "exp_as_string", "The expiry as text";
        ExpHuge = "exp_huge", "An expiry of 1e300";
        FutureIat = "future_iat", "Issued five minutes in the future";
        OldIat = "old_iat", "Issued twenty minutes ago";
        MissingIat = "missing_iat", "No time of issue";
        IatAsString = "iat_as_string", "The time of issue as text";
        FutureNbf = "future_nbf", "Valid in five minutes only";
        NbfAsString = "nbf_as_string", "The begin of validity as text";
        WrongAtHash = "wrong_at_hash", "The hash of another access token";
        MissingAtHash = "missing_at_hash", "No hash of the access token (allowed)";
        OldAuthTime = "old_auth_time", "Signed in ten hours ago";
        MissingAuthTime = "missing_auth_time", "Does not say when the person signed in";
        WrongAcr = "wrong_acr", "Another strength of sign-in";
        MissingAcr = "missing_acr", "Does not say how strong the sign-in was";
        DuplicateClaim = "duplicate_claim", "Two subjects";
    }
    Person {
        SubjectMissing = "subject_missing", "No subject";
        SubjectNull = "subject_null", "The subject is null";
        SubjectEmpty = "subject_empty", "The subject is empty";
        SubjectObject = "subject_object", "The subject is an object";
        SubjectLong = "subject_long", "The subject has 256 bytes";
        SubjectNul = "subject_nul", "A NUL in the subject";
        EmailUnverified = "email_unverified", "The email address is not verified";
        EmailVerifiedString = "email_verified_string", "email_verified is the text \"true\"";
        EmailVerifiedMissing = "email_verified_missing", "email_verified is missing";
        EmailTwoAts = "email_two_ats", "An email address with two @";
        EmailForeignDomain = "email_foreign_domain", "An email address elsewhere";
        HostileProfile = "hostile_profile", "Scripts, control characters, 10 000 letters";
    }
    UserInfo {
        UserinfoOtherSub = "userinfo_other_sub", "The profile of another user";
        UserinfoMissingSub = "userinfo_missing_sub", "A profile without subject";
    }
    ProfileAnswer {
        ProfileHtml = "profile_html", "A web page";
        ProfileTextPlain = "profile_text_plain", "JSON that calls itself text/plain";
        ProfileArray = "profile_array", "A JSON list";
        ProfileNotJson = "profile_not_json", "Half a JSON document";
        ProfileDuplicateMember = "profile_duplicate_member", "A member twice";
        Profile401 = "profile_401", "Status 401";
        Profile500 = "profile_500", "Status 500";
        ProfileRedirect = "profile_redirect", "A redirect (307) to another address";
        ProfileHuge = "profile_huge", "A megabyte";
        ProfileSlow = "profile_slow", "Nothing for 30 seconds";
        ProfileDrip = "profile_drip", "One byte a second";
    }
}

impl Fault {
    /// What people look for most, with labels that need no heading beside them.
    pub(super) const MOST_USED: [(Self, &str); 7] = [
        (Self::Token500, "Token endpoint: status 500"),
        (Self::TokenSlow, "Token endpoint: nothing for 30 seconds"),
        (Self::CallbackErrorServerError, "Way back: the provider says server_error"),
        (Self::BadSignature, "ID token: one bit of the signature is wrong"),
        (Self::Expired, "ID token: expired two minutes ago"),
        (Self::Profile500, "Profile: status 500"),
        (Self::HostileProfile, "Profile: scripts and control characters"),
    ];

    /// Whether the plain OAuth 2 provider also has what this changes. (It never says `email_verified`.)
    pub fn concerns_plain_oauth2(self) -> bool {
        use FaultGroup::{Callback, Person, ProfileAnswer, TokenAnswer};
        matches!(self.group(), Callback | TokenAnswer | Person | ProfileAnswer)
            && self != Self::EmailVerifiedMissing
    }

    /// The fault of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|fault| fault.name() == name)
    }
}

macro_rules! switches {
    ($($name:ident = $text:literal, $label:literal;)*) => {
        /// What goes wrong on the whole server until it is switched off again.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum FaultSwitch {
            $(#[doc = concat!($label, ".")] $name,)*
        }

        impl FaultSwitch {
            /// Every switch.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The stable name, as `POST /dev/faults` takes it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// A few words for people.
            pub fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

switches! {
    DiscoveryWrongIssuer = "discovery_wrong_issuer", "Discovery names another issuer";
    DiscoveryForeignEndpoints = "discovery_foreign_endpoints", "Discovery names plain http endpoints elsewhere";
    DiscoveryNoIssParameter = "discovery_no_iss_parameter", "Discovery and callbacks without iss (allowed)";
    Discovery500 = "discovery_500", "Discovery answers 500";
    DiscoverySlow = "discovery_slow", "Discovery answers after 30 seconds";
    DiscoveryRedirect = "discovery_redirect", "Discovery redirects";
    DiscoveryHuge = "discovery_huge", "Discovery is a megabyte";
    DiscoveryNotJson = "discovery_not_json", "Discovery is half a JSON document";
    Jwks500 = "jwks_500", "The key set answers 500";
    JwksSlow = "jwks_slow", "The key set answers after 30 seconds";
    JwksHuge = "jwks_huge", "The key set is a megabyte";
    JwksRotate = "jwks_rotate", "New keys sign, the old ones are gone";
    WeakRsa = "weak_rsa", "A key of 1024 bits signs (RS256)";
    JwksOddKeys = "jwks_odd_keys", "The key set also holds unknown and broken keys (allowed)";
    Everything500 = "everything_500", "Everything answers 500";
}

impl FaultSwitch {
    /// The switch of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|switch| switch.name() == name)
    }

    fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The switches of one server. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct FaultSwitches(Arc<AtomicU32>);

impl FaultSwitches {
    /// Switches one on or off.
    pub fn set(&self, switch: FaultSwitch, on: bool) {
        if on {
            self.0.fetch_or(switch.bit(), Ordering::SeqCst);
        } else {
            self.0.fetch_and(!switch.bit(), Ordering::SeqCst);
        }
    }

    /// Whether it is on.
    pub fn is_on(&self, switch: FaultSwitch) -> bool {
        self.0.load(Ordering::SeqCst) & switch.bit() != 0
    }

    /// Switches all off.
    pub fn clear(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        let names: HashSet<_> = Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(names.len(), Fault::ALL.len());
        for fault in Fault::ALL {
            assert_eq!(Fault::named(fault.name()), Some(*fault));
        }
        for switch in FaultSwitch::ALL {
            assert_eq!(FaultSwitch::named(switch.name()), Some(*switch));
        }
        assert_eq!(Fault::named("no_such_fault"), None);
    }

    #[test]
    fn switches_do_not_touch_each_other() {
        let switches = FaultSwitches::default();
        let seen_elsewhere = switches.clone();
        for switch in FaultSwitch::ALL {
            switches.set(*switch, true);
            let on: Vec<_> = FaultSwitch::ALL.iter().filter(|other| seen_elsewhere.is_on(**other)).collect();
            assert_eq!(on, [switch]);
            switches.set(*switch, false);
        }
        switches.set(FaultSwitch::Everything500, true);
        switches.clear();
        assert!(!switches.is_on(FaultSwitch::Everything500));
    }
}
