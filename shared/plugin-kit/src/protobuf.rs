//! Writing protobuf messages by hand: the few that hosts and services want do not pay for a library in every module.

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
}
