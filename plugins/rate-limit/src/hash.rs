//! SipHash-2-4: without its secret nobody can choose keys that meet in one shard.

/// A secret that all workers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Secret(u64, u64);

impl Secret {
    /// From 16 random bytes.
    pub fn new(bytes: [u8; 16]) -> Self {
        let whole = u128::from_le_bytes(bytes);
        Self((whole & u128::from(u64::MAX)) as u64, (whole >> 64) as u64)
    }

    /// No secret, for what no client chooses.
    pub const KNOWN: Self = Self(0, 0);

    /// The hash of some bytes after others, whose hash is `before`; 0 where there are none.
    pub fn hash(self, before: u64, bytes: &[u8]) -> u64 {
        let first = self.0 ^ before;
        let mut state = [
            first ^ 0x736f_6d65_7073_6575,
            self.1 ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            self.1 ^ 0x7465_6462_7974_6573,
        ];
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        let [.., length] = &mut last;
        *length = (bytes.len() & 0xff) as u8;
        for word in words.iter().chain([&last]) {
            let word = u64::from_le_bytes(*word);
            let [_, _, _, d] = &mut state;
            *d ^= word;
            state = round(round(state));
            let [a, ..] = &mut state;
            *a ^= word;
        }
        let [_, _, c, _] = &mut state;
        *c ^= 0xff;
        let [a, b, c, d] = round(round(round(round(state))));
        a ^ b ^ c ^ d
    }
}

fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the reference implementation: the secret 00..0f, the texts 00, 00 01, 00 01 02, …
    #[test]
    fn hashes_as_the_reference_does() {
        let secret = Secret::new(std::array::from_fn(|index| u8::try_from(index).unwrap()));
        let text: Vec<u8> = (0..64).collect();
        for (length, hash) in [
            (0, [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]),
            (1, [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]),
            (7, [0x37, 0xd1, 0x01, 0x8b, 0xf5, 0x00, 0x02, 0xab]),
            (8, [0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93]),
            (15, [0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1]),
            (63, [0x72, 0x45, 0x06, 0xeb, 0x4c, 0x32, 0x8a, 0x95]),
        ] {
            assert_eq!(secret.hash(0, &text[..length]).to_le_bytes(), hash, "{length}");
        }
    }
}
