//! Parameters of a query or a form, strictly: each known one at most once, correctly encoded (RFC 6749
//! section 3.1). Unknown ones are ignored; one without a value counts as absent.
//!
//! The usual decoders take the last of two, turn broken UTF-8 into U+FFFD and leave a broken `%` as it is.

use crate::error::{Error, Result};

/// A parameter by name, with what is said when it is unusable.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Said when it is given more than once.
    pub repeated: &'static str,
    /// Said when it is not percent-encoded UTF-8.
    pub malformed: &'static str,
}

/// The [`Parameter`] with this name.
macro_rules! parameter {
    ($name:literal) => {
        $crate::http::extract::parameters::Parameter {
            name: $name,
            repeated: concat!("The parameter '", $name, "' is given more than once."),
            malformed: concat!("The parameter '", $name, "' is not percent-encoded UTF-8."),
        }
    };
}
pub(crate) use parameter;

/// Reads the `known` parameters of `encoded` (`application/x-www-form-urlencoded`), in their order.
pub fn read<const N: usize>(encoded: &[u8], known: [Parameter; N]) -> Result<[Option<String>; N]> {
    let mut values = [const { None }; N];
    for pair in encoded.split(|byte| *byte == b'&') {
        let (name, value) = split(pair);
        let Some(name) = decode(name) else { continue };
        let Some(at) = known.iter().position(|parameter| parameter.name == name) else { continue };
        let value = decode(value).ok_or_else(|| Error::invalid_request(known[at].malformed))?;
        if values[at].replace(value).is_some() {
            return Err(Error::invalid_request(known[at].repeated));
        }
    }
    Ok(values.map(|value| value.filter(|text| !text.is_empty())))
}

/// Whether `encoded` has a parameter of this name at all.
pub fn has(encoded: &[u8], name: &str) -> bool {
    encoded.split(|byte| *byte == b'&').any(|pair| decode(split(pair).0).as_deref() == Some(name))
}

fn split(pair: &[u8]) -> (&[u8], &[u8]) {
    match pair.iter().position(|byte| *byte == b'=') {
        Some(at) => (&pair[..at], &pair[at + 1..]),
        None => (pair, &[]),
    }
}

/// Nothing where a `%` is not followed by two digits, or the result is not UTF-8.
fn decode(encoded: &[u8]) -> Option<String> {
    let mut decoded = Vec::with_capacity(encoded.len());
    let mut rest = encoded.iter();
    while let Some(byte) = rest.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => hex(*rest.next()?)? << 4 | hex(*rest.next()?)?,
            other => *other,
        });
    }
    String::from_utf8(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state_and_code(encoded: &[u8]) -> Result<[Option<String>; 2]> {
        read(encoded, [parameter!("state"), parameter!("code")])
    }

    #[test]
    fn values_are_decoded_and_unknown_names_ignored() {
        let [state, code] = state_and_code(b"utm=1&co%64e=a%2Bb+c&utm=2&&=&x").unwrap();
        assert_eq!((state, code.as_deref()), (None, Some("a+b c")));
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        assert_eq!(state_and_code(b"state=&code").unwrap(), [None, None]);
    }

    #[test]
    fn ls_04_cb_06_a_known_parameter_given_twice_is_refused() {
        for twice in ["state=a&state=b", "state=a&state=a", "state=&state=a", "state=a&s%74ate=b"] {
            let error = state_and_code(twice.as_bytes()).unwrap_err();
            assert_eq!(error.public_text(), "The parameter 'state' is given more than once.", "{twice}");
        }
    }

    #[test]
    fn ls_04_invalid_utf8_and_bad_escapes_are_refused() {
        for bad in [&b"state=%FF"[..], b"state=\xff", b"state=%C0%80", b"state=%", b"state=%4", b"state=%zz"]
        {
            let error = state_and_code(bad).unwrap_err();
            assert_eq!(error.public_text(), "The parameter 'state' is not percent-encoded UTF-8.");
        }
        assert_eq!(state_and_code(b"other=%FF&state=a").unwrap()[0].as_deref(), Some("a"));
    }

    proptest! {
        #[test]
        fn what_a_browser_encodes_is_read_back(state: String, code: String) {
            let encoded = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("state", &state)
                .append_pair("code", &code)
                .finish();
            let read = state_and_code(encoded.as_bytes()).unwrap();
            prop_assert_eq!(read.map(Option::unwrap_or_default), [state, code]);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = state_and_code(&bytes);
        }
    }
}
