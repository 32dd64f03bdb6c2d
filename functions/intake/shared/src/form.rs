//! The body of a form as fields, the same for JSON, URL-encoded and multipart bodies.
use std::collections::HashMap;

use lambda_http::http::StatusCode;
use multer::Multipart;
use serde_json::Value;
use sha2::{Digest, Sha256};

use shared::ctx::MAX_BODY_BYTES;
use shared::error::ApiError;

/// Fields of a form, control fields included.
const MAX_FIELDS: usize = 100;
/// Characters of a field's name.
const MAX_NAME_CHARS: usize = 200;
/// Levels of objects and lists, in JSON.
const MAX_DEPTH: usize = 5;

/// Honeypots: people do not see these fields, and bots fill them in. The first is ours, the others are those of other
/// form services.
const HONEYPOTS: [&str; 4] = ["_gotcha", "_honey", "bot-field", "botcheck"];
/// The page to which the browser goes next.
const REDIRECT_TARGET: &str = "_next";
/// The token with the time at which the form was shown; see [`super::RenderToken`].
const RENDERED: &str = "_t";
/// Cloudflare Turnstile's token.
const TURNSTILE: &str = "cf-turnstile-response";
/// Tokens of other captcha services: they are no content.
const OTHER_CAPTCHAS: [&str; 2] = ["g-recaptcha-response", "h-captcha-response"];

/// The fields of a form in their order, without blank ones, and apart from them the control fields. A name that came
/// several times has its values in one, separated by commas.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Form {
    fields: Vec<(String, String)>,
    control: HashMap<&'static str, String>,
    honeypot: Honeypot,
}

/// The state of the honeypot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Honeypot {
    /// Not sent: it is not our form, or a bot left out an unknown field.
    #[default]
    Absent,
    /// Sent empty, as by a person.
    Empty,
    /// Sent with a value, as by a bot.
    Filled,
}

impl Form {
    /// Reads a body by its content type. Files are skipped.
    ///
    /// # Errors
    /// 413 above [`MAX_BODY_BYTES`]; 415 for another content type; 400 when the body cannot be read, has more than 100
    /// fields, a name of more than 200 characters, a NUL character, or JSON with more than 5 levels.
    pub async fn read(content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        if body.len() > MAX_BODY_BYTES {
            return Err(ApiError::too_large("The body has more than 64 KiB."));
        }
        let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let sent = match essence.as_str() {
            "application/json" => json(body)?,
            "application/x-www-form-urlencoded" => form_urlencoded::parse(body).into_owned().collect(),
            "multipart/form-data" => multipart(content_type, body).await?,
            _ => {
                let detail = "Send a form, URL-encoded or as multipart/form-data, or JSON.";
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                return Err(ApiError::new(status, "unsupported_media_type", detail));
            }
        };
        Self::classify(sent)
    }

    fn classify(sent: Vec<(String, String)>) -> Result<Self, ApiError> {
        let is_long = |name: &str| name.chars().count() > MAX_NAME_CHARS;
        if sent.len() > MAX_FIELDS || sent.iter().any(|(name, _)| is_long(name)) {
            return Err(unreadable("The form has too many fields, or a name that is too long."));
        }
        if sent.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            return Err(unreadable("The form has a NUL character."));
        }
        let mut form = Self::default();
        for (name, value) in sent {
            form.insert(name, value.trim());
        }
        Ok(form)
    }

    fn insert(&mut self, name: String, value: &str) {
        if HONEYPOTS.contains(&name.as_str()) {
            let filled = !value.is_empty() || self.honeypot == Honeypot::Filled;
            self.honeypot = if filled { Honeypot::Filled } else { Honeypot::Empty };
        } else if value.is_empty() || OTHER_CAPTCHAS.contains(&name.as_str()) {
            // A blank field has no content.
        } else if let Some(control) =
            [REDIRECT_TARGET, RENDERED, TURNSTILE].into_iter().find(|known| *known == name)
        {
            self.control.entry(control).or_insert_with(|| value.to_owned());
        } else if name.starts_with('_') {
            // Every name with an underscore is a control field, known or not.
        } else if let Some((_, values)) = self.fields.iter_mut().find(|(known, _)| *known == name) {
            values.push_str(", ");
            values.push_str(value);
        } else {
            self.fields.push((name, value.to_owned()));
        }
    }

    #[cfg(test)]
    pub(super) fn of(json: Value) -> Self {
        let mut sent = Vec::new();
        flatten(&json, String::new(), MAX_DEPTH, &mut sent).unwrap();
        Self::classify(sent).unwrap()
    }

    /// Names and values, in the order of the form.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The state of the honeypot.
    #[must_use]
    pub fn honeypot(&self) -> Honeypot {
        self.honeypot
    }

    /// The page to which the form sends the browser, unchecked.
    #[must_use]
    pub fn redirect_target(&self) -> Option<&str> {
        self.control.get(REDIRECT_TARGET).map(String::as_str)
    }

    /// The token with the time at which the form was shown.
    #[must_use]
    pub fn rendered(&self) -> Option<&str> {
        self.control.get(RENDERED).map(String::as_str)
    }

    /// Turnstile's token.
    #[must_use]
    pub fn captcha(&self) -> Option<&str> {
        self.control.get(TURNSTILE).map(String::as_str)
    }

    /// SHA-256 of the fields. The encoding, the order of the fields and white space make no difference, so it
    /// recognizes a repeated submission.
    #[must_use]
    pub fn content_hash(&self) -> Vec<u8> {
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut said: Vec<(String, String)> =
            self.fields.iter().map(|(name, value)| (path(name), plain(value))).collect();
        said.sort_unstable();
        let mut hash = Sha256::new();
        // Each text after its length, so that no value can look like a name.
        for text in said.iter().flat_map(|(name, value)| [name, value]) {
            hash.update(text.len().to_be_bytes());
            hash.update(text);
        }
        hash.finalize().to_vec()
    }
}

/// The path of a name: `consent[marketing]` is `consent.marketing`, as in nested JSON.
pub(super) fn path(name: &str) -> String {
    name.replace('[', ".").replace(']', "")
}

fn json(body: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    let json: Value = serde_json::from_slice(body)
        .map_err(|_| ApiError::bad_request("malformed_json", "The body is not JSON."))?;
    if !json.is_object() {
        return Err(ApiError::bad_request("malformed_json", "The body is not a JSON object."));
    }
    let mut sent = Vec::new();
    flatten(&json, String::new(), MAX_DEPTH, &mut sent)?;
    Ok(sent)
}

/// Flattens JSON: values in objects get names such as `customer.email`; values in a list have the name of the list.
fn flatten(
    json: &Value,
    name: String,
    depth: usize,
    sent: &mut Vec<(String, String)>,
) -> Result<(), ApiError> {
    let inside = || depth.checked_sub(1).ok_or_else(|| unreadable("The JSON is nested too deeply."));
    match json {
        Value::Null => sent.push((name, String::new())),
        Value::Bool(value) => sent.push((name, value.to_string())),
        Value::Number(value) => sent.push((name, value.to_string())),
        Value::String(value) => sent.push((name, value.clone())),
        Value::Array(items) => {
            let depth = inside()?;
            items.iter().try_for_each(|item| flatten(item, name.clone(), depth, sent))?;
        }
        Value::Object(fields) => {
            let depth = inside()?;
            for (key, value) in fields {
                let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                flatten(value, name, depth, sent)?;
            }
        }
    }
    Ok(())
}

async fn multipart(content_type: &str, body: &[u8]) -> Result<Vec<(String, String)>, ApiError> {
    let malformed = |_| unreadable("The multipart body cannot be read.");
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let mut parts = Multipart::with_reader(body, boundary);
    let mut sent = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(malformed)? {
        let is_file = part.file_name().is_some();
        let name = part.name().unwrap_or_default().to_owned();
        let value = part.bytes().await.map_err(malformed)?;
        if !is_file {
            sent.push((name, String::from_utf8_lossy(&value).into_owned()));
        }
    }
    Ok(sent)
}

fn unreadable(detail: &'static str) -> ApiError {
    ApiError::bad_request("malformed_form", detail)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const MULTIPART: &str = "multipart/form-data; boundary=----x";

    fn read(content_type: &str, body: &[u8]) -> Result<Form, ApiError> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(Form::read(content_type, body))
    }

    fn multipart_body(fields: &[(&str, &str)]) -> String {
        let part = |(name, value): &(&str, &str)| {
            format!("------x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        fields.iter().map(part).collect::<String>() + "------x--\r\n"
    }

    fn fields(form: &Form) -> Vec<(&str, &str)> {
        form.fields().collect()
    }

    #[test]
    fn the_three_encodings_say_the_same() {
        let said = [("Fornavn", "Åse"), ("E-post", "ase@example.no"), ("consent[marketing]", "on")];
        let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(said).finish();
        let forms = [
            read(
                "application/json; charset=utf-8",
                json!({"Fornavn": "Åse", "E-post": "ase@example.no", "consent[marketing]": "on"})
                    .to_string()
                    .as_bytes(),
            ),
            read("application/x-www-form-urlencoded", encoded.as_bytes()),
            read(MULTIPART, multipart_body(&said).as_bytes()),
        ]
        .map(Result::unwrap);
        for form in &forms {
            let mut fields = fields(form);
            fields.sort_unstable();
            assert_eq!(
                fields,
                [("E-post", "ase@example.no"), ("Fornavn", "Åse"), ("consent[marketing]", "on")]
            );
            assert_eq!(form.content_hash(), forms[0].content_hash());
        }
    }

    #[test]
    fn control_fields_steer_and_are_no_content() {
        let body = "_gotcha=&_next=https%3A%2F%2Fa.example%2Ftakk&_t=1.x&_lang=nb&cf-turnstile-response=token&g-recaptcha-response=x&email=a%40b.example";
        let form = read("application/x-www-form-urlencoded", body.as_bytes()).unwrap();
        assert_eq!(fields(&form), [("email", "a@b.example")]);
        assert_eq!(form.honeypot(), Honeypot::Empty);
        assert_eq!(
            (form.redirect_target(), form.rendered(), form.captcha()),
            (Some("https://a.example/takk"), Some("1.x"), Some("token"))
        );
        for name in HONEYPOTS {
            let form =
                read("application/json", json!({ "_gotcha": "", name: "x" }).to_string().as_bytes()).unwrap();
            assert_eq!(form.honeypot(), Honeypot::Filled, "{name}");
        }
    }

    #[test]
    fn nested_json_lists_and_repeated_names_are_flat() {
        let nested = json!({"customer": {"email": "a@b.example", "tags": ["x", 7, true, null]}, "n": 1.5});
        let form = read("application/json", nested.to_string().as_bytes()).unwrap();
        assert_eq!(
            fields(&form),
            [("customer.email", "a@b.example"), ("customer.tags", "x, 7, true"), ("n", "1.5")]
        );
        let form = read("application/x-www-form-urlencoded", b"bil=ID.3&bil=ID.4").unwrap();
        assert_eq!(fields(&form), [("bil", "ID.3, ID.4")]);
    }

    #[test]
    fn a_file_is_passed_over() {
        let body = "------x\r\nContent-Disposition: form-data; name=\"cv\"; filename=\"a.html\"\r\nContent-Type: text/html\r\n\r\n<b>\r\n------x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\na@b.example\r\n------x--\r\n";
        assert_eq!(fields(&read(MULTIPART, body.as_bytes()).unwrap()), [("email", "a@b.example")]);
    }

    #[test]
    fn what_is_no_form_is_refused() {
        let deep = |depth: usize| format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        let many: String = (0..=MAX_FIELDS).map(|n| format!("a{n}=1&")).collect();
        let long = format!("{}=1", "x".repeat(MAX_NAME_CHARS + 1));
        let urlencoded = "application/x-www-form-urlencoded";
        assert!(read("application/json", deep(MAX_DEPTH).as_bytes()).is_ok());
        for (content_type, body, code) in [
            ("application/json", "[]", "malformed_json"),
            ("application/json", "{", "malformed_json"),
            ("application/json", deep(MAX_DEPTH + 1).as_str(), "malformed_form"),
            ("application/json", deep(10_000).as_str(), "malformed_json"),
            ("application/json", "{\"a\":\"b\\u0000\"}", "malformed_form"),
            (urlencoded, many.trim_end_matches('&'), "malformed_form"),
            (urlencoded, long.as_str(), "malformed_form"),
            (urlencoded, "a=%00", "malformed_form"),
            ("multipart/form-data", "", "malformed_form"),
            (MULTIPART, "------x\r\nContent-Dis", "malformed_form"),
            (MULTIPART, "", "malformed_form"),
            ("text/plain", "a=b", "unsupported_media_type"),
            ("", "a=b", "unsupported_media_type"),
        ] {
            assert_eq!(
                read(content_type, body.as_bytes()).unwrap_err().code(),
                code,
                "{content_type} {body:.40}"
            );
        }
        let large = vec![b'a'; MAX_BODY_BYTES + 1];
        assert_eq!(read(urlencoded, &large).unwrap_err().code(), "too_large");
    }

    #[test]
    fn only_what_was_said_is_in_the_hash() {
        let hash =
            |body: &str| read("application/x-www-form-urlencoded", body.as_bytes()).unwrap().content_hash();
        assert_eq!(hash("a=1&b=x++y"), hash("b=x+y+&a=1&c=&_t=7&_gotcha="));
        assert_ne!(hash("a=1&b=2"), hash("a=2&b=1"));
        assert_ne!(hash("a=b&c=d"), hash("a=bc&=d"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..2000), text in ".{0,500}") {
            for content_type in ["application/json", "application/x-www-form-urlencoded", MULTIPART] {
                let _ = read(content_type, &body);
                let _ = read(content_type, text.as_bytes());
                let _ = read(&text, &body);
            }
            let part = format!("------x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{text}\r\n------x--\r\n");
            let _ = read(MULTIPART, part.as_bytes());
        }

        #[test]
        fn any_fields_are_the_same_in_each_encoding(
            said in proptest::collection::btree_map("[a-zæøå]{1,10}", "[^\0\r\n\"]{1,40}", 0..20),
        ) {
            let encoded = form_urlencoded::Serializer::new(String::new()).extend_pairs(&said).finish();
            let pairs: Vec<(&str, &str)> = said.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let urlencoded = read("application/x-www-form-urlencoded", encoded.as_bytes()).unwrap();
            let json = read("application/json", json!(said).to_string().as_bytes()).unwrap();
            let multipart = read(MULTIPART, multipart_body(&pairs).as_bytes()).unwrap();
            prop_assert_eq!(&urlencoded, &json);
            prop_assert_eq!(&urlencoded, &multipart);
        }
    }
}
