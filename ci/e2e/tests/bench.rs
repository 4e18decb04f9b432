//! What the benchmark measures does what it says: every variant of every plugin, and what it is compared with.

use bench::smoke::smoke;
use bench::subject::groups;

#[test]
fn everything_that_is_measured_does_the_same_as_what_it_is_compared_with() {
    let smoke = smoke(&groups(&[]).unwrap()).unwrap();
    assert!(smoke.failures.is_empty(), "{smoke}");
    println!("{smoke}");
}
