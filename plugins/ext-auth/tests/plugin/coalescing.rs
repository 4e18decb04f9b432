//! Requests that wait for the call of another one.

use super::*;

const WAITING: usize = 4096;

fn reads(envoy: &Envoy) -> usize {
    envoy.take_hostcalls().iter().filter(|call| call.starts_with("shared.get")).count()
}

#[test]
fn a_response_that_cannot_be_shared_leads_to_calls_with_a_full_timeout() {
    let envoy = start(cached());
    let redirect = || Response::new(302).header("location", "/login");
    let streams: Vec<Stream> = (0..8).map(|_| envoy.request(of("alice"))).collect();
    envoy.advance(MILLISECOND * 200);
    answer(&envoy, redirect());
    envoy.advance(MILLISECOND);
    let calls = envoy.calls();
    assert!(calls.len() == 7 && calls.iter().all(|call| call.timeout == TIMEOUT), "{calls:?}");
    envoy.advance(MILLISECOND * 200);
    calls.iter().for_each(|call| envoy.answer(call.token, redirect()));
    assert!(streams.iter().all(|stream| denied(stream) == (302, "ext_auth_denied".into())));
}

#[test]
fn a_failed_call_decides_for_its_own_request_only() {
    type Way = fn(&Envoy);
    let ways: [Way; 4] = [
        |envoy| envoy.reset_call(envoy.call().token),
        |envoy| envoy.fail_call(envoy.call().token),
        |envoy| answer(envoy, Response::new(500)),
        |envoy| envoy.advance(envoy.call().timeout),
    ];
    for fail in ways {
        let envoy = start(cached());
        let first = envoy.request(of("alice"));
        envoy.advance(MILLISECOND);
        let others: Vec<Stream> = (0..3).map(|_| envoy.request(of("alice"))).collect();
        fail(&envoy);
        assert_eq!(denied(&first).0, 503);
        assert!(others.iter().all(Stream::is_paused));
        envoy.advance(MILLISECOND);
        let calls = envoy.calls();
        assert!(!calls.is_empty() && calls.iter().all(|call| call.timeout == TIMEOUT), "{calls:?}");
        calls.iter().for_each(|call| envoy.answer(call.token, allow("alice")));
        assert!(others.iter().all(|stream| user(stream) == ["alice"]));
    }
}

#[test]
fn a_failed_call_hands_over_to_one_of_those_that_wait() {
    let envoy = start(cached());
    let first = envoy.request(of("alice"));
    let others: Vec<Stream> = (0..3).map(|_| envoy.request(of("alice"))).collect();
    answer(&envoy, Response::new(500));
    assert_eq!(denied(&first).0, 503);
    envoy.advance(MILLISECOND);
    answer(&envoy, Response::new(500));
    assert_eq!(others.iter().filter(|stream| stream.is_paused()).count(), 2, "one call, one request");
    envoy.advance(MILLISECOND);
    assert_eq!(envoy.calls().len(), 1);
}

#[test]
fn a_request_waits_for_others_for_one_timeout_and_then_calls() {
    let one = start(cached());
    let two = beside(&one, cached());
    let _never_answered = one.request(of("alice"));
    two.advance(MILLISECOND * 100);
    let stream = two.request(of("alice"));
    two.advance(TIMEOUT - MILLISECOND);
    let call = two.call();
    assert_eq!(call.timeout, TIMEOUT);
    two.advance(MILLISECOND * 6);
    assert!(stream.is_paused());
    two.advance(TIMEOUT);
    assert_eq!(denied(&stream), (503, "ext_auth_failed{timeout}".into()));
}

#[test]
fn waiting_costs_one_read_per_key_and_tick_however_many_requests_wait() {
    let one = start(cached());
    let two = beside(&one, cached());
    let _leaders = ["alice", "bob"].map(|user| one.request(of(user)));
    let streams: Vec<Stream> =
        (0..3000).map(|number| two.request(of(["alice", "bob"][number % 2]))).collect();
    two.advance(MILLISECOND * 5);
    two.take_hostcalls();
    two.advance(MILLISECOND * 50);
    let reads = reads(&two);
    assert!(reads <= 2 * 10, "{reads} reads in 10 ticks");
    assert!(two.calls().is_empty());
    answer(&one, allow("alice"));
    answer(&one, allow("bob"));
    two.advance(MILLISECOND * 5);
    assert!(
        streams.iter().enumerate().all(|(number, stream)| user(stream) == [["alice", "bob"][number % 2]])
    );
}

#[test]
fn waiting_for_a_call_of_the_same_worker_costs_nothing() {
    let envoy = start(cached());
    let streams: Vec<Stream> = (0..3000).map(|_| envoy.request(of("alice"))).collect();
    envoy.take_hostcalls();
    envoy.advance(TIMEOUT - MILLISECOND);
    assert!(envoy.hostcalls().len() < 8, "{:?}", envoy.hostcalls());
    answer(&envoy, allow("alice"));
    assert!(streams.iter().all(|stream| user(stream) == ["alice"]));
}

#[test]
fn a_tick_looks_for_a_bounded_number_of_keys() {
    const KEYS: usize = 1000;
    let config = config(json!({"cache": {"ttl": "30s", "entries": 1 << 20}}));
    let one = start(config.clone());
    let two = beside(&one, config);
    let users: Vec<String> = (0..KEYS).map(|number| number.to_string()).collect();
    let _leaders: Vec<Stream> = users.iter().map(|user| one.request(of(user))).collect();
    let streams: Vec<Stream> = users.iter().map(|user| two.request(of(user))).collect();
    two.take_hostcalls();
    two.advance(MILLISECOND * 5);
    let reads = reads(&two);
    assert!(reads <= 128, "{reads}");
    one.calls().iter().for_each(|call| one.answer(call.token, allow("somebody")));
    two.advance(MILLISECOND * 5 * 9);
    assert!(streams.iter().all(|stream| user(stream) == ["somebody"]));
}

#[test]
fn beyond_the_bound_requests_call_the_service_themselves() {
    let envoy = start(cached());
    let waiting: Vec<Stream> = (0..=WAITING).map(|_| envoy.request(of("alice"))).collect();
    assert_eq!(envoy.calls().len(), 1);
    let one_more = envoy.request(of("alice"));
    let other = envoy.request(of("bob"));
    assert_eq!(envoy.calls().len(), 3);
    assert_eq!(total(&envoy, "uncoalesced_total"), 1);
    answer(&envoy, allow("alice"));
    assert!(waiting.iter().all(|stream| user(stream) == ["alice"]));
    assert!(one_more.is_paused() && other.is_paused());
}
