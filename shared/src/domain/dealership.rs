//! The dealership and the settings of its form.
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::db::Row;
use crate::forms::Mapping;

/// A dealership as its administrators see it.
#[derive(Debug, JsonSchema, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation; DESIGN has the words")]
pub struct Dealership {
    pub id: Uuid,
    pub name: String,
    pub slug: Option<String>,
    pub country: String,
    pub subscription_tier: String,
    pub subscription_status: String,
    pub form: FormSettings,
}

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

/// A [`crate::forms::Mapping`] that was in force.
#[derive(Debug, JsonSchema, Serialize)]
pub struct MappingVersion {
    /// 0 before the first: the names that are understood anyway.
    pub version: i32,
    /// As the dealership gave them.
    #[schemars(with = "Mapping")]
    pub fields: Value,
}

/// The columns of [`Dealership`] from `$table`, which stands for rows of `dealerships`; the statement has the
/// newest mapping, if there is one, as `mapping`.
#[macro_export]
macro_rules! select_dealership {
    ($table:literal) => {
        concat!(
            "select d.id, d.name, d.slug, d.country, d.subscription_tier, d.subscription_status, d.form_origins, \
             d.form_redirect_origins, d.form_captcha_required, d.form_hourly_cap, d.form_address_cap, \
             coalesce(m.version, 0) as mapping_version, coalesce(m.fields, '{}') as mapping_fields \
             from ",
            $table,
            " d left join mapping m on true where d.id = (select scope.dealership_id())"
        )
    };
}

impl TryFrom<&Row> for Dealership {
    type Error = tokio_postgres::Error;

    fn try_from(row: &Row) -> Result<Self, Self::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            slug: row.try_get("slug")?,
            country: row.try_get("country")?,
            subscription_tier: row.try_get("subscription_tier")?,
            subscription_status: row.try_get("subscription_status")?,
            form: FormSettings {
                origins: row.try_get("form_origins")?,
                redirect_origins: row.try_get("form_redirect_origins")?,
                captcha_required: row.try_get("form_captcha_required")?,
                hourly_cap: row.try_get("form_hourly_cap")?,
                address_cap: row.try_get("form_address_cap")?,
                mapping: MappingVersion {
                    version: row.try_get("mapping_version")?,
                    fields: row.try_get("mapping_fields")?,
                },
            },
        })
    }
}
