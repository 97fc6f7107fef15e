//! The ID token (OpenID Connect Core section 2) and everything that can be wrong with it.
//!
//! Its three parts are written one after the other, each with the faults that concern it: claims, header,
//! signature.

use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::faults::{Fault, FaultSwitch};
use super::keys::{SigningAlgorithm, sign_hs256};
use super::shared::{Grant, Shared};
use super::{TRAP, person, weak_rsa};
use crate::domain::clock::Timestamp;

/// Valid so long; the broker looks at it within seconds.
const LIFETIME_SECONDS: i64 = 300;

/// The ID token for a grant: a JWT, unless the fault says otherwise.
pub(super) fn issue(
    shared: &Shared,
    grant: &Grant,
    access_token: &str,
) -> Result<Option<Value>, Unspecified> {
    let claims = claims(shared, grant, access_token);
    shared.log().last_id_token = Some(Value::Object(claims.clone()));
    let mut payload = Value::Object(claims).to_string();
    if grant.fault == Some(Fault::DuplicateClaim) {
        payload = format!("{{\"sub\":\"somebody-else\",{}", payload.trim_start_matches('{'));
    }
    let signed_text = format!("{}.{}", encode(header(shared, grant).to_string()), encode(payload));
    let signature = encode(signature(shared, grant, signed_text.as_bytes())?);
    Ok(match grant.fault {
        Some(Fault::MissingIdToken) => None,
        Some(Fault::IdTokenNumber) => Some(42.into()),
        Some(Fault::IdTokenGarbage) => Some("not a token".into()),
        Some(Fault::IdTokenFiveParts) => Some(format!("{signed_text}.{signature}.AAAA.AAAA").into()),
        Some(Fault::IdTokenCut) => Some(format!("{signed_text}.").into()),
        _ => Some(format!("{signed_text}.{signature}").into()),
    })
}

/// A JWT signed with the current RS256 key, with any claims: logout tokens, for tests.
pub(super) fn sign(shared: &Shared, token_type: &str, claims: &Value) -> Result<String, Unspecified> {
    let algorithm = SigningAlgorithm::Rs256;
    let header = json!({"alg": algorithm.name(), "kid": shared.keys().key_id(algorithm), "typ": token_type});
    let signed_text = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = shared.keys().sign(algorithm, signed_text.as_bytes())?;
    Ok(format!("{signed_text}.{}", encode(signature)))
}

fn claims(shared: &Shared, grant: &Grant, access_token: &str) -> Map<String, Value> {
    let now = shared.now();
    let mut claims = person::oidc_claims(shared, grant);
    let mut put = |name: &str, value: Value| claims.insert(name.to_owned(), value);
    put("iss", shared.url.clone().into());
    put("aud", grant.client_id.clone().into());
    put("iat", now.timestamp().into());
    put("exp", (now.timestamp() + LIFETIME_SECONDS).into());
    put("auth_time", grant.session.auth_time.timestamp().into());
    put("acr", grant.acr.into());
    put("amr", json!(["pwd"]));
    put("sid", grant.session.id.clone().into());
    put("at_hash", grant.algorithm.half_hash(access_token).into());
    if let Some(nonce) = &grant.nonce {
        put("nonce", nonce.clone().into());
    }
    if grant.fault == Some(Fault::ExtraAud) {
        // So that only the audience speaks against it.
        put("azp", grant.client_id.clone().into());
    }
    if let Some(fault) = grant.fault {
        match changed_claim(fault, grant, now) {
            Some((name, Some(value))) => drop(put(name, value)),
            Some((name, None)) => drop(claims.remove(name)),
            None => {}
        }
    }
    claims
}

/// The claim that the fault changes, and to what; nothing where it is left out.
fn changed_claim(fault: Fault, grant: &Grant, now: Timestamp) -> Option<(&'static str, Option<Value>)> {
    let now = now.timestamp();
    let client = &grant.client_id;
    Some(match fault {
        Fault::WrongIss => ("iss", Some("https://attacker.example".into())),
        Fault::MissingIss => ("iss", None),
        Fault::WrongAud => ("aud", Some("another-client".into())),
        Fault::MissingAud => ("aud", None),
        Fault::ExtraAud => ("aud", Some(json!([client, "another-client"]))),
        Fault::AudList => ("aud", Some(json!([client]))),
        Fault::ForeignAzp => ("azp", Some("another-client".into())),
        Fault::WrongNonce => ("nonce", Some(URL_SAFE_NO_PAD.encode([7; 32]).into())),
        Fault::MissingNonce => ("nonce", None),
        Fault::Expired => ("exp", Some((now - 120).into())),
        Fault::MissingExp => ("exp", None),
        Fault::ExpAsString => ("exp", Some((now + LIFETIME_SECONDS).to_string().into())),
        Fault::ExpHuge => ("exp", Some(1e300.into())),
        Fault::FutureIat => ("iat", Some((now + 300).into())),
        Fault::OldIat => ("iat", Some((now - 1200).into())),
        Fault::MissingIat => ("iat", None),
        Fault::IatAsString => ("iat", Some(now.to_string().into())),
        Fault::FutureNbf => ("nbf", Some((now + 300).into())),
        Fault::NbfAsString => ("nbf", Some(now.to_string().into())),
        Fault::WrongAtHash => ("at_hash", Some(grant.algorithm.half_hash("another token").into())),
        Fault::MissingAtHash => ("at_hash", None),
        Fault::OldAuthTime => ("auth_time", Some((now - 36_000).into())),
        Fault::MissingAuthTime => ("auth_time", None),
        Fault::WrongAcr => ("acr", Some("urn:dev:guess".into())),
        Fault::MissingAcr => ("acr", None),
        _ => return None,
    })
}

/// Whether the key that is too short signs.
fn is_weak(shared: &Shared, grant: &Grant) -> bool {
    shared.is_on(FaultSwitch::WeakRsa) && grant.algorithm == SigningAlgorithm::Rs256
}

fn header(shared: &Shared, grant: &Grant) -> Value {
    let key_id = match is_weak(shared, grant) {
        true => weak_rsa::KEY_ID.to_owned(),
        false => shared.keys().key_id(grant.algorithm),
    };
    let mut header = json!({"alg": grant.algorithm.name(), "kid": key_id, "typ": "JWT"});
    match grant.fault {
        Some(Fault::AlgNone) => header["alg"] = "none".into(),
        Some(Fault::AlgHs256 | Fault::AlgHs256PublicKey) => header["alg"] = "HS256".into(),
        Some(Fault::AlgPs256) => header["alg"] = "PS256".into(),
        Some(Fault::AlgOfOtherKey) => {
            // RS256 with the key id of the ES256 key, or the other way round.
            let other = match grant.algorithm {
                SigningAlgorithm::Es256 => SigningAlgorithm::Rs256,
                _ => SigningAlgorithm::Es256,
            };
            header["kid"] = shared.keys().key_id(other).into();
        }
        Some(Fault::UnknownKid) => header["kid"] = "unknown".into(),
        Some(Fault::MissingKid) => {
            header = json!({"alg": grant.algorithm.name(), "typ": "JWT"});
        }
        Some(Fault::EmbeddedJwk) => header["jwk"] = shared.foreign_keys().jwk(grant.algorithm),
        Some(Fault::ForeignJku) => {
            header["kid"] = shared.foreign_keys().key_id(grant.algorithm).into();
            header["jku"] = format!("{}{TRAP}", shared.url).into();
        }
        Some(Fault::ForeignCrit) => {
            header["crit"] = json!(["urn:dev:unknown"]);
            header["urn:dev:unknown"] = true.into();
        }
        _ => {}
    }
    header
}

fn signature(shared: &Shared, grant: &Grant, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
    let algorithm = grant.algorithm;
    match grant.fault {
        Some(Fault::AlgNone) => Ok(Vec::new()),
        Some(Fault::AlgHs256) => Ok(sign_hs256(&shared.secret_of(&grant.client_id), message)),
        Some(Fault::AlgHs256PublicKey) => Ok(sign_hs256(&shared.keys().rsa_public_der()?, message)),
        Some(Fault::AlgPs256) => shared.keys().sign_ps256(message),
        Some(Fault::WrongKey | Fault::EmbeddedJwk | Fault::ForeignJku) => {
            shared.foreign_keys().sign(algorithm, message)
        }
        Some(Fault::BadSignature) => {
            let mut signature = shared.keys().sign(algorithm, message)?;
            if let Some(last) = signature.last_mut() {
                *last ^= 1;
            }
            Ok(signature)
        }
        _ if is_weak(shared, grant) => Ok(weak_rsa::sign(message)),
        _ => shared.keys().sign(algorithm, message),
    }
}

fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}
