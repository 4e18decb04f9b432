//! Whatever strangers send is read without a panic. More cases take `PROPTEST_CASES=200000`.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]

use plugin_kit::hostile::{
    addresses, claim, configuration, cookie_line, escapes, field, parameters, path_template, pattern,
    template,
};
// It defines the hostcalls.
use plugin_testkit as _;
use proptest::collection::vec;
use proptest::prelude::*;

type Target = fn(&[u8]) -> bool;

/// The fuzz targets; each has its corpus.
const TARGETS: [(&str, Target); 10] = [
    ("addresses", addresses),
    ("claim", claim),
    ("configuration", configuration),
    ("cookie_line", cookie_line),
    ("escapes", escapes),
    ("field", field),
    ("parameters", parameters),
    ("path_template", path_template),
    ("pattern", pattern),
    ("template", template),
];

/// Text of which any of them could make something.
const MEANINGFUL: &str = "([a-z0-9/{}=*%&?#;,.:+$|\\[\\]()\"\\\\^ \n-]|\\$\\{[a-z:]{0,12}\\}|%[0-9a-f]{2}|::|\\{[a-z]=?\\*{0,2}\\}|127\\.0\\.0\\.1|2001:db8::|\"[a-z]{0,8}\":|[0-9]{1,20}(ms|[smhd])?){0,40}";

fn check(bytes: &[u8]) -> Result<(), TestCaseError> {
    for (name, target) in TARGETS {
        prop_assert!(target(bytes), "{}", name);
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..300)) {
        check(&bytes)?;
    }

    #[test]
    fn what_means_something(text in MEANINGFUL) {
        check(text.as_bytes())?;
    }

    #[test]
    fn templates_and_paths(template in "(/([a-z]{0,2}|\\{[a-c]\\}|\\{r=\\*\\*\\})){1,4}", path in "(/[a-z%2e.]{0,3}){0,6}") {
        check(format!("{template}\n{path}").as_bytes())?;
    }
}

#[test]
fn what_the_fuzzer_kept_is_still_read() {
    for (name, target) in TARGETS {
        let corpus = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
        let files = std::fs::read_dir(&corpus).unwrap_or_else(|error| panic!("{corpus}: {error}"));
        let mut inputs = 0;
        for file in files {
            let path = file.unwrap().path();
            assert!(target(&std::fs::read(&path).unwrap()), "{}", path.display());
            inputs += 1;
        }
        assert!(inputs > 0, "{corpus} is empty");
    }
}
