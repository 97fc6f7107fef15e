//! Parameters of a query or a form, read strictly: each known one at most once, correctly encoded (RFC 6749 section
//! 3.1). Unknown parameters are ignored; an empty value counts as absent.
//!
//! Common decoders take the last of two values, replace invalid UTF-8 with U+FFFD and keep a broken `%` as it is.

use crate::error::{Error, Result};

/// The name of a parameter, with the texts for unusable values.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// The name.
    pub name: &'static str,
    /// The error text when it is given more than once.
    pub repeated: &'static str,
    /// The error text when it is not percent-encoded UTF-8.
    pub malformed: &'static str,
}

/// A set of parameters: a struct with an optional text for each, declared with [`parameters!`].
pub trait Parameters: Default {
    /// Every parameter with the field that holds its value.
    fn fields(&mut self) -> impl Iterator<Item = (Parameter, &mut Option<String>)>;

    /// Reads `encoded` (`application/x-www-form-urlencoded`).
    ///
    /// # Errors
    /// A parameter of this set is repeated or malformed.
    fn read(encoded: &[u8]) -> Result<Self> {
        let mut read = Self::default();
        for pair in encoded.split(|byte| *byte == b'&') {
            let (name, value) = split(pair);
            let Some(name) = decode(name) else { continue };
            let Some((known, field)) = read.fields().find(|(known, _)| known.name == name) else { continue };
            let value = decode(value).ok_or_else(|| Error::invalid_request(known.malformed))?;
            if field.replace(value).is_some() {
                return Err(Error::invalid_request(known.repeated));
            }
        }
        for (_, field) in read.fields() {
            field.take_if(|value| value.is_empty());
        }
        Ok(read)
    }

    /// The names and values of the parameters that are present, in the order of declaration.
    fn present(&mut self) -> Vec<(&'static str, &str)> {
        self.fields().filter_map(|(known, value)| Some((known.name, value.as_deref()?))).collect()
    }
}

/// Declares a struct of [`Parameters`]. A field's name is the parameter's name.
macro_rules! parameters {
    ($(#[$meta:meta])* $vis:vis struct $set:ident { $($(#[$field_meta:meta])* $name:ident),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Default)]
        $vis struct $set { $($(#[$field_meta])* $name: Option<String>,)+ }

        impl $crate::http::extract::parameters::Parameters for $set {
            fn fields(
                &mut self,
            ) -> impl Iterator<Item = ($crate::http::extract::parameters::Parameter, &mut Option<String>)> {
                [$((
                    $crate::http::extract::parameters::Parameter {
                        name: stringify!($name),
                        repeated: concat!("The parameter '", stringify!($name), "' is given more than once."),
                        malformed: concat!("The parameter '", stringify!($name), "' is not percent-encoded UTF-8."),
                    },
                    &mut self.$name,
                )),+]
                .into_iter()
            }
        }
    };
}
pub(crate) use parameters;

/// All values of a parameter that may be given several times, in their order; an empty value counts as absent.
///
/// # Errors
/// `malformed` if a value is not percent-encoded UTF-8.
pub fn all(encoded: &[u8], name: &str, malformed: &'static str) -> Result<Vec<String>> {
    let pairs = encoded.split(|byte| *byte == b'&').map(split);
    let values =
        pairs.filter(|(other, _)| decode(other).as_deref() == Some(name)).map(|(_, value)| decode(value));
    let values = values.collect::<Option<Vec<String>>>().ok_or_else(|| Error::invalid_request(malformed))?;
    Ok(values.into_iter().filter(|value| !value.is_empty()).collect())
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

/// Decodes one name or value of `application/x-www-form-urlencoded`.
///
/// `None` if a `%` is not followed by two hexadecimal digits, or if the result is not UTF-8.
pub fn decode(encoded: &[u8]) -> Option<String> {
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

    parameters! {
        #[derive(Debug, PartialEq)]
        struct Callback { state, code }
    }

    #[test]
    fn values_are_decoded_and_unknown_names_ignored() {
        let mut read = Callback::read(b"utm=1&co%64e=a%2Bb+c&utm=2&&=&x").unwrap();
        assert_eq!(read, Callback { state: None, code: Some("a+b c".to_owned()) });
        assert_eq!(read.present(), [("code", "a+b c")]);
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        assert_eq!(Callback::read(b"state=&code").unwrap(), Callback::default());
    }

    #[test]
    fn values_go_to_the_field_of_their_name_in_any_order() {
        let expected = Callback { state: Some("s".to_owned()), code: Some("c".to_owned()) };
        for encoded in ["state=s&code=c", "code=c&state=s"] {
            assert_eq!(Callback::read(encoded.as_bytes()).unwrap(), expected, "{encoded}");
        }
    }

    #[test]
    fn a_known_parameter_given_twice_is_refused() {
        for twice in ["state=a&state=b", "state=a&state=a", "state=&state=a", "state=a&s%74ate=b"] {
            let error = Callback::read(twice.as_bytes()).unwrap_err();
            assert_eq!(error.public_text(), "The parameter 'state' is given more than once.", "{twice}");
        }
    }

    #[test]
    fn invalid_utf8_and_bad_escapes_are_refused() {
        for bad in [&b"state=%FF"[..], b"state=\xff", b"state=%C0%80", b"state=%", b"state=%4", b"state=%zz"]
        {
            let error = Callback::read(bad).unwrap_err();
            assert_eq!(error.public_text(), "The parameter 'state' is not percent-encoded UTF-8.");
        }
        assert_eq!(Callback::read(b"other=%FF&state=a").unwrap().state.as_deref(), Some("a"));
    }

    #[test]
    fn a_parameter_that_may_be_repeated_is_read_in_order() {
        let all = |encoded: &[u8]| all(encoded, "resource", "malformed");
        assert_eq!(all(b"resource=a&state=x&resource=&res%6Furce=b%26c").unwrap(), ["a", "b&c"]);
        assert!(all(b"state=x").unwrap().is_empty());
        assert_eq!(all(b"resource=a&resource=%FF").unwrap_err().public_text(), "malformed");
    }

    proptest! {
        #[test]
        fn what_a_browser_encodes_is_read_back(state: String, code: String) {
            let encoded = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("state", &state)
                .append_pair("code", &code)
                .finish();
            let read = Callback::read(encoded.as_bytes()).unwrap();
            prop_assert_eq!(read.state.unwrap_or_default(), state);
            prop_assert_eq!(read.code.unwrap_or_default(), code);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            let _ = Callback::read(&bytes);
        }
    }
}
