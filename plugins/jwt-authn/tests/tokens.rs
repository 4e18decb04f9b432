//! The tokens in `cases.yaml` and `tour.yaml`: what they say can be read here, and they cannot be anything else.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used
)]

mod signer;

use std::collections::BTreeMap;

/// 2100-01-01.
const FAR: &str = r#""exp":4102444800"#;
const ISSUER: &str = r#""iss":"https://issuer.example.com""#;
const AUDIENCE: &str = r#""aud":"orders-api""#;

fn tokens() -> BTreeMap<&'static str, String> {
    let good = format!("{ISSUER},{AUDIENCE},{FAR}");
    let user = format!(
        r#"{{{good},"sub":"alice","scope":"orders.read","realm_access":{{"roles":["user"]}},"id":12345678901234567890123,"kubernetes.io":{{"namespace":"shop"}},"groups":["a,b","c"]}}"#
    );
    let claims = |claims: &str| format!("{{{claims}}}");
    let mut tokens = BTreeMap::from([
        (
            "admin",
            signer::token(
                "ES256",
                claims(&format!(
                    r#"{good},"sub":"root","scp":["orders.read","orders.write"],"realm_access":{{"roles":["admin","user"]}}"#
                )),
            ),
        ),
        (
            "expired",
            signer::token("ES256", claims(&format!(r#"{ISSUER},{AUDIENCE},"exp":1600000000,"sub":"alice""#))),
        ),
        ("early", signer::token("ES256", claims(&format!(r#"{good},"sub":"alice","nbf":4102444000"#)))),
        (
            "issuer",
            signer::token(
                "ES256",
                claims(&format!(r#"{AUDIENCE},{FAR},"sub":"alice","iss":"https://issuer.example.com/""#)),
            ),
        ),
        (
            "audience",
            signer::token("ES256", claims(&format!(r#"{ISSUER},{FAR},"sub":"alice","aud":["orders-api2"]"#))),
        ),
        ("endless", signer::token("ES256", claims(&format!(r#"{ISSUER},{AUDIENCE},"sub":"alice""#)))),
        ("nobody", signer::token("ES256", claims(&good))),
        ("splitting", signer::token("ES256", claims(&format!(r#"{good},"sub":"alice\r\nx-admin: 1""#)))),
        ("unknown-kid", signer::with_header("ES256", r#"{"alg":"ES256","kid":"p257"}"#, &user)),
        ("critical", signer::with_header("ES256", r#"{"alg":"ES256","kid":"p256","crit":["exp"]}"#, &user)),
        ("none", signer::with_header("none", r#"{"alg":"none"}"#, &user) + "AA"),
        (
            "access",
            signer::with_header("ES256", r#"{"alg":"ES256","kid":"p256","typ":"application/at+jwt"}"#, &user),
        ),
        ("confused", signer::with_header("HS256", r#"{"alg":"HS256","kid":"p256"}"#, &user)),
    ]);
    for algorithm in signer::ASYMMETRIC.into_iter().chain(["HS256", "HS384", "HS512"]) {
        tokens.insert(algorithm, signer::token(algorithm, &user));
    }
    let tampered = format!("{}A", &tokens["RS256"][..tokens["RS256"].len() - 1]);
    tokens.insert("tampered", tampered.replace("..", "."));
    tokens
}

#[test]
fn every_token_of_the_files_is_one_of_these() {
    let tokens = tokens();
    for file in ["cases.yaml", "tour.yaml"] {
        let text = std::fs::read_to_string(format!("{}/tests/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let is_in_token = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        let found = text.match_indices("eyJ").filter(|(at, _)| !text[..*at].ends_with(is_in_token));
        let mut count = 0;
        for (at, _) in found {
            let token: String = text[at..].chars().take_while(|character| is_in_token(*character)).collect();
            // A pattern for a payload is none.
            if !token.contains('.') {
                continue;
            }
            assert!(tokens.values().any(|known| *known == token), "{file}: {token} is not made here");
            count += 1;
        }
        assert!(count > 0, "{file}");
    }
}

/// `cargo test -p jwt-authn --test tokens -- --ignored --nocapture` prints them all.
#[test]
#[ignore = "prints the tokens for whoever writes a case"]
fn print() {
    for (name, token) in tokens() {
        println!("token {name} {token}");
    }
}
