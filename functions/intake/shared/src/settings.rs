//! The settings of a dealership's public form.
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::Mapping;

/// How a dealership's public form behaves.
#[derive(Debug, JsonSchema, Serialize)]
pub struct FormSettings {
    /// Exact origins whose scripts may read the form's answer.
    pub origins: Vec<String>,
    /// Exact origins that a plain form may send the browser on to.
    pub redirect_origins: Vec<String>,
    /// Whether what comes without a captcha is held.
    pub captcha_required: bool,
    /// Submissions accepted in an hour; what is beyond is held.
    pub hourly_cap: i32,
    /// Submissions accepted from one address in ten minutes; what is beyond is held.
    pub address_cap: i32,
    /// What the form's fields mean.
    pub mapping: MappingVersion,
}

/// A [`Mapping`] that was in force.
#[derive(Debug, JsonSchema, Serialize)]
pub struct MappingVersion {
    /// 0 before the first: the names that are understood anyway.
    pub version: i32,
    /// As the dealership gave them.
    #[schemars(with = "Mapping")]
    pub fields: Value,
}
