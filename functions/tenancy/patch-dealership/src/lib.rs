//! `PATCH /api/v1/dealership`: changes the settings of the dealership's form by JSON Merge Patch (RFC 7396).
mod origin;

use const_format::formatcp;
use deserr::Deserr;
use intake::{MappedTo, Mapping};
use serde::Serialize;
use serde_json::Value;
use shared::config::{Settings, StartupError};
use shared::fields::{FieldError, Invalid, Patch, not_null};
use shared::{Answer, ApiError, Ctx, Login, Operation, Permission, Route, inline_schema, merge_patch};
use tenancy::{DEALERSHIP_COLUMNS, Dealership};

use crate::origin::Origins;

/// Its path, callers, login and statements.
pub const ROUTE: Route = Route {
    name: "patch-dealership",
    method: "PATCH",
    path: "/api/v1/dealership",
    login: Login::Writer,
    settings: &["TURNSTILE_SITE_KEY"],
    constraints: &[intake::CONSTRAINTS],
    statements: &[&[("patch", SQL)]],
    ..Route::DEFAULT
};

/// The greatest caps: submissions in an hour, and from one address in ten minutes. The columns of `dealerships` have
/// the same limits.
const MAX_HOURLY_CAP: i32 = 100_000;
const MAX_ADDRESS_CAP: i32 = 100;

/// What the deployment has: it limits what can be set.
pub struct Config {
    /// Whether the deployment has Cloudflare Turnstile.
    pub has_captcha: bool,
}

impl Config {
    /// Reads `TURNSTILE_SITE_KEY`.
    ///
    /// # Errors
    /// When the setting's secret cannot be read.
    pub async fn read(settings: &Settings) -> Result<Self, StartupError> {
        Ok(Self { has_captcha: settings.optional("TURNSTILE_SITE_KEY").await?.is_some() })
    }
}

merge_patch! {
    /// Only the form can be changed here: the dealership itself is Clerk's.
    struct DealershipPatch {
        #[deserr(try_from(Patch<FormPatch>) = not_null -> Invalid)]
        #[schemars(with = "FormPatch")]
        form: FormPatch,
    }
}

merge_patch! {
    /// An absent field stays; null empties a list or the mapping.
    struct FormPatch {
        origins: Origins,
        redirect_origins: Origins,
        #[deserr(try_from(Patch<bool>) = not_null -> Invalid)]
        #[schemars(with = "bool")]
        captcha_required: bool,
        #[deserr(try_from(Patch<Cap<MAX_HOURLY_CAP>>) = not_null -> Invalid)]
        #[schemars(with = "Cap<MAX_HOURLY_CAP>")]
        hourly_cap: Cap<MAX_HOURLY_CAP>,
        #[deserr(try_from(Patch<Cap<MAX_ADDRESS_CAP>>) = not_null -> Invalid)]
        #[schemars(with = "Cap<MAX_ADDRESS_CAP>")]
        address_cap: Cap<MAX_ADDRESS_CAP>,
        mapping: MappingPatch,
    }
}

merge_patch! {
    /// The database counts the version.
    struct MappingPatch {
        fields: Mapping<Patch<MappedTo>>,
    }
}

/// The number of submissions that are accepted before more are held; 0 holds all.
#[derive(Clone, Copy, Debug, Deserr, Serialize)]
#[deserr(try_from(f64) = Cap::parse -> Invalid)]
struct Cap<const MAX: i32>(i32);

inline_schema!([const MAX: i32] Cap<MAX>, { "type": "integer", "minimum": 0, "maximum": MAX });

impl<const MAX: i32> Cap<MAX> {
    /// Parsed from a float, since 300.0 is an integer in JSON.
    fn parse(value: f64) -> Result<Self, Invalid> {
        let is_whole = value.fract() == 0.0 && (0.0..=f64::from(MAX)).contains(&value);
        let cap = is_whole.then_some(Self(value as i32));
        cap.ok_or_else(|| Invalid::because(format!("must be a whole number from 0 to {MAX}")))
    }
}

/// A changed mapping becomes the next version. Two changes at once count from the same version, and the primary key
/// lets the first one through.
const SQL: &str = formatcp!(
    "with newest as (
        select version, fields from form_mappings order by version desc limit 1
    ), wanted as (
        select case when $7 then '{{}}' else jsonb_strip_nulls(coalesce(n.fields, '{{}}') || coalesce($6::jsonb, '{{}}')) end as fields
          from (select) one left join newest n on true
    ), changed as (
        update dealerships
           set form_origins = coalesce($1, form_origins),
               form_redirect_origins = coalesce($2, form_redirect_origins),
               form_captcha_required = coalesce($3, form_captcha_required),
               form_hourly_cap = coalesce($4, form_hourly_cap),
               form_address_cap = coalesce($5, form_address_cap),
               updated_at = now()
         where id = (select scope.dealership_id())
        returning id, name, slug, country, subscription_tier, subscription_status, form_origins, form_redirect_origins,
                  form_captcha_required, form_hourly_cap, form_address_cap
    ), added as (
        insert into form_mappings (version, fields)
        select coalesce(n.version, 0) + 1, w.fields from changed, wanted w left join newest n on true
         where w.fields <> coalesce(n.fields, '{{}}')
        returning version, fields
    ), mapping as (
        select version, fields from added
         union all
        select version, fields from newest where not exists (select from added)
    )
    select {DEALERSHIP_COLUMNS} from changed d left join mapping m on true where d.id = (select scope.dealership_id())"
);

/// 200 with the dealership; 409 when another administrator changed the mapping at the same moment.
pub async fn handle(ctx: &Ctx<'_>, config: &Config) -> Result<Answer, ApiError> {
    let scope = ctx.member(&[Permission::SettingsManage]).await?;
    ctx.no_query()?;
    let patch: DealershipPatch = ctx.json()?;
    let form = patch.form.into_value().unwrap_or_default();
    if form.captcha_required.value() == Some(&true) && !config.has_captcha {
        let why = "cannot be set: this deployment has no Turnstile widget";
        return Err(ApiError::invalid(vec![FieldError::new("form.captcha_required", "invalid", why)]));
    }

    let (names, no_names) = mapping(form.mapping)?;
    let rows = scope
        .query(
            SQL,
            &[
                &origins(form.origins),
                &origins(form.redirect_origins),
                &form.captcha_required.into_value(),
                &form.hourly_cap.into_value().map(|cap| cap.0),
                &form.address_cap.into_value().map(|cap| cap.0),
                &names,
                &no_names,
            ],
        )
        .await?;
    Answer::ok(&Dealership::try_from(rows.first().ok_or_else(ApiError::not_found)?)?)
}

/// Inputs and answers, for the API's document.
pub fn operation() -> Operation {
    Operation::member(&ROUTE, &[Permission::SettingsManage])
        .summary("Change the settings of the dealership's form")
        .describe(
            "The body is a JSON Merge Patch (RFC 7396). The last write wins for each field. Only the form's \
             mapping is checked: 409 when another administrator changed it at the same moment.",
        )
        .json::<DealershipPatch>()
        .conflict(&["settings_changed"])
        .ok::<Dealership>()
}

fn origins(patch: Patch<Origins>) -> Option<Vec<String>> {
    match patch {
        Patch::Absent => None,
        Patch::Null => Some(Vec::new()),
        Patch::Value(origins) => Some(origins.into()),
    }
}

/// The names to merge into the mapping, and whether to empty it instead.
fn mapping(patch: Patch<MappingPatch>) -> Result<(Option<Value>, bool), ApiError> {
    match patch {
        Patch::Absent => Ok((None, false)),
        Patch::Null | Patch::Value(MappingPatch { fields: Patch::Null }) => Ok((None, true)),
        Patch::Value(MappingPatch { fields }) => {
            let fields = fields.into_value().map(serde_json::to_value).transpose();
            Ok((fields.map_err(ApiError::internal)?, false))
        }
    }
}
