//! The decision over all limits of a request, on the shards that their keys lie in.

use crate::gcra::Denied;
use crate::rate::{Left, Now, Rate, Slot};
use crate::table::Shard;

/// One limit, asked for one request.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// Which limit, by its place in the configuration.
    pub limit: usize,
    /// Its rate for this key.
    pub rate: Rate,
    /// Where the key lies.
    pub shard: u32,
    /// What it is called there.
    pub key: u64,
    /// What the request costs.
    pub cost: u64,
    /// Whether that is charged now, or only asked for.
    pub charges: bool,
    /// Whether a denial counts.
    pub enforce: bool,
    /// The answer.
    pub verdict: Verdict,
}

/// What a limit says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It was not asked.
    #[default]
    Open,
    /// The request may pass, and then this is kept.
    Allowed(Slot, Left),
    /// It may not.
    Denied(Denied, Left),
}

impl Check {
    /// Whether this limit stops the request.
    pub fn stops(&self) -> bool {
        self.enforce && matches!(self.verdict, Verdict::Denied(..))
    }

    /// Whether there is something to write.
    pub fn writes(&self) -> bool {
        self.charges && matches!(self.verdict, Verdict::Allowed(..))
    }
}

/// Asks the limits whose keys lie in this shard. Returns whether an entry had to be repaired, which is to be written
/// although the limit denies.
pub fn decide(shard: &mut Shard, checks: &mut [Check], now: Now) -> bool {
    let mut repaired = false;
    for check in checks {
        let mut kept = shard.get(check.key, now);
        if let Some(slot) = kept.and_then(|slot| check.rate.repaired(slot, now)) {
            shard.put(check.key, slot, now, &[]);
            (kept, repaired) = (Some(slot), true);
        }
        check.verdict = match check.rate.take(kept, now, check.cost) {
            Ok(slot) if check.charges => Verdict::Allowed(slot, check.rate.left(Some(slot), now)),
            Ok(slot) => Verdict::Allowed(slot, check.rate.left(kept, now)),
            Err(denied) => Verdict::Denied(denied, check.rate.left(kept, now)),
        };
    }
    repaired
}

/// Writes what those that allowed it keep; returns how many other entries had to go.
pub fn apply(shard: &mut Shard, checks: &[Check], now: Now) -> u32 {
    let slots = checks.iter().filter(|check| check.charges).filter_map(|check| match check.verdict {
        Verdict::Allowed(slot, _) => Some((check.key, slot)),
        _ => None,
    });
    put(shard, checks, slots, now)
}

/// Charges, whatever is left.
pub fn charge(shard: &mut Shard, checks: &mut [Check], now: Now) -> u32 {
    let mut slots = Vec::new();
    for check in checks.iter_mut() {
        if let Some(slot) = check.rate.charge(shard.get(check.key, now), now, check.cost) {
            check.verdict = Verdict::Allowed(slot, check.rate.left(Some(slot), now));
            slots.push((check.key, slot));
        }
    }
    put(shard, checks, slots.into_iter(), now)
}

/// Takes charges back. What is no longer there needs none.
pub fn refund(shard: &mut Shard, checks: &[Check], now: Now) {
    for check in checks.iter().filter(|check| check.writes()) {
        if let Some(slot) =
            shard.get(check.key, now).and_then(|slot| check.rate.refund(slot, now, check.cost))
        {
            shard.put(check.key, slot, now, &[]);
        }
    }
}

fn put(shard: &mut Shard, checks: &[Check], slots: impl Iterator<Item = (u64, Slot)>, now: Now) -> u32 {
    let mut spared = Vec::new();
    if checks.len() > 1 {
        spared.extend(checks.iter().map(|check| check.key));
    }
    slots.map(|(key, slot)| u32::from(shard.put(key, slot, now, &spared))).fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NOW: Now = Now { monotonic: 100 * SECOND, wall: 8000 * SECOND };

    fn check(key: u64, requests: u64) -> Check {
        Check {
            limit: 0,
            rate: Rate::gcra(requests, 60 * SECOND, requests).unwrap(),
            shard: 0,
            key,
            cost: 1,
            charges: true,
            enforce: true,
            verdict: Verdict::Open,
        }
    }

    #[test]
    fn what_is_only_asked_for_is_not_written() {
        let mut shard = Shard::default();
        let mut checks = [Check { charges: false, ..check(1, 1) }];
        decide(&mut shard, &mut checks, NOW);
        assert!(!checks[0].stops() && !checks[0].writes());
        assert_eq!(apply(&mut shard, &checks, NOW), 0);
        assert_eq!(shard, Shard::default());
    }

    #[test]
    fn a_debt_stops_the_next_request() {
        let mut shard = Shard::default();
        let mut checks = [Check { charges: false, ..check(1, 2) }];
        charge(&mut shard, &mut [Check { cost: 3, ..check(1, 2) }], NOW);
        decide(&mut shard, &mut checks, NOW);
        assert!(checks[0].stops());
    }

    #[test]
    fn a_limit_in_the_shadow_stops_nothing_and_is_not_charged_beyond_itself() {
        let mut shard = Shard::default();
        let mut checks = [Check { enforce: false, ..check(1, 1) }, check(2, 10)];
        for left in [9, 8, 7] {
            decide(&mut shard, &mut checks, NOW);
            assert!(!checks[0].stops() && checks[1].writes());
            apply(&mut shard, &checks, NOW);
            assert_eq!(checks[1].rate.left(shard.get(2, NOW), NOW).remaining, left);
        }
        assert!(matches!(checks[0].verdict, Verdict::Denied(..)));
    }

    #[test]
    fn a_refund_undoes_what_was_written() {
        let mut shard = Shard::default();
        let mut checks = [check(1, 5), Check { charges: false, ..check(2, 5) }];
        decide(&mut shard, &mut checks, NOW);
        apply(&mut shard, &checks, NOW);
        refund(&mut shard, &checks, NOW);
        assert_eq!(checks[0].rate.left(shard.get(1, NOW), NOW).remaining, 5);
        assert_eq!(shard.get(2, NOW), None);
    }
}
