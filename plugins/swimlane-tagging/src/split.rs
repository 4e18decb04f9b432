//! The weighted split: from a key to a bucket, and from a bucket to a lane.

use std::time::Duration;

use plugin_kit::config::{At, ConfigError, quoted};

use crate::config::{self, Algorithm};
use crate::hash::{crc32, fnv1a32, growthbook_v2, murmur3_x86_32, unleash};
use crate::lane::{Lane, Lanes};
use crate::timestamp;

/// How many buckets there are: one is 0.01 %.
pub const BUCKETS: u16 = 10_000;

/// The bucket of 32 bits that are evenly spread.
pub fn bucket_of(bits: u32) -> u16 {
    (bits % 10_000) as u16
}

/// The shares of lanes.
#[derive(Debug)]
pub struct Shares {
    algorithm: Algorithm,
    salt: Vec<u8>,
    /// The lanes and how many buckets each has, in order.
    lanes: Vec<(Lane, u16)>,
    ramp: Option<Ramp>,
}

/// A share that moves in a straight line.
#[derive(Debug)]
struct Ramp {
    lane: Lane,
    start: Duration,
    end: Duration,
    from: u16,
    to: u16,
}

impl Shares {
    /// Checks that the shares fit.
    pub fn compile(split: &config::Split, salt: &str, lanes: &Lanes) -> Result<Self, ConfigError> {
        let ramp = match &split.ramp {
            Some(ramp) => Some(Ramp::compile(ramp, lanes).at("ramp")?),
            None => None,
        };
        let mut shares: Vec<(Lane, u16)> = Vec::with_capacity(split.lanes.len());
        for (index, share) in split.lanes.iter().enumerate() {
            let compiled = compile(share, lanes, ramp.as_ref(), &shares);
            shares.push(compiled.at_index(index).at("lanes")?);
        }
        if let (Some(ramp), Some(config)) = (&ramp, &split.ramp)
            && !shares.iter().any(|(lane, _)| *lane == ramp.lane)
        {
            let message = format!("{} is none of split.lanes", quoted(&config.lane));
            return Err(ConfigError::new(message)).at("lane").at("ramp");
        }
        let total: u32 = shares.iter().map(|(_, buckets)| u32::from(*buckets)).sum();
        if total > BUCKETS.into() {
            return Err(ConfigError::new("add up to more than 100 %")).at("lanes");
        }
        let coarse = |buckets: u16| buckets.is_multiple_of(BUCKETS / 100);
        if split.algorithm == Algorithm::Unleash && !shares.iter().all(|(_, buckets)| coarse(*buckets)) {
            return Err(ConfigError::new("unleash has steps of 1 %")).at("lanes");
        }
        Ok(Self { algorithm: split.algorithm, salt: salt.as_bytes().to_vec(), lanes: shares, ramp })
    }

    /// The bucket of a key.
    pub fn bucket(&self, key: &[u8]) -> u16 {
        let hash: fn(&[u8]) -> u32 = match self.algorithm {
            Algorithm::Unleash => return unleash(&self.salt, key).saturating_mul(BUCKETS / 100),
            Algorithm::GrowthbookV2 => return growthbook_v2(&self.salt, key),
            Algorithm::Murmur3 => |data| murmur3_x86_32(data, 0),
            Algorithm::Fnv1a32 => fnv1a32,
            Algorithm::Crc32 => crc32,
        };
        bucket_of(hash(&[self.salt.as_slice(), key].join(&b':')))
    }

    /// The lane of a bucket; `None`: the rest. The time is asked for where a share depends on it.
    pub fn lane(&self, bucket: u16, now: impl FnOnce() -> Duration) -> Option<Lane> {
        let ramped = self.ramp.as_ref().map(|ramp| (ramp.lane, self.whole(ramp.at(now()))));
        let mut end = 0_u16;
        self.lanes.iter().find_map(|(lane, buckets)| {
            let buckets = ramped.filter(|(ramped, _)| ramped == lane).map_or(*buckets, |(_, now)| now);
            end = end.saturating_add(buckets);
            (bucket < end).then_some(*lane)
        })
    }

    /// Cuts a share down to what the algorithm can tell apart.
    fn whole(&self, buckets: u16) -> u16 {
        match self.algorithm {
            Algorithm::Unleash => buckets.saturating_sub(buckets % (BUCKETS / 100)),
            _ => buckets,
        }
    }
}

/// A lane and its buckets: for the lane that ramps, the most that it will ever have.
fn compile(
    share: &config::Share,
    lanes: &Lanes,
    ramp: Option<&Ramp>,
    before: &[(Lane, u16)],
) -> Result<(Lane, u16), ConfigError> {
    let lane = lanes.known(&share.name).at("name")?;
    if before.iter().any(|(other, _)| *other == lane) {
        return Err(ConfigError::new(format!("{} has a share already", quoted(&share.name)))).at("name");
    }
    let given = match share.percent {
        Some(percent) => Some(buckets(percent).at("percent")?),
        None => None,
    };
    match ramp.filter(|ramp| ramp.lane == lane) {
        Some(ramp) => Ok((lane, ramp.from.max(ramp.to))),
        None => Ok((lane, given.ok_or_else(|| ConfigError::new("missing field `percent`"))?)),
    }
}

/// How many buckets a percentage is.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn buckets(percent: f64) -> Result<u16, ConfigError> {
    let exact = percent * f64::from(BUCKETS / 100);
    let whole = exact.round();
    if !(0.0..=f64::from(BUCKETS)).contains(&whole) || percent < 0.0 || (exact - whole).abs() > 1e-6 {
        return Err(ConfigError::new("must be from 0 to 100, in steps of 0.01"));
    }
    Ok(whole as u16)
}

impl Ramp {
    fn compile(ramp: &config::Ramp, lanes: &Lanes) -> Result<Self, ConfigError> {
        let time = |text: &str| {
            timestamp::parse(text).ok_or_else(|| {
                let message = "is not a time such as 2026-01-05T00:00:00Z or 2026-01-05T08:00:00+08:00";
                ConfigError::new(format!("{} {message}", quoted(text)))
            })
        };
        let compiled = Self {
            lane: lanes.known(&ramp.lane).at("lane")?,
            start: time(&ramp.start).at("start")?,
            end: time(&ramp.end).at("end")?,
            from: buckets(ramp.from).at("from")?,
            to: buckets(ramp.to).at("to")?,
        };
        if compiled.end <= compiled.start {
            return Err(ConfigError::new("must be later than start")).at("end");
        }
        Ok(compiled)
    }

    /// The share at a time: nothing but the clock decides, so that every proxy agrees.
    fn at(&self, now: Duration) -> u16 {
        let millis =
            |time: Duration| time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into());
        let length = millis(self.end.saturating_sub(self.start));
        let passed = millis(now.saturating_sub(self.start)).min(length);
        let difference = u64::from(self.from.abs_diff(self.to));
        let moved = difference.saturating_mul(passed).checked_div(length).unwrap_or_default();
        let moved = u16::try_from(moved).unwrap_or(u16::MAX);
        match self.to >= self.from {
            true => self.from.saturating_add(moved),
            false => self.from.saturating_sub(moved),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const USERS: u32 = 100_000;

    fn shares(split: &str) -> Shares {
        let split: config::Split = plugin_kit::config::parse(split.as_bytes()).unwrap();
        let salt = split.salt.clone().unwrap_or_else(|| "x-swimlane".into());
        let lanes = ["production", "canary", "blue"].map(str::to_owned).to_vec();
        let lanes = Lanes::compile(&Config { lanes: Some(lanes), ..Config::default() }).unwrap();
        Shares::compile(&split, &salt, &lanes).unwrap()
    }

    fn split(salt: &str, canary: &str) -> Shares {
        shares(&format!(
            r#"{{"key":"path","salt":"{salt}","lanes":[{{"name":"canary","percent":{canary}}}]}}"#
        ))
    }

    fn lane(shares: &Shares, key: &str) -> Option<usize> {
        shares.lane(shares.bucket(key.as_bytes()), || Duration::ZERO).map(Lane::index)
    }

    /// The shapes in which user ids come.
    fn ids() -> [fn(u32) -> String; 4] {
        [
            |n| format!("user-{n}"),
            |n| n.to_string(),
            |n| format!("{:08x}-0000-4000-8000-{:012x}", n.wrapping_mul(2_654_435_761), n),
            |n| format!("{n}@example.com"),
        ]
    }

    /// Whether a count of `of` draws is within three standard deviations of what is expected.
    fn within_3_sigma(count: usize, of: u32, probability: f64) -> bool {
        let expected = f64::from(of) * probability;
        (count as f64 - expected).abs() <= 3.0 * (expected * (1.0 - probability)).sqrt()
    }

    #[test]
    fn a_share_of_100_000_users_is_within_3_sigma() {
        for percent in ["10", "1", "0.01"] {
            let shares = split("x-swimlane", percent);
            for id in ids() {
                let count = (0..USERS).filter(|&n| lane(&shares, &id(n)) == Some(1)).count();
                let probability = percent.parse::<f64>().unwrap() / 100.0;
                println!("{percent} % of {USERS} like {}: {count}", id(7));
                assert!(within_3_sigma(count, USERS, probability), "{percent} % like {}: {count}", id(7));
            }
        }
    }

    #[test]
    fn two_salts_overlap_as_if_independent() {
        let (one, other) = (split("release-42", "10"), split("release-43", "10"));
        for id in ids() {
            let both = |n: &u32| lane(&one, &id(*n)).is_some() && lane(&other, &id(*n)).is_some();
            let count = (0..USERS).filter(both).count();
            println!("in both of two 10 % splits, like {}: {count}", id(7));
            assert!(within_3_sigma(count, USERS, 0.01), "like {}: {count}", id(7));
        }
    }

    #[test]
    fn a_lane_that_grows_keeps_every_user_it_had() {
        let with = |canary: f64, blue: f64| {
            shares(&format!(
                r#"{{"key":"path","lanes":[{{"name":"canary","percent":{canary}}},{{"name":"blue","percent":{blue}}}]}}"#
            ))
        };
        let before = with(5.0, 5.0);
        for (grown, which) in
            [(with(5.01, 5.0), 1), (with(20.0, 5.0), 1), (with(5.0, 5.25), 2), (with(5.0, 95.0), 2)]
        {
            let had = (0..USERS).map(|n| n.to_string()).filter(|id| lane(&before, id) == Some(which));
            assert!(had.into_iter().all(|id| lane(&grown, &id) == Some(which)));
        }
    }

    #[test]
    fn lanes_take_buckets_in_order() {
        let shares = shares(
            r#"{"key":"path","lanes":[{"name":"canary","percent":10},{"name":"blue","percent":0.25}]}"#,
        );
        for (bucket, lane) in
            [(0, Some(1)), (999, Some(1)), (1000, Some(2)), (1024, Some(2)), (1025, None), (9999, None)]
        {
            assert_eq!(shares.lane(bucket, || Duration::ZERO).map(Lane::index), lane, "{bucket}");
        }
    }

    #[test]
    fn each_algorithm_says_what_it_computes() {
        for (algorithm, bucket) in [
            ("murmur3", murmur3_x86_32(b"gr1:123", 0) % 10_000),
            ("unleash", (73 - 1) * 100),
            ("growthbookV2", growthbook_v2(b"gr1", b"123").into()),
            ("fnv1a32", fnv1a32(b"gr1:123") % 10_000),
            ("crc32", crc32(b"gr1:123") % 10_000),
        ] {
            let shares = shares(&format!(r#"{{"key":"path","salt":"gr1","algorithm":"{algorithm}"}}"#));
            assert_eq!(u32::from(shares.bucket(b"123")), bucket, "{algorithm}");
        }
    }

    /// In where Unleash says `normalizedValue <= rollout`, which for this id is 73.
    #[test]
    fn unleash_enables_who_unleash_enables() {
        for (percent, canary) in [("72", false), ("73", true), ("100", true), ("0", false)] {
            let shares = shares(&format!(
                r#"{{"key":"path","salt":"gr1","algorithm":"unleash","lanes":[{{"name":"canary","percent":{percent}}}]}}"#
            ));
            assert_eq!(lane(&shares, "123").is_some(), canary, "{percent}");
        }
    }

    #[test]
    fn every_key_of_any_bytes_has_a_bucket() {
        for algorithm in ["murmur3", "unleash", "growthbookV2", "fnv1a32", "crc32"] {
            let shares = shares(&format!(r#"{{"key":"path","algorithm":"{algorithm}"}}"#));
            let long = vec![0xff; 60_000];
            for key in [&b""[..], b"\xff\xfe", b"\0", "用户".as_bytes(), &long] {
                assert!(shares.bucket(key) < BUCKETS, "{algorithm}");
            }
        }
    }

    #[test]
    fn a_ramp_is_a_straight_line_of_the_clock() {
        let shares = shares(
            r#"{"key":"path","lanes":[{"name":"canary","percent":10},{"name":"blue","percent":1}],
                "ramp":{"lane":"canary","start":"2026-01-05T00:00:00Z","end":"2026-01-06T00:00:00Z","from":1,"to":50}}"#,
        );
        let ramp = shares.ramp.as_ref().unwrap();
        let at = |hours: f64| {
            ramp.at(
                timestamp::parse("2026-01-04T00:00:00Z").unwrap() + Duration::from_secs_f64(hours * 3600.0)
            )
        };
        for (hours, buckets) in
            [(0.0, 100), (24.0, 100), (30.0, 1325), (36.0, 2550), (48.0, 5000), (480.0, 5000)]
        {
            assert_eq!(at(hours), buckets, "{hours}");
        }
        let minutes: Vec<u16> = (0..72 * 60).map(|minute| at(f64::from(minute) / 60.0)).collect();
        assert!(minutes.is_sorted());
        let lane = |bucket, now| shares.lane(bucket, || now).map(Lane::index);
        assert_eq!(lane(2549, ramp.start + Duration::from_secs(43_200)), Some(1));
        assert_eq!(lane(2550, ramp.start + Duration::from_secs(43_200)), Some(2));
        assert_eq!(lane(100, Duration::ZERO), Some(2));
    }

    #[test]
    fn a_ramp_can_lead_down() {
        let shares = shares(
            r#"{"key":"path","lanes":[{"name":"canary"}],
                "ramp":{"lane":"canary","start":"2026-01-05T00:00:00Z","end":"2026-01-05T00:00:10Z","from":50,"to":0}}"#,
        );
        let ramp = shares.ramp.unwrap();
        let at = |seconds| ramp.at(ramp.start + Duration::from_secs(seconds));
        assert_eq!([at(0), at(5), at(10), at(11)], [5000, 2500, 0, 0]);
    }

    #[test]
    fn percentages_are_whole_buckets() {
        for (percent, expected) in
            [(0.0, 0), (0.01, 1), (0.07, 7), (0.25, 25), (33.33, 3333), (99.99, 9999), (100.0, 10_000)]
        {
            assert_eq!(buckets(percent), Ok(expected), "{percent}");
        }
        for percent in [-0.01, -1e-9, 0.005, 33.333, 100.01, f64::NAN, f64::INFINITY, 1e300] {
            assert!(buckets(percent).is_err(), "{percent}");
        }
    }
}
