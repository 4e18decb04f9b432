//! The hash functions of a split, by name. A name never changes what it computes: users would change lanes.

/// `MurmurHash3_x86_32`.
#[inline(never)]
pub fn murmur3_x86_32(data: &[u8], seed: u32) -> u32 {
    const C1: u32 = 0xcc9e_2d51;
    const C2: u32 = 0x1b87_3593;
    let scramble = |block: u32| block.wrapping_mul(C1).rotate_left(15).wrapping_mul(C2);
    let mut hash = seed;
    let (blocks, tail) = data.as_chunks::<4>();
    for block in blocks {
        hash ^= scramble(u32::from_le_bytes(*block));
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    if !tail.is_empty() {
        let block = tail.iter().rev().fold(0, |block: u32, &byte| block << 8 | u32::from(byte));
        hash ^= scramble(block);
    }
    hash ^= data.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    hash ^ hash >> 16
}

/// FNV-1a of 32 bits.
#[inline(never)]
pub fn fnv1a32(data: &[u8]) -> u32 {
    data.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// FNV-1a of 64 bits.
pub fn fnv1a64(data: &[u8]) -> u64 {
    data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// CRC-32 as in zip and PNG (reflected, polynomial 0xedb88320).
pub fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ 0xedb8_8320 & (crc & 1).wrapping_neg())
    })
}

/// Where Unleash's `flexibleRollout` puts an id, less one: from 0 to 99. It is in when that is below the percentage.
pub fn unleash(group: &[u8], id: &[u8]) -> u16 {
    (murmur3_x86_32(&[group, id].join(&b':'), 0) % 100) as u16
}

/// Where GrowthBook's hash version 2 puts a value, times 10000.
pub fn growthbook_v2(seed: &[u8], value: &[u8]) -> u16 {
    let inner = fnv1a32(&[seed, value].concat()).to_string();
    (fnv1a32(inner.as_bytes()) % 10_000) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that implementations of MurmurHash3 share.
    #[test]
    fn murmur3_as_published() {
        let vectors: &[(&[u8], u32, u32)] = &[
            (b"", 0, 0),
            (b"", 1, 0x514e_28b7),
            (b"", 0xffff_ffff, 0x81f1_6f39),
            (b"\xff\xff\xff\xff", 0, 0x7629_3b50),
            (b"\x21\x43\x65\x87", 0, 0xf55b_516b),
            (b"\x21\x43\x65\x87", 0x5082_edee, 0x2362_f9de),
            (b"\x21\x43\x65", 0, 0x7e4a_8634),
            (b"\x21\x43", 0, 0xa0f7_b07a),
            (b"\x21", 0, 0x7266_1cf4),
            (b"\0\0\0\0", 0, 0x2362_f9de),
            (b"\0\0\0", 0, 0x85f0_b427),
            (b"\0\0", 0, 0x30f4_c306),
            (b"\0", 0, 0x514e_28b7),
            (b"aaaa", 0x9747_b28c, 0x5a97_808a),
            (b"aaa", 0x9747_b28c, 0x283e_0130),
            (b"aa", 0x9747_b28c, 0x5d21_1726),
            (b"a", 0x9747_b28c, 0x7fa0_9ea6),
            (b"abcd", 0x9747_b28c, 0xf047_8627),
            (b"abc", 0x9747_b28c, 0xc84a_62dd),
            (b"ab", 0x9747_b28c, 0x7487_5592),
            (b"Hello, world!", 0x9747_b28c, 0x2488_4cba),
            ("ππππππππ".as_bytes(), 0x9747_b28c, 0xd580_63c1),
            (b"The quick brown fox jumps over the lazy dog", 0x9747_b28c, 0x2fa8_26cd),
            (b"hello", 0, 0x248b_fa47),
            (b"hello, world", 0, 0x149b_bb7f),
        ];
        for (data, seed, hash) in vectors {
            assert_eq!(murmur3_x86_32(data, *seed), *hash, "{data:?} {seed:#x}");
        }
    }

    /// From the FNV authors' `test_fnv.c`.
    #[test]
    fn fnv1a_as_published() {
        for (data, hash, hash64) in [
            ("", 0x811c_9dc5, 0xcbf2_9ce4_8422_2325),
            ("a", 0xe40c_292c, 0xaf63_dc4c_8601_ec8c),
            ("b", 0xe70c_2de5, 0xaf63_df4c_8601_f1a5),
            ("foo", 0xa9f3_7ed7, 0xdcb2_7518_fed9_d577),
            ("foobar", 0xbf9c_f968, 0x8594_4171_f739_67e8),
        ] {
            assert_eq!(fnv1a32(data.as_bytes()), hash, "{data}");
            assert_eq!(fnv1a64(data.as_bytes()), hash64, "{data}");
        }
    }

    /// The check value of CRC-32/ISO-HDLC, and what every zip agrees on.
    #[test]
    fn crc32_as_published() {
        for (data, hash) in [
            ("", 0),
            ("a", 0xe8b7_be43),
            ("abc", 0x3524_41c2),
            ("123456789", 0xcbf4_3926),
            ("The quick brown fox jumps over the lazy dog", 0x414f_a339),
        ] {
            assert_eq!(crc32(data.as_bytes()), hash, "{data}");
        }
    }

    /// From the tests of Unleash's own clients, where the values count from 1.
    #[test]
    fn unleash_as_published() {
        for (group, id, normalized) in [("gr1", "123", 73), ("groupX", "999", 25)] {
            assert_eq!(unleash(group.as_bytes(), id.as_bytes()) + 1, normalized, "{group}:{id}");
        }
    }

    /// From `cases.json`, which every GrowthBook SDK runs.
    #[test]
    fn growthbook_v2_as_published() {
        for (seed, value, place) in [
            ("seed", "a", 505),
            ("seed", "b", 2696),
            ("foo", "ab", 2575),
            ("foo", "def", 2019),
            ("89123klj", "8952klfjas09ujkasdf", 1240),
            ("90850943850283058242805", "123", 7516),
            ("()**(%$##$%#$#", "___)((*\":&", 128),
        ] {
            assert_eq!(growthbook_v2(seed.as_bytes(), value.as_bytes()), place, "{seed} {value}");
        }
    }
}
