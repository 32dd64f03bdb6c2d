//! A request as it is stored, with the signs for its verdict.
use intake::{Form, Honeypot, RenderToken, origin_of};
use serde_json::{Map, Value};
use shared::db::{Param, Statement};
use shared::{ApiError, Ctx};
use uuid::Uuid;

use crate::{Config, captcha, content_type};

/// The headers that are stored. None identifies a person, and none is a secret.
const KEPT_HEADERS: [&str; 6] =
    ["accept", "accept-language", "content-type", "origin", "referer", "user-agent"];

/// Stores a submission and decides its verdict.
pub(crate) const RECEIVE: &str = "
    select outcome, receipt_id, origin_is_allowed, next_is_allowed, coalesce(mapping_version, 0) as mapping_version,
           coalesce(mapping, '{}') as mapping
      from scope.receive_submission(
           sent_type => $1, sent_headers => $2, sent_body => $3, hash => $4, sender => $5, repeat_key => $6,
           spam_signs => $7, oddities => $8, captcha => $9, captcha_host => $10, origin => $11, next_origin => $12,
           submission => $13)";

/// The arguments of `scope.receive_submission`.
pub(crate) struct Submission<'a> {
    pub(crate) id: Uuid,
    content_type: &'a str,
    headers: Value,
    body: &'a [u8],
    content_hash: Vec<u8>,
    /// The pseudonym of the sender's address.
    sender: Option<Vec<u8>>,
    repeat_key: Option<String>,
    signs: Signs,
    captcha: &'static str,
    captcha_host: Option<String>,
    origin: Option<&'a str>,
    redirect_origin: Option<String>,
}

impl<'a> Submission<'a> {
    /// Reads what is stored from the request, and asks the captcha's provider about its token.
    pub(crate) async fn read(
        ctx: &'a Ctx<'_>,
        config: &Config,
        dealership: Uuid,
        form: &Form,
        repeat_key: Option<String>,
    ) -> Result<Self, ApiError> {
        let verdict = captcha::verify(config.captcha.as_ref(), form.captcha()).await;
        let redirect_origin = form.redirect_target().and_then(origin_of);
        Ok(Self {
            id: Uuid::now_v7(),
            content_type: content_type(ctx),
            headers: kept_headers(ctx),
            body: ctx.body()?,
            content_hash: form.content_hash(),
            sender: ctx.source_address().and_then(|address| config.keys.pseudonym(&address)),
            repeat_key,
            signs: Signs::of(form, dealership, config, ctx),
            captcha: verdict.as_str(),
            captcha_host: verdict.host().map(str::to_owned),
            origin: ctx.header("origin"),
            redirect_origin: redirect_origin.map(|origin| origin.ascii_serialization()),
        })
    }

    pub(crate) fn statement(&self) -> Statement<'_> {
        let params: Vec<&dyn Param> = vec![
            &self.content_type,
            &self.headers,
            &self.body,
            &self.content_hash,
            &self.sender,
            &self.repeat_key,
            &self.signs.spam,
            &self.signs.oddities,
            &self.captcha,
            &self.captcha_host,
            &self.origin,
            &self.redirect_origin,
            &self.id,
        ];
        (RECEIVE, params)
    }
}

/// Reasons for a verdict that the request itself shows.
#[derive(Default)]
struct Signs {
    spam: Vec<String>,
    oddities: Vec<String>,
}

impl Signs {
    fn of(form: &Form, dealership: Uuid, config: &Config, ctx: &Ctx<'_>) -> Self {
        let mut signs = Self::default();
        let token = form.rendered().map(|token| config.keys.verify(dealership, token, ctx.now()));
        match token {
            None | Some(RenderToken::Good) => {}
            Some(RenderToken::TooFast) => signs.spam.push("too_fast".to_owned()),
            Some(RenderToken::Forged) => signs.spam.push("token_forged".to_owned()),
            Some(RenderToken::Stale) => signs.oddities.push("token_stale".to_owned()),
        }
        match form.honeypot() {
            Honeypot::Filled => signs.spam.push("honeypot".to_owned()),
            // Our snippet has both: a sender of one alone has picked the fields.
            Honeypot::Absent if token.is_some() => signs.spam.push("honeypot_missing".to_owned()),
            Honeypot::Absent | Honeypot::Empty => {}
        }
        signs
    }
}

fn kept_headers(ctx: &Ctx<'_>) -> Value {
    let kept = KEPT_HEADERS.into_iter().filter_map(|name| Some((name.to_owned(), ctx.header(name)?.into())));
    Value::Object(kept.collect::<Map<_, _>>())
}
