//! Protobuf messages by hand: the few that hosts and services exchange do not pay for a library in every module.

/// Appends a length-delimited field: text, bytes or a message. `number` is at most 15.
pub fn field(message: &mut Vec<u8>, number: u8, value: &[u8]) {
    message.push(number << 3 | 2);
    varint(message, u64::try_from(value.len()).unwrap_or(u64::MAX));
    message.extend(value);
}

/// Appends a number, seven bits a byte, the lowest first.
pub fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push((value & 0x7f) as u8);
}

/// The value of a field, by its wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    /// A string, bytes or a message.
    Bytes(&'a [u8]),
    Fixed32([u8; 4]),
}

/// The fields of a message, each with its number, up to the first that is malformed.
pub fn fields(mut message: &[u8]) -> impl Iterator<Item = (u64, Value<'_>)> {
    std::iter::from_fn(move || {
        let tag = read_varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Varint(read_varint(&mut message)?),
            1 => Value::Fixed64(*read_chunk(&mut message)?),
            2 => {
                let length = usize::try_from(read_varint(&mut message)?).ok()?;
                let (value, rest) = message.split_at_checked(length)?;
                message = rest;
                Value::Bytes(value)
            }
            5 => Value::Fixed32(*read_chunk(&mut message)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    })
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn read_chunk<'a, const N: usize>(message: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (chunk, rest) = message.split_first_chunk()?;
    *message = rest;
    Some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_value_has_a_length_of_two_bytes() {
        let mut message = Vec::new();
        field(&mut message, 1, b"a");
        assert_eq!(message, b"\x0a\x01a");
        message.clear();
        field(&mut message, 2, &[b'x'; 200]);
        assert_eq!((message.len(), &message[..3]), (203, &[0x12, 0xc8, 0x01][..]));
    }

    #[test]
    fn reads_fields_of_every_wire_type() {
        let message = b"\x08\x96\x01\x11\0\0\0\0\0\0\x1c\x40\x1a\x02ab\x25\x01\0\0\0\xaa\x01\0";
        let expected = [
            (1, Value::Varint(150)),
            (2, Value::Fixed64(7_f64.to_le_bytes())),
            (3, Value::Bytes(b"ab")),
            (4, Value::Fixed32([1, 0, 0, 0])),
            (21, Value::Bytes(b"")),
        ];
        assert_eq!(fields(message).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn reading_ends_at_the_first_malformed_field() {
        for rest in [
            &b"\x08"[..],
            b"\x08\x80",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x11\0",
            b"\x12\x02a",
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
            b"\x1b\x1c",
        ] {
            let message = [b"\x08\x01", rest, b"\x08\x02"].concat();
            assert_eq!(fields(&message).next(), Some((1, Value::Varint(1))), "{rest:?}");
            assert!(fields(&message).count() < 3, "{rest:?}");
        }
    }
}
