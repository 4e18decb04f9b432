//! Shared data that other plugins, other versions or other configurations wrote, and clocks that fail.

use super::*;

/// A bucket with one entry for `key`, as the plugin writes it.
fn bucket(key: &[u8], until: u64, kind: u8, response: &[u8]) -> Vec<u8> {
    let length = u32::try_from(response.len()).unwrap().to_le_bytes();
    [&[1][..], key, &until.to_le_bytes(), &[kind], &length, response].concat()
}

/// One bucket only, so that the request of a test meets what the test wrote.
fn one_bucket() -> Value {
    config(json!({"cache": {"ttl": "30s", "denyTtl": "5s", "entries": 4}}))
}

/// The key of the table's bucket in shared data, and the key of alice's entry.
fn keys(envoy: &Envoy) -> (String, Vec<u8>) {
    let _in_flight = envoy.request(of("alice"));
    let name = envoy.shared_data().keys().pop().unwrap();
    let entry = envoy.shared_data().get(&name).unwrap();
    answer(envoy, Response::new(500));
    (name, entry[1..33].to_vec())
}

/// When it is now on the monotonic clock of the testkit, in nanoseconds.
fn now(envoy: &Envoy) -> u64 {
    u64::try_from(envoy.within(|| plugin_kit::clock::monotonic().unwrap()).as_nanos()).unwrap()
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn bytes_that_are_no_bucket_are_missing_at_once() {
    let envoy = start(one_bucket());
    let (name, key) = keys(&envoy);
    let good = bucket(&key, now(&envoy) + SECOND, 2, b"\0\0\0\0\0\0\0\0\0");
    let mut values = vec![vec![], vec![0; 64], vec![0xff; 64], vec![0; 1 << 16], vec![0xff; 1 << 16]];
    values.extend((0..good.len()).map(|end| good[..end].to_vec()));
    // Of another version of the format.
    values.push([&[0], &good[1..]].concat());
    values.push([&[2], &good[1..]].concat());
    values.push([&good[..], &good[1..], &good[1..], &good[1..], &good[1..]].concat());
    for value in values {
        envoy.shared_data().set(&name, &value);
        let stream = envoy.request(of("alice"));
        answer(&envoy, allow("alice"));
        assert_eq!(user(&stream), ["alice"], "{}", value.escape_ascii());
        envoy.shared_data().set(&name, []);
    }
}

#[test]
fn a_response_that_cannot_be_read_is_missing_at_once() {
    let envoy = start(one_bucket());
    let (name, key) = keys(&envoy);
    let denial = |status: u16| [&[1][..], &status.to_le_bytes(), &[0; 4]].concat();
    let mut responses = vec![
        vec![],
        vec![0],
        vec![1],
        vec![2; 40],
        vec![0xff; 40],
        vec![0; 8],
        [vec![0], vec![0xff; 8]].concat(),
    ];
    responses.extend([0, 99, 200, 299, 500, 600, u16::MAX].map(denial));
    for response in responses {
        envoy.shared_data().set(&name, bucket(&key, now(&envoy) + SECOND, 2, &response));
        let streams = [envoy.request(of("alice")), envoy.request(of("alice"))];
        assert_eq!(envoy.calls().len(), 1, "one request calls for both: {}", response.escape_ascii());
        answer(&envoy, allow("alice"));
        assert!(streams.iter().all(|stream| user(stream) == ["alice"]));
    }
}

#[test]
fn no_entry_lasts_longer_than_this_configuration_writes_it() {
    for (kind, most) in [(0, TIMEOUT), (1, Duration::from_secs(1)), (2, Duration::from_secs(30))] {
        let most = u64::try_from(most.as_nanos()).unwrap() + SECOND;
        let response: &[u8] = if kind == 2 { b"\0\0\0\0\0\0\0\0\0" } else { b"" };
        let envoy = start(one_bucket());
        let (name, key) = keys(&envoy);
        for until in [now(&envoy) + most + 1, u64::MAX - 1, u64::MAX] {
            envoy.shared_data().set(&name, bucket(&key, until, kind, response));
            let streams = [envoy.request(of("alice")), envoy.request(of("alice"))];
            assert_eq!(envoy.calls().len(), 1, "one request calls for both: {kind} {until}");
            answer(&envoy, allow("alice"));
            assert!(streams.iter().all(|stream| user(stream) == ["alice"]), "{kind} {until}");
            assert_eq!(
                user(&envoy.request(of("alice"))),
                ["alice"],
                "and its response is cached: {kind} {until}"
            );
        }
    }
}

#[test]
fn a_forged_call_in_flight_holds_a_key_for_the_timeout_and_a_second() {
    let envoy = start(one_bucket());
    let (name, key) = keys(&envoy);
    let until = now(&envoy) + u64::try_from(TIMEOUT.as_nanos()).unwrap() + SECOND;
    envoy.shared_data().set(&name, bucket(&key, until, 0, b""));
    let stream = envoy.request(of("alice"));
    assert!(envoy.calls().is_empty());
    envoy.advance(TIMEOUT + MILLISECOND * 5);
    assert_eq!(envoy.call().timeout, TIMEOUT);
    answer(&envoy, allow("alice"));
    assert_eq!(user(&stream), ["alice"]);
    envoy.shared_data().set(&name, bucket(&key, until, 0, b""));
    envoy.advance(Duration::from_secs(1));
    let _first = envoy.request(of("alice"));
    assert_eq!(envoy.calls().len(), 1);
}

#[test]
fn a_bucket_full_of_forged_entries_is_usable_at_once() {
    let envoy = start(one_bucket());
    let (name, _) = keys(&envoy);
    for kind in 0..3 {
        let forged = (1..=4_u8).flat_map(|key| bucket(&[key; 32], u64::MAX, kind, b"").split_off(1));
        envoy.shared_data().set(&name, [1].into_iter().chain(forged).collect::<Vec<u8>>());
        let users = ["alice", "bob", "carol", "dave"];
        for name in users {
            let _stream = envoy.request(of(name));
            answer(&envoy, allow(name));
        }
        assert!(users.iter().all(|name| user(&envoy.request(of(name))) == [*name]), "{kind}");
    }
}

#[test]
fn while_the_clock_fails_nothing_cached_is_used_and_each_request_calls() {
    let envoy = start(cached());
    let _first = envoy.request(of("alice"));
    answer(&envoy, allow("alice"));
    let mallory = envoy.request(of("mallory"));
    answer(&envoy, Response::new(403));
    assert_eq!(denied(&mallory).0, 403);
    assert_eq!(user(&envoy.request(of("alice"))), ["alice"]);
    envoy.fail_clocks();
    for _ in 0..3 {
        let streams = [envoy.request(of("alice")), envoy.request(of("alice"))];
        assert_eq!(envoy.calls().len(), 2);
        answer(&envoy, Response::new(403));
        answer(&envoy, Response::new(403));
        assert!(streams.iter().all(|stream| denied(stream).0 == 403));
    }
    let stream = envoy.request(of("mallory"));
    envoy.advance(TIMEOUT);
    assert_eq!(denied(&stream), (503, "ext_auth_failed{timeout}".into()));
}

#[test]
fn no_request_passes_without_its_own_call_because_the_clock_fails() {
    let service = json!({
        "cluster": CLUSTER, "forwardAuth": {"path": "/"}, "breaker": {"failures": 1, "openFor": "1h"},
    });
    for failure in ["allow", "deny"] {
        let config = config(json!({"service": service, "failure": failure, "cache": {"ttl": "30s"}}));
        let envoy = start(config);
        envoy.fail_clocks();
        for _ in 0..10 {
            let stream = envoy.request(of("alice"));
            assert_eq!(envoy.call().timeout, TIMEOUT, "{failure}");
            envoy.fail_call(envoy.call().token);
            assert_eq!(stream.upstream().is_some(), failure == "allow");
        }
    }
}

#[test]
fn a_request_that_waits_when_the_clock_fails_makes_its_own_call() {
    let one = start(cached());
    let two = beside(&one, cached());
    let _leader = one.request(of("alice"));
    let stream = two.request(of("alice"));
    two.fail_clocks();
    two.advance(MILLISECOND * 5);
    answer(&two, allow("alice"));
    assert_eq!(user(&stream), ["alice"]);
}
