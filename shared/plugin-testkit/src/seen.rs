//! Reading the header lines of what was seen.

use plugin_cases::{SeenRequest, SeenResponse};

use crate::host::{Call, LocalReply};

/// What has header lines.
pub trait Headers {
    /// Every line in order, names in lower case.
    fn header_lines(&self) -> &[(String, Vec<u8>)];

    /// The values of the lines of one header, as text.
    fn lines(&self, name: &str) -> Vec<String> {
        let lines = self.header_lines().iter().filter(|(line, _)| line.eq_ignore_ascii_case(name));
        lines.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
    }

    /// The first line of one header, as it is.
    fn header(&self, name: &str) -> Option<&[u8]> {
        let line = self.header_lines().iter().find(|(line, _)| line.eq_ignore_ascii_case(name));
        line.map(|(_, value)| value.as_slice())
    }
}

macro_rules! headers {
    ($($type:ty),*) => {
        $(impl Headers for $type {
            fn header_lines(&self) -> &[(String, Vec<u8>)] {
                &self.headers
            }
        })*
    };
}

headers!(SeenRequest, SeenResponse, LocalReply, Call);
