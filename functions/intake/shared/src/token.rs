//! The signed time at which a form was shown. The form sends it back as `_t`.
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Uuid;

use shared::config::{Settings, StartupError};

/// The least age of a token, in seconds: no person fills in a form faster.
const MIN_AGE_SECONDS: i64 = 2;
/// The greatest age of a token, in seconds. An older page was left open, or its token is passed around.
const MAX_AGE_SECONDS: i64 = 24 * 60 * 60;
/// How far the clock that signed may be ahead of ours, in seconds.
const MAX_SKEW_SECONDS: i64 = 5;
/// The fewest bytes of a key.
const MIN_KEY_BYTES: usize = 16;
/// The setting: one secret, or several separated by commas during a rotation. The first one signs.
const SETTING: &str = "FORM_SECRETS";

/// The keys that sign the time of a form and hash the addresses of senders.
pub struct TokenKeys(Vec<Vec<u8>>);

/// The verdict on the time between showing the form and sending it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenderToken {
    /// As long as a person needs.
    Good,
    /// Less than 2 seconds.
    TooFast,
    /// More than 24 hours.
    Stale,
    /// The token is not ours, or is another dealership's.
    Forged,
}

impl TokenKeys {
    /// Reads `FORM_SECRETS`.
    ///
    /// # Errors
    /// When it is missing, or one of its secrets has fewer than 16 bytes.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        Self::parse(&settings.required(SETTING).await?)
    }

    /// Parses a list of secrets.
    ///
    /// # Errors
    /// When one has fewer than 16 bytes.
    pub fn parse(list: &str) -> Result<Self, StartupError> {
        let keys: Vec<Vec<u8>> = list.split(',').map(|key| key.trim().into()).collect();
        if keys.iter().any(|key| key.len() < MIN_KEY_BYTES) {
            let reason = format!("a secret has fewer than {MIN_KEY_BYTES} bytes");
            return Err(StartupError::Invalid(SETTING, reason));
        }
        Ok(Self(keys))
    }

    /// The token for a form of `dealership` that is shown at `now`.
    #[must_use]
    pub fn sign(&self, dealership: Uuid, now: Timestamp) -> String {
        let seconds = now.as_second();
        let signature = self.0.first().and_then(|key| mac(key, dealership, seconds));
        let signature = signature.map(|mac| URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        format!("{seconds}.{}", signature.unwrap_or_default())
    }

    /// The verdict on the token of a form of `dealership` that was sent at `now`.
    #[must_use]
    pub fn verify(&self, dealership: Uuid, token: &str, now: Timestamp) -> RenderToken {
        let Some(shown) = self.shown(dealership, token) else { return RenderToken::Forged };
        match now.as_second() - shown {
            age if age < -MAX_SKEW_SECONDS => RenderToken::Forged,
            age if age < MIN_AGE_SECONDS => RenderToken::TooFast,
            age if age > MAX_AGE_SECONDS => RenderToken::Stale,
            _ => RenderToken::Good,
        }
    }

    /// The time in a token with a valid signature, in seconds.
    fn shown(&self, dealership: Uuid, token: &str) -> Option<i64> {
        let (seconds, signature) = token.split_once('.')?;
        let seconds: i64 = seconds.parse().ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let is_ours =
            |key| mac(key, dealership, seconds).is_some_and(|mac| mac.verify_slice(&signature).is_ok());
        self.0.iter().any(|key| is_ours(key)).then_some(seconds)
    }

    /// A pseudonym of an address: without the key nothing can be learned from it.
    #[must_use]
    pub fn pseudonym(&self, address: &str) -> Option<Vec<u8>> {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.first()?).ok()?;
        Some(mac.chain_update("address\0").chain_update(address).finalize().into_bytes().to_vec())
    }
}

fn mac(key: &[u8], dealership: Uuid, seconds: i64) -> Option<Hmac<Sha256>> {
    let mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    Some(mac.chain_update("render\0").chain_update(dealership).chain_update(seconds.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys(secrets: &[&str]) -> TokenKeys {
        TokenKeys::parse(&secrets.join(",")).unwrap()
    }

    #[test]
    fn a_token_tells_how_long_a_form_was_shown() {
        let (keys, here) = (keys(&["a secret of the tests"]), Uuid::from_u128(1));
        let shown = Timestamp::from_second(1_795_165_200).unwrap();
        let token = keys.sign(here, shown);
        let after =
            |seconds| keys.verify(here, &token, Timestamp::from_second(shown.as_second() + seconds).unwrap());
        assert_eq!(
            [after(-6), after(-5), after(0), after(1)],
            [RenderToken::Forged, RenderToken::TooFast, RenderToken::TooFast, RenderToken::TooFast]
        );
        assert_eq!(
            [after(2), after(86_400), after(86_401)],
            [RenderToken::Good, RenderToken::Good, RenderToken::Stale]
        );
    }

    #[test]
    fn a_token_is_of_one_dealership_and_under_one_of_our_secrets() {
        let (here, there) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let shown = Timestamp::from_second(1_795_165_200).unwrap();
        let later = Timestamp::from_second(1_795_165_300).unwrap();
        let old = keys(&["the old one of them"]);
        let rotated = keys(&["the new one of them", "the old one of them"]);
        let token = old.sign(here, shown);
        assert_eq!(rotated.verify(here, &token, later), RenderToken::Good);
        assert_eq!(rotated.verify(there, &token, later), RenderToken::Forged);
        assert_eq!(keys(&["the new one of them"]).verify(here, &token, later), RenderToken::Forged);
        assert_eq!(old.verify(here, &rotated.sign(here, shown), later), RenderToken::Forged);
    }

    #[test]
    fn a_short_secret_is_refused() {
        assert!(TokenKeys::parse("0123456789abcdef, fedcba9876543210").is_ok());
        for bad in ["", "short", "0123456789abcdef,"] {
            assert!(TokenKeys::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_token(text in ".{0,80}", seconds in any::<i64>(), byte in 0..60usize) {
            let (keys, here) = (keys(&["a secret of the tests"]), Uuid::from_u128(1));
            let now = Timestamp::from_second(1_795_165_200).unwrap();
            prop_assert_eq!(keys.verify(here, &text, now), RenderToken::Forged);
            prop_assert_eq!(keys.verify(here, &format!("{seconds}.{text}"), now), RenderToken::Forged);
            let mut token = keys.sign(here, now).into_bytes();
            let at = byte % token.len();
            token[at] = if token[at] == b'7' { b'8' } else { b'7' };
            let verdict = keys.verify(here, &String::from_utf8(token).unwrap(), now);
            prop_assert_eq!(verdict, RenderToken::Forged);
        }
    }
}
