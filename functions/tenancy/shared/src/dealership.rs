//! The dealership, with the settings of its form.
use intake::{FormSettings, MappingVersion};
use schemars::JsonSchema;
use serde::Serialize;
use shared::db::Row;
use uuid::Uuid;

/// A dealership as its administrators see it.
#[derive(Debug, JsonSchema, Serialize)]
#[allow(missing_docs, reason = "the names are the documentation")]
pub struct Dealership {
    pub id: Uuid,
    pub name: String,
    pub slug: Option<String>,
    pub country: String,
    pub subscription_tier: String,
    pub subscription_status: String,
    pub form: FormSettings,
}

/// The columns of [`Dealership`], from a row `d` of `dealerships` and the newest row `m` of `form_mappings`, if any.
pub const DEALERSHIP_COLUMNS: &str = "\
    d.id, d.name, d.slug, d.country, d.subscription_tier, d.subscription_status, d.form_origins, \
    d.form_redirect_origins, d.form_captcha_required, d.form_hourly_cap, d.form_address_cap, \
    coalesce(m.version, 0) as mapping_version, coalesce(m.fields, '{}') as mapping_fields";

impl TryFrom<&Row> for Dealership {
    type Error = shared::db::RowError;

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
