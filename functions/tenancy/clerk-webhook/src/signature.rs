//! Svix signatures: HMAC-SHA256 over `{id}.{timestamp}.{body}` (the Standard Webhooks specification).
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use shared::config::{Settings, StartupError};
use shared::{ApiError, Ctx};

/// The greatest difference between the sender's clock and ours, in seconds; Svix allows the same.
const TOLERANCE_SECONDS: i64 = 300;
/// The setting: one secret, or several separated by commas during a rotation.
const SETTING: &str = "CLERK_WEBHOOK_SECRETS";
/// Svix pads its base64; a pasted secret may have lost the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The keys of valid signatures.
pub struct Secrets(Vec<Vec<u8>>);

impl Secrets {
    /// Reads `CLERK_WEBHOOK_SECRETS`.
    ///
    /// # Errors
    /// When it is missing, or one of its secrets is empty or not base64.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        Self::parse(&settings.required(SETTING).await?)
    }

    /// Parses a list such as `whsec_…,whsec_…`.
    ///
    /// # Errors
    /// As [`Secrets::read`].
    pub fn parse(list: &str) -> Result<Self, StartupError> {
        let key = |secret: &str| {
            let secret = secret.trim();
            let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap_or(secret)).ok();
            key.filter(|key| !key.is_empty())
        };
        let keys: Option<Vec<_>> = list.split(',').map(key).collect();
        keys.map(Self).ok_or_else(|| StartupError::Invalid(SETTING, "a secret is empty or not base64".into()))
    }
}

/// The id of a message with a valid signature.
///
/// # Errors
/// 413 for the body; 401 with one text for every reason. The reason is logged.
pub(crate) fn verify<'c>(ctx: &'c Ctx<'_>, secrets: &Secrets) -> Result<&'c str, ApiError> {
    // A body that is too large is refused before anything is read from it.
    let body = ctx.body()?;
    let refused = |reason| ApiError::bad_signature("The signature is not valid.", reason);
    // The headers are of one family, never a mixture.
    let family = if ctx.header("svix-id").is_some() { "svix" } else { "webhook" };
    let header = |name| ctx.header(&format!("{family}-{name}")).filter(|value| !value.trim().is_empty());
    let (Some(id), Some(timestamp), Some(signatures)) =
        (header("id"), header("timestamp"), header("signature"))
    else {
        return Err(refused("signature-header-missing"));
    };

    let seconds: i64 = timestamp.parse().map_err(|_| refused("signature-timestamp-invalid"))?;
    if seconds < 0 || (ctx.now().as_second() - seconds).abs() > TOLERANCE_SECONDS {
        return Err(refused("signature-timestamp-out-of-tolerance"));
    }
    if id.contains('.') {
        return Err(refused("signature-id-invalid"));
    }

    let offered: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|signature| BASE64.decode(signature.strip_prefix("v1,")?).ok())
        .collect();
    let matches = secrets.0.iter().any(|key| {
        offered.iter().any(|signature| match Hmac::<Sha256>::new_from_slice(key) {
            Ok(mac) => mac
                .chain_update(format!("{id}.{timestamp}."))
                .chain_update(body)
                .verify_slice(signature)
                .is_ok(),
            Err(_) => false,
        })
    });
    if matches { Ok(id) } else { Err(refused("signature-mismatch")) }
}
