//! A plugin that is not about bodies leaves them alone.

use e2e::Stage;
use harness::{Message, Reply};

const MEBIBYTE: usize = 1 << 20;

#[test]
fn a_mebibyte_passes_both_ways_byte_for_byte() {
    let stage = Stage::set().unwrap();
    let up = noise(1);
    let down = noise(2);
    for scene in &stage.scenes {
        for client in [stage.client(scene), stage.http2_client(scene)] {
            let message =
                Message { method: "POST".into(), body: Some(up.clone().into()), ..scene.welcome.clone() };
            let reply = Reply { body: down.clone().into(), ..Reply::default() };
            let seen = stage.exchange(&client, &message, reply).unwrap();
            let upstream = seen.upstream.unwrap_or_else(|| panic!("{}: not reached", scene.name));
            assert!(upstream.body == up, "{}: another body went up", scene.name);
            assert!(seen.response.body == down, "{}: another body came down", scene.name);
        }
    }
    stage.check_alive().unwrap();
}

/// Every byte value, in no order.
fn noise(seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..MEBIBYTE).map(|_| next()).collect()
}
