//! Origins as a browser sends them: another spelling would never match.
use deserr::Deserr;
use intake::origin_of;
use serde::Serialize;
use shared::fields::Invalid;
use shared::inline_schema;
use url::Origin as UrlOrigin;

/// Origins in one list.
const MAX_ORIGINS: usize = 20;
/// Characters of an origin: a host name of 253, the scheme and a port.
const MAX_ORIGIN_CHARS: usize = 267;
/// Nearly the rule: the pattern also allows a usual port and unusual spellings of an IP address, which are refused.
const ORIGIN: &str = "^(https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?|http://localhost)(:[1-9][0-9]{0,4})?$";

/// At most 20 origins, without repetitions.
#[derive(Debug, Deserr, Serialize)]
#[deserr(try_from(Vec<Origin>) = Origins::parse -> Invalid)]
pub(crate) struct Origins(Vec<Origin>);

inline_schema!(Origins, {
    "type": "array",
    "maxItems": MAX_ORIGINS,
    "items": { "type": "string", "maxLength": MAX_ORIGIN_CHARS, "pattern": ORIGIN },
});

impl Origins {
    fn parse(mut origins: Vec<Origin>) -> Result<Self, Invalid> {
        if origins.len() > MAX_ORIGINS {
            return Err(Invalid::because(format!("must have at most {MAX_ORIGINS} origins")));
        }
        origins.sort_unstable();
        origins.dedup();
        Ok(Self(origins))
    }
}

impl From<Origins> for Vec<String> {
    fn from(origins: Origins) -> Self {
        origins.0.into_iter().map(|origin| origin.0).collect()
    }
}

/// `https://www.example.no` or `https://www.example.no:8443`; `http` only for localhost.
#[derive(Debug, Deserr, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[deserr(try_from(String) = Origin::parse -> Invalid)]
struct Origin(String);

impl Origin {
    fn parse(text: String) -> Result<Self, Invalid> {
        let is_allowed = |origin: UrlOrigin| {
            let UrlOrigin::Tuple(scheme, host, _) = &origin else { return false };
            let host = host.to_string();
            let is_safe = scheme == "https" || host == "localhost";
            let is_plain = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte));
            is_safe && is_plain && origin.ascii_serialization() == text
        };
        let is_short = text.chars().count() <= MAX_ORIGIN_CHARS;
        if is_short && origin_of(&text).is_some_and(is_allowed) {
            return Ok(Self(text));
        }
        Err(Invalid::because(
            "must be an origin as a browser sends it, such as https://www.example.no: in lower case, \
             without a path, a wildcard or a usual port, and with http for localhost alone",
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use url::Url;

    use super::*;

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for good in [
            "https://a.example",
            "https://www.xn--bl-yia.example",
            "https://a.example:8443",
            "https://10.0.0.7",
            "http://localhost",
            "http://localhost:3000",
            "https://localhost:3000",
        ] {
            assert_eq!(Origin::parse(good.to_owned()).map(|origin| origin.0).as_deref(), Ok(good));
        }
        for bad in [
            "",
            "*",
            "null",
            "a.example",
            "//a.example",
            "https://",
            "https://*",
            "https://*.a.example",
            "https://a.example/",
            "https://a.example/takk",
            "https://a.example?x",
            "https://a.example#x",
            "https://a.example:443",
            "https://a.example:",
            "https://a.example:0443",
            "https://a.example:99999",
            "https://A.example",
            "HTTPS://a.example",
            " https://a.example",
            "https://a.example\n",
            "https://a:b@a.example",
            "https://blå.example",
            "https://[::1]:3000",
            "https://0x7f.1",
            "http://a.example",
            "http://localhost.a.example",
            "http://127.0.0.1:3000",
            "ftp://localhost",
            "file:///",
            "javascript:alert(1)",
            "https://a.example,https://b.example",
        ] {
            assert!(Origin::parse(bad.to_owned()).is_err(), "{bad}");
        }
        let long = format!("https://{}", "a.".repeat(130));
        assert!(Origin::parse(long).is_err());
    }

    proptest! {
        #[test]
        fn whatever_passes_is_read_as_itself_and_has_no_path(
            text in "(https?|ftp)://(localhost|[a-zA-Z0-9*._-]{1,12})(:[0-9]{1,6})?(/[a-z]{0,3})?|\\PC{0,40}",
        ) {
            if let Ok(Origin(origin)) = Origin::parse(text.clone()) {
                prop_assert_eq!(&origin, &text);
                prop_assert_eq!(Url::parse(&origin).unwrap().origin().ascii_serialization(), text);
                prop_assert!(!origin[8..].contains(['/', '*', '@', '?', '#', ' ']));
            }
        }

        #[test]
        fn a_host_with_or_without_an_unusual_port_passes(host in "[a-z][a-z0-9]{0,8}(\\.[a-z][a-z0-9]{0,8}){1,3}", port in 1..443u16) {
            let passes = |text: String| Origin::parse(text).is_ok();
            let (usual, own) = (passes(format!("https://{host}")), passes(format!("https://{host}:{port}")));
            prop_assert!(usual && own, "{}", host);
            let plain = passes(format!("http://{host}"));
            prop_assert!(!plain, "{}", host);
        }
    }
}
