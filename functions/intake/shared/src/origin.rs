//! The origin of an address.
use url::{Origin, Url};

/// The origin of an `http` or `https` address: `https://a.example:8443` of `https://a.example:8443/thanks?x`.
///
/// `None` unless the address begins with its origin as a browser writes it. So an address with a user name, another
/// spelling of the host or the scheme's usual port has none, and neither has one with a character that is not visible
/// ASCII, or with a backslash. An address that has an origin can be put into a `Location` header as it is.
#[must_use]
pub fn origin_of(address: &str) -> Option<Origin> {
    let is_plain = address.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let url = Url::parse(address).ok().filter(|url| is_plain && matches!(url.scheme(), "http" | "https"))?;
    let origin = url.origin();
    let rest = address.strip_prefix(origin.ascii_serialization().as_str())?;
    (rest.is_empty() || rest.starts_with(['/', '?', '#'])).then_some(origin)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn origin(address: &str) -> Option<String> {
        origin_of(address).map(|origin| origin.ascii_serialization())
    }

    #[test]
    fn an_address_begins_with_its_origin() {
        for (address, expected) in [
            ("https://a.example", "https://a.example"),
            ("https://a.example/takk?x=1#y", "https://a.example"),
            ("https://a.example?x", "https://a.example"),
            ("https://a.example#x", "https://a.example"),
            ("http://localhost:3000/", "http://localhost:3000"),
            ("https://a.example:8443/@b.example", "https://a.example:8443"),
            ("https://xn--bl-yia.example/", "https://xn--bl-yia.example"),
            ("https://[::1]:3000/", "https://[::1]:3000"),
        ] {
            assert_eq!(origin(address).as_deref(), Some(expected), "{address}");
        }
    }

    #[test]
    fn an_address_in_another_spelling_has_none() {
        for address in [
            "",
            "/takk",
            "//a.example/",
            "a.example",
            "https:a.example",
            "https:/a.example",
            "https:///a.example",
            "https://",
            "javascript:alert(1)",
            "ftp://a.example/",
            "file:///",
            "data:text/html,x",
            "blob:https://a.example/1",
            // A user name.
            "https://kari@a.example/",
            "https://kari:secret@a.example/",
            "https://@a.example/",
            "https://a.example@evil.example/",
            "https://a.example:443@evil.example/",
            // The usual port, and ports that are none.
            "https://a.example:443/",
            "http://a.example:80/",
            "https://a.example:/",
            "https://a.example:0443/",
            "https://a.example:99999/",
            // Another spelling of the host.
            "https://A.example/",
            "HTTPS://a.example/",
            "https://bl\u{e5}.example/",
            "https://%61.example/",
            "https://0x7f.1/",
            "https://a.example\u{3002}evil.example/",
            // What a browser takes for a slash, or leaves out.
            "https:\\\\a.example\\takk",
            "https://a.example\\@evil.example/",
            "https://a.example\t/",
            "https://a\n.example/",
            "https://a.example/\r\nset-cookie: a=b",
            " https://a.example/",
            "https://a.example/ ",
        ] {
            assert_eq!(origin(address), None, "{address:?}");
        }
    }

    proptest! {
        #[test]
        fn an_origin_is_the_text_before_the_path_and_what_a_browser_reads(
            address in "(https?|HTTP|ftp):(//|/|\\\\\\\\)?([a-z]{0,3}@)?[a-zA-Z0-9.%*-]{0,9}(:[0-9]{0,6})?[/?#\\\\@\t]?[a-z@.]{0,8}|\\PC{0,40}",
        ) {
            if let Some(origin) = origin(&address) {
                let after_scheme = address.find("://").unwrap() + 3;
                let end = address[after_scheme..].find(['/', '?', '#']).map_or(address.len(), |at| after_scheme + at);
                prop_assert_eq!(&origin, &address[..end]);
                prop_assert_eq!(&origin, &Url::parse(&address).unwrap().origin().ascii_serialization());
                prop_assert!(!origin.contains(['@', '\\', '\t']));
            }
        }
    }
}
