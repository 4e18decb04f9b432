//! One member of the W3C `baggage` header; every other member keeps its bytes and its place.

/// The header with `member` as wanted (`None`: without it), or `None` where it is so already.
///
/// `header` is every line, joined by commas. Members of this name, should a client send several, become one.
pub fn with_member(header: Option<&[u8]>, member: &str, value: Option<&str>) -> Option<Vec<u8>> {
    let header = header.unwrap_or_default();
    let wanted = value.map(|value| [member, "=", value].concat());
    let mut written = false;
    let mut changed = false;
    let mut members: Vec<&[u8]> = Vec::new();
    for piece in header.split(|&byte| byte == b',') {
        if !is(piece, member) {
            members.push(piece);
            continue;
        }
        match &wanted {
            Some(wanted) if !written => {
                changed |= piece.trim_ascii() != wanted.as_bytes();
                members.push(wanted.as_bytes());
                written = true;
            }
            _ => changed = true,
        }
    }
    if let Some(wanted) = &wanted
        && !written
    {
        members.retain(|piece| !piece.trim_ascii().is_empty());
        members.push(wanted.as_bytes());
        changed = true;
    }
    changed.then(|| members.join(&b','))
}

/// Whether a list member (`key=value;properties`) has this key.
fn is(piece: &[u8], key: &str) -> bool {
    let name = piece.split(|&byte| matches!(byte, b'=' | b';')).next().unwrap_or_default();
    name.trim_ascii() == key.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_changes_and_the_others_keep_their_bytes() {
        for (header, value, expected) in [
            (None, Some("canary"), Some("swimlane=canary")),
            (Some(""), Some("canary"), Some("swimlane=canary")),
            (Some("a=1;p , b=%20"), Some("canary"), Some("a=1;p , b=%20,swimlane=canary")),
            (Some("a=1, swimlane=blue;x=y ,b=2"), Some("canary"), Some("a=1,swimlane=canary,b=2")),
            (Some("swimlane=blue,a=1,swimlane = red"), Some("canary"), Some("swimlane=canary,a=1")),
            (Some("a=1,swimlane=canary"), Some("canary"), None),
            (Some("a=1, swimlane=canary"), Some("canary"), None),
            (Some("swimlane2=x"), Some("canary"), Some("swimlane2=x,swimlane=canary")),
            (Some("Swimlane=x"), Some("canary"), Some("Swimlane=x,swimlane=canary")),
            (Some("swimlane"), Some("canary"), Some("swimlane=canary")),
            (Some("a=1,swimlane=blue"), None, Some("a=1")),
            (Some("swimlane=blue"), None, Some("")),
            (Some("a=1"), None, None),
            (None, None, None),
        ] {
            let written = with_member(header.map(str::as_bytes), "swimlane", value);
            assert_eq!(written.as_deref(), expected.map(str::as_bytes), "{header:?} {value:?}");
        }
    }

    #[test]
    fn any_bytes_pass() {
        let written = with_member(Some(b"a=\xff\xfe"), "swimlane", Some("canary")).unwrap();
        assert_eq!(written, b"a=\xff\xfe,swimlane=canary");
    }
}
