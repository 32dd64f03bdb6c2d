//! Signatures as Svix, which delivers Clerk's webhooks, makes them by the Standard Webhooks specification.
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha2::Sha256;

/// The headers of a message that is sent now: id, timestamp and signature.
///
/// # Errors
/// When the secret is not base64 behind `whsec_`.
pub fn headers(secret: &str, id: &str, payload: &[u8]) -> Result<[(&'static str, String); 3]> {
    let timestamp = Timestamp::now().as_second().to_string();
    let signature = sign(secret, id, &timestamp, payload)?;
    Ok([("svix-id", id.to_owned()), ("svix-timestamp", timestamp), ("svix-signature", signature)])
}

/// A version 1 signature: HMAC-SHA256 over `{id}.{timestamp}.{payload}`. The timestamp is in seconds since 1970.
///
/// # Errors
/// When the secret is not base64 behind `whsec_`.
pub fn sign(secret: &str, id: &str, timestamp: &str, payload: &[u8]) -> Result<String> {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).context("decode the webhook secret")?;
    let mac = Hmac::<Sha256>::new_from_slice(&key)?.chain_update(format!("{id}.{timestamp}."));
    Ok(format!("v1,{}", STANDARD.encode(mac.chain_update(payload).finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_the_one_of_svixs_documentation() {
        let (secret, id) = ("whsec_plJ3nmyCDGBKInavdOK15jsl", "msg_loFOjxBNrRLzqYUf");
        let payload = br#"{"event_type":"ping","data":{"success":true}}"#;
        let signature = sign(secret, id, "1731705121", payload).unwrap();
        assert_eq!(signature, "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=");
    }
}
