//! Whatever strangers send is read without a panic, and no dangerous path passes. More cases take `PROPTEST_CASES=200000`.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use path_rewrite::config::Safety;
use path_rewrite::hostile::safety;
// It defines the hostcalls.
use plugin_testkit as _;
use proptest::collection::vec;
use proptest::prelude::*;
use url::Url;

/// Pieces of which dangerous paths are made.
const PATH_LIKE: &str = "([./\\\\;%a25eEfFcC0]|%2e|%2E|%2f|%5c|%25|%00|\\.\\.|//| |\"|#|\\?|<|\\||阳){0,24}";

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert!(safety(&bytes));
    }

    #[test]
    fn what_looks_like_a_path(text in PATH_LIKE) {
        prop_assert!(safety(text.as_bytes()));
    }

    /// A browser's parser (WHATWG URL) has nothing to normalise, and stays on the host.
    #[test]
    fn a_browser_reads_a_safe_path_as_it_is(text in PATH_LIKE) {
        if let Ok(path) = Safety::default().path(text.as_bytes()) {
            let path = String::from_utf8(path).unwrap();
            // A question mark would begin a query; rules are applied to the path alone.
            let path = path.replace('?', "%3F");
            let base = Url::parse("http://shop.example.com/a/b").unwrap();
            let url = base.join(&path).unwrap();
            prop_assert_eq!(url.path(), path);
            prop_assert_eq!(url.host_str(), Some("shop.example.com"));
        }
    }
}

#[test]
fn what_the_fuzzer_kept_is_still_read() {
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/safety");
    let files: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|file| file.unwrap().path()).collect();
    assert!(!files.is_empty(), "{corpus} is empty");
    for path in files {
        assert!(safety(&std::fs::read(&path).unwrap()), "{}", path.display());
    }
}
