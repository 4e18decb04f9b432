//! Sorting the few limits of a request. (Each type that the standard library sorts costs 5 KiB.)

/// Sorts by a key; equal ones stay in order. For a handful of items.
pub fn by_key<T, K: Ord>(items: &mut [T], key: impl Fn(&T) -> K) {
    for end in 1..items.len() {
        for at in (1..=end).rev() {
            let before = at.saturating_sub(1);
            let (Some(one), Some(other)) = (items.get(before), items.get(at)) else { return };
            if key(one) <= key(other) {
                break;
            }
            items.swap(before, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_items_stay_in_order() {
        let mut items = [(3, 'a'), (1, 'b'), (2, 'c'), (1, 'd'), (3, 'e'), (0, 'f')];
        by_key(&mut items, |(key, _)| *key);
        assert_eq!(items, [(0, 'f'), (1, 'b'), (1, 'd'), (2, 'c'), (3, 'a'), (3, 'e')]);
        by_key(&mut [0; 0], |key| *key);
    }
}
