//! The settings of a dealership's public form.
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::Mapping;

/// The settings of a dealership's public form.
#[derive(Debug, JsonSchema, Serialize)]
pub struct FormSettings {
    /// Exact origins from which scripts may read the form's answer.
    pub origins: Vec<String>,
    /// Exact origins to which a form without the script may send the browser.
    pub redirect_origins: Vec<String>,
    /// Whether a submission without a captcha is held.
    pub captcha_required: bool,
    /// Submissions accepted in an hour; more are held.
    pub hourly_cap: i32,
    /// Submissions accepted from one address in ten minutes; more are held.
    pub address_cap: i32,
    /// The meaning of the form's fields.
    pub mapping: MappingVersion,
}

/// One version of the mapping.
#[derive(Debug, JsonSchema, Serialize)]
pub struct MappingVersion {
    /// 0 before the first mapping: only well-known names count.
    pub version: i32,
    /// The mapping, as the dealership set it.
    #[schemars(with = "Mapping")]
    pub fields: Value,
}
