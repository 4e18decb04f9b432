//! `claim:` sources: claims that an earlier filter verified.

use std::borrow::Cow;

use crate::hostcalls::Bytes;
use crate::json::{self, Json};
use crate::protobuf::{self, Value};
use crate::request::Request;

/// The filter state in which jwt-authn leaves the payload of the token it verified, as JSON.
pub const PAYLOAD: &str = "jwt_authn.payload";

/// The most that `limits.jsonDepth` of jwt-authn allows.
const MAX_DEPTH: usize = 64;

/// A claim as text: of jwt-authn's payload, else of the dynamic metadata of Envoy's own `jwt_authn`.
///
/// Strings, numbers and booleans are their text, a list is its members as [`join`] writes them, and an object has no text.
#[must_use]
pub fn get(request: &Request, path: &[String]) -> Option<Bytes> {
    let text = match request.property(&[PAYLOAD]) {
        Some(payload) => of_json(json::parse(&payload, MAX_DEPTH).ok()?.find(path)?),
        // The attribute of a single claim does not tell its type: `true` is one byte, and a number is eight.
        None => of_metadata(&request.property(&["metadata"])?, path),
    };
    text.map(String::into_bytes)
}

/// The members of a list, separated by commas. `None` where a member is not a scalar, or has a comma, or does not
/// [survive](survives_trimming): another reader would see other members.
pub fn join(members: &mut dyn Iterator<Item = Option<Cow<'_, str>>>) -> Option<String> {
    let mut text = String::new();
    for member in members {
        let member = member.filter(|member| survives_trimming(member) && !member.contains(','))?;
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&member);
    }
    Some(text)
}

/// Whether a value is the same to readers that cut off white space, as most do with the value of a header.
#[must_use]
pub fn survives_trimming(value: &str) -> bool {
    !value.is_empty() && value.trim().len() == value.len()
}

fn of_json(claim: &Json) -> Option<String> {
    match claim {
        Json::List(members) => join(&mut members.iter().map(|member| member.scalar().map(Cow::Borrowed))),
        scalar => scalar.scalar().map(str::to_owned),
    }
}

/// Reads `envoy.config.core.v3.Metadata`, which has the payload as a `google.protobuf.Struct`.
fn of_metadata(metadata: &[u8], path: &[String]) -> Option<String> {
    // Istio keeps the payload under the key `payload` of the filter's metadata.
    let filter = entry(metadata, "envoy.filters.http.jwt_authn")?;
    let mut claim = entry(filter, "payload")?;
    for step in path {
        let Some((STRUCT, Value::Bytes(object))) = kind(claim) else { return None };
        claim = entry(object, step)?;
    }
    match kind(claim)? {
        (LIST, Value::Bytes(list)) => join(&mut repeated(list).map(scalar)),
        _ => scalar(claim).map(Cow::into_owned),
    }
}

/// The kinds of `google.protobuf.Value`, by their field.
const NUMBER: u64 = 2;
const STRING: u64 = 3;
const BOOL: u64 = 4;
const STRUCT: u64 = 5;
const LIST: u64 = 6;

fn kind(value: &[u8]) -> Option<(u64, Value<'_>)> {
    protobuf::fields(value).next()
}

fn scalar(value: &[u8]) -> Option<Cow<'_, str>> {
    match kind(value)? {
        (NUMBER, Value::Fixed64(number)) => decimal(f64::from_le_bytes(number)).map(Cow::Owned),
        (STRING, Value::Bytes(text)) => std::str::from_utf8(text).ok().map(Cow::Borrowed),
        (BOOL, Value::Varint(value)) => Some(Cow::Borrowed(if value == 0 { "false" } else { "true" })),
        _ => None,
    }
}

/// The messages of field 1: the entries of a map, or the members of a list.
fn repeated(message: &[u8]) -> impl Iterator<Item = &[u8]> {
    protobuf::fields(message).filter_map(|field| match field {
        (1, Value::Bytes(item)) => Some(item),
        _ => None,
    })
}

/// The value of a key in a map that is field 1 of a message.
fn entry<'a>(message: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    repeated(message).find_map(|entry| {
        let field = |number| {
            protobuf::fields(entry).find_map(|field| match field {
                (found, Value::Bytes(bytes)) if found == number => Some(bytes),
                _ => None,
            })
        };
        (field(1)? == wanted.as_bytes()).then(|| field(2)).flatten()
    })
}

/// The decimal that a double stands for: the shortest that reads back as the same double. `None` where its digits are
/// more than a double holds exactly, so that the number of the token is lost.
///
/// `Display` of doubles would be 20 KiB in every module.
#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss)]
fn decimal(number: f64) -> Option<String> {
    /// Up to here a double holds every integer.
    const EXACT: u64 = 1 << 53;
    const MOST_DECIMALS: usize = 15;
    let mut scale = 1_u64;
    for decimals in 0..=MOST_DECIMALS {
        let digits = (number.abs() * scale as f64).round_ties_even() as u64;
        if digits >= EXACT {
            return None;
        }
        if digits as f64 / scale as f64 == number.abs() {
            let sign = if number < 0.0 { "-" } else { "" };
            let (whole, fraction) = (digits.div_euclid(scale), digits.rem_euclid(scale));
            return Some(match decimals {
                0 => format!("{sign}{whole}"),
                _ => format!("{sign}{whole}.{fraction:0decimals$}"),
            });
        }
        scale = scale.checked_mul(10)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protobuf::field;

    fn claim(request: &Request, path: &str) -> Option<String> {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        get(request, &path).map(|value| String::from_utf8(value).unwrap())
    }

    fn payload(json: &str) -> Request {
        Request::detached(&[]).with_property(PAYLOAD, json.as_bytes())
    }

    #[test]
    fn reads_the_payload_that_jwt_authn_verified() {
        let request = payload(
            r#"{"sub":"alice","age":7,"admin":true,"off":false,"roles":["a","b",1,true],"realm":{"name":"r"},"ratio":0.5,"id":12345678901234567890123}"#,
        );
        for (path, value) in [
            ("sub", "alice"),
            ("age", "7"),
            ("admin", "true"),
            ("off", "false"),
            ("roles", "a,b,1,true"),
            ("realm.name", "r"),
            ("ratio", "0.5"),
            ("id", "12345678901234567890123"),
        ] {
            assert_eq!(claim(&request, path).as_deref(), Some(value), "{path}");
        }
        for path in ["none", "realm", "sub.x"] {
            assert_eq!(claim(&request, path), None, "{path}");
        }
    }

    #[test]
    fn a_number_beyond_any_double_spoils_no_other_claim() {
        let request = payload(r#"{"odd":1e400,"sub":"alice"}"#);
        assert_eq!(claim(&request, "sub").as_deref(), Some("alice"));
    }

    const INSEPARABLE: [&str; 8] = [
        r#"["a,admin"]"#,
        r#"["a","b,admin"]"#,
        r#"[",a"]"#,
        r#"["a"," admin"]"#,
        r#"["a","admin\u00a0"]"#,
        r#"["a",""]"#,
        r#"["a",["b"]]"#,
        r#"["a",null]"#,
    ];

    #[test]
    fn a_list_whose_members_could_not_be_told_apart_yields_nothing() {
        for list in INSEPARABLE {
            assert_eq!(claim(&payload(&format!(r#"{{"roles":{list}}}"#)), "roles"), None, "{list}");
        }
    }

    fn message(fields: &[(u8, &[u8])]) -> Vec<u8> {
        let mut message = Vec::new();
        fields.iter().for_each(|(number, value)| field(&mut message, *number, value));
        message
    }

    /// `google.protobuf.Struct`, of names and serialized values.
    fn structure(members: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let entries = members.iter().map(|(name, value)| message(&[(1, name.as_bytes()), (2, value)]));
        entries.flat_map(|entry| message(&[(1, &entry)])).collect()
    }

    fn string(text: &str) -> Vec<u8> {
        message(&[(3, text.as_bytes())])
    }

    fn number(value: f64) -> Vec<u8> {
        [&[0x11][..], &value.to_le_bytes()].concat()
    }

    fn list(items: &[Vec<u8>]) -> Vec<u8> {
        let items: Vec<u8> = items.iter().flat_map(|item| message(&[(1, item)])).collect();
        message(&[(6, &items)])
    }

    /// The dynamic metadata of Envoy's own filter, among that of others.
    fn metadata(claims: &[(&str, Vec<u8>)]) -> Request {
        let payload = message(&[(5, &structure(claims))]);
        let filter = structure(&[("header", string("x")), ("payload", payload)]);
        let metadata = structure(&[
            ("istio_authn", structure(&[("payload", string("another"))])),
            ("envoy.filters.http.jwt_authn", filter),
        ]);
        Request::detached(&[]).with_property("metadata", &metadata)
    }

    #[test]
    fn reads_every_type_of_the_metadata_of_envoys_own_filter() {
        const NULL: &[u8] = &[0x08, 0];
        const TRUE: &[u8] = &[0x20, 1];
        const FALSE: &[u8] = &[0x20, 0];
        let request = metadata(&[
            ("sub", string("12345678")),
            ("admin", TRUE.to_vec()),
            ("off", FALSE.to_vec()),
            ("age", number(7.0)),
            ("debt", number(-3.0)),
            ("ratio", number(0.5)),
            ("tiny", number(-0.0625)),
            ("price", number(19.99)),
            ("zero", number(0.0)),
            ("exp", number(4_102_444_800.0)),
            ("snowflake", number(9_007_199_254_740_991.0)),
            ("id", number(12_345_678_901_234_567_890_123.0)),
            ("third", number(1.0 / 3.0)),
            ("odd", number(f64::INFINITY)),
            ("roles", list(&[string("a"), number(1.0), TRUE.to_vec()])),
            ("commas", list(&[string("a,admin")])),
            ("nested", list(&[list(&[string("a")])])),
            ("nothing", NULL.to_vec()),
            ("realm", message(&[(5, &structure(&[("name", string("r"))]))])),
        ]);
        for (path, expected) in [
            ("sub", Some("12345678")),
            ("admin", Some("true")),
            ("off", Some("false")),
            ("age", Some("7")),
            ("debt", Some("-3")),
            ("ratio", Some("0.5")),
            ("tiny", Some("-0.0625")),
            ("price", Some("19.99")),
            ("zero", Some("0")),
            ("exp", Some("4102444800")),
            ("snowflake", Some("9007199254740991")),
            ("id", None),
            ("third", None),
            ("odd", None),
            ("roles", Some("a,1,true")),
            ("commas", None),
            ("nested", None),
            ("nothing", None),
            ("realm.name", Some("r")),
            ("realm", None),
            ("sub.x", None),
            ("none", None),
        ] {
            assert_eq!(claim(&request, path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn malformed_metadata_has_no_claims() {
        let whole = {
            let payload = message(&[(5, &structure(&[("sub", string("bob"))]))]);
            structure(&[("envoy.filters.http.jwt_authn", structure(&[("payload", payload)]))])
        };
        for length in 0..whole.len() {
            let request = Request::detached(&[]).with_property("metadata", &whole[..length]);
            assert_eq!(claim(&request, "sub"), None, "{length}");
        }
    }
}
