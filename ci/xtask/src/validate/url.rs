//! Where a module comes from, and what pins it.

use crate::validate::shape::{At, Findings};

const SCHEMES: [&str; 4] = ["oci", "file", "http", "https"];

/// What stands where a digest will stand after the first release.
pub const UNRELEASED: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// `url` and `sha256` of a WasmPlugin's or TrafficExtension's module.
pub fn check(part: &At, findings: &mut Findings) {
    let sha256 = part.get("sha256").and_then(|sha256| {
        let text = sha256.text(findings)?;
        if !text.is_empty() && !is_sha256(text) {
            findings.error(&sha256.path, format!("{text:?} must be 64 lower case hexadecimal digits"));
        }
        Some(text)
    });
    let Some(url) = part.get("url") else {
        findings.error(format!("{}.url", part.path), "is missing");
        return;
    };
    let Some(text) = url.sized(1, usize::MAX, findings) else { return };
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (scheme, rest),
        None => ("", text),
    };
    if scheme.is_empty() {
        if rest.split('/').next().is_some_and(|host| host.contains(':')) {
            findings.error(
                &url.path,
                format!("what is before ':' in {text:?} is read as a scheme; write oci://{text}"),
            );
            return;
        }
        findings.warn(&url.path, format!("has no scheme, which means oci; write oci://{text}"));
    } else if !SCHEMES.contains(&scheme) {
        findings.error(&url.path, format!("{scheme:?} is not one of {}", SCHEMES.join(", ")));
        return;
    }
    match scheme {
        "oci" | "" => image(&url, rest, sha256, findings),
        "file" if sha256.is_some_and(|sha256| !sha256.is_empty()) => {
            findings.warn(format!("{}.sha256", part.path), "is not checked for file://");
        }
        "http" | "https" if sha256.is_none_or(str::is_empty) => {
            findings.warn(&url.path, "has no sha256 beside it: whatever is served there is run");
        }
        _ => {}
    }
}

fn image(url: &At, image: &str, sha256: Option<&str>, findings: &mut Findings) {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let hex = digest.and_then(|digest| digest.strip_prefix("sha256:"));
    if let Some(digest) = digest
        && !hex.is_some_and(is_sha256)
    {
        findings.error(&url.path, format!("{digest:?} must be sha256: and 64 lower case hexadecimal digits"));
        return;
    }
    if let (Some(hex), Some(sha256)) = (hex, sha256.filter(|sha256| !sha256.is_empty()))
        && hex != sha256
    {
        findings.error(&url.path, "the digest is not the one in sha256; the agent refuses the image");
    }
    let pinned = hex.or(sha256.filter(|sha256| !sha256.is_empty()));
    if pinned == Some(UNRELEASED) {
        findings.warn(&url.path, "is not released yet: the digest is a placeholder, which no registry has");
    } else if pinned.is_none() && name.ends_with(":latest") {
        findings.warn(&url.path, "`:latest` changes under you; name a version and its digest, @sha256:…");
    }
}

/// Whether the image of this document is pinned.
pub fn is_pinned(part: &At) -> bool {
    let text = |field: &str| part.get(field).and_then(|value| value.value.as_str()).unwrap_or_default();
    text("url").contains("@sha256:") || !text("sha256").is_empty() || text("url").starts_with("file://")
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}
