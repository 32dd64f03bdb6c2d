//! A function as the stack of its area has it.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Result, bail};
use registry::Function;
use serde_json::Value;
use shared::{Caller, Front, Route, Schedule};

use super::{fill, part};
use crate::logical_id;

/// For how long a message is invisible to other consumers, in timeouts of its function.
const VISIBILITY_TIMEOUTS: u16 = 6;

/// What every member's route reads, to verify session tokens.
const MEMBER_SETTINGS: [&str; 2] = ["CLERK_AUTHORIZED_PARTIES", "CLERK_ISSUER"];

/// How a stack passes a setting on.
enum Setting {
    /// The value.
    Value(&'static str),
    /// The parameter that is the ARN of the setting's secret.
    Secret(&'static str),
    /// The same, and the condition under which there is one.
    SecretIf(&'static str, &'static str),
}

/// The settings by the names of `.env.example`.
fn setting(name: &str) -> Result<Setting> {
    Ok(match name {
        "CLERK_API_URL" => Setting::Value(r#""""#),
        "CLERK_AUTHORIZED_PARTIES" => Setting::Value(r#"!Join [",", !Ref AllowedOrigins]"#),
        "CLERK_INSTANCE_ID" => Setting::Value("!Ref ClerkInstanceId"),
        "CLERK_ISSUER" => Setting::Value("!Ref ClerkIssuer"),
        "CLERK_SECRET_KEY" => Setting::Secret("ClerkSecretKeySecret"),
        "CLERK_WEBHOOK_SECRETS" => Setting::Secret("ClerkWebhookSecret"),
        "DATABASE_URL_INTAKE" => Setting::Secret("IntakeSecret"),
        "DATABASE_URL_PARSER" => Setting::Secret("ParserSecret"),
        "DATABASE_URL_PROVISIONER" => Setting::Secret("ProvisionerSecret"),
        "DATABASE_URL_READER" => Setting::Secret("ReaderSecret"),
        "DATABASE_URL_WRITER" => Setting::Secret("WriterSecret"),
        "FORM_SECRETS" => Setting::Secret("FormSecret"),
        "FORM_URL" => Setting::Value("!Ref FormUrl"),
        "TURNSTILE_SECRET_KEY" => Setting::SecretIf("TurnstileSecretArn", "HasTurnstile"),
        "TURNSTILE_SITE_KEY" => Setting::Value("!Ref TurnstileSiteKey"),
        _ => bail!("a stack does not know where the setting {name} comes from"),
    })
}

/// What calls a function.
#[derive(Clone)]
enum Trigger {
    /// Requests to these methods and paths of an API, which is a parameter.
    Api(&'static str, Vec<(&'static str, String)>),
    /// Requests to a URL of its own: the part of the text.
    Url(&'static str),
    /// The clock.
    Schedule(&'static Schedule),
    /// The messages of a queue of its own. The function answers with those that failed, and a failure's metric has the
    /// dimension `consumer`.
    Queue,
}

/// What a stack says of a function.
#[derive(Clone)]
pub(super) struct Block {
    name: String,
    description: String,
    trigger: Trigger,
    /// Those of `.env.example` that it reads, its database user's among them.
    settings: BTreeSet<&'static str>,
    timeout_seconds: u16,
    /// Whether the parameter PublicConcurrency is for it.
    is_public: bool,
}

impl Block {
    /// None for the function that a deployment calls before any stack: it is in the root.
    pub(super) fn of(function: &Function) -> Option<Self> {
        let block = match function {
            Function::Route(endpoint) => Self::of_route(endpoint.route),
            Function::Files(files) => Self {
                name: files.name.to_owned(),
                description: files
                    .files
                    .iter()
                    .map(|file| format!("GET {}", file.path))
                    .collect::<Vec<_>>()
                    .join(", "),
                trigger: Trigger::Api(
                    "Api",
                    files.files.iter().map(|file| ("GET", file.path.to_owned())).collect(),
                ),
                settings: BTreeSet::new(),
                timeout_seconds: Route::DEFAULT.timeout_seconds,
                is_public: true,
            },
            Function::Schedule(scheduled) => Self {
                name: scheduled.schedule.name.to_owned(),
                description: scheduled.schedule.expression.to_owned(),
                trigger: Trigger::Schedule(scheduled.schedule),
                settings: [scheduled.schedule.settings, &[scheduled.schedule.login.setting()]]
                    .concat()
                    .into_iter()
                    .collect(),
                timeout_seconds: scheduled.schedule.timeout_seconds,
                is_public: false,
            },
            Function::Deployment(_) => return None,
        };
        Some(block)
    }

    fn of_route(route: &Route) -> Self {
        let member: &[_] = if route.caller == Caller::Member { &MEMBER_SETTINGS } else { &[] };
        let on = |api| Trigger::Api(api, vec![(route.method, route.path.to_owned())]);
        let trigger = match route.front {
            Front::Api => on("Api"),
            Front::FormApi => on("FormApi"),
            Front::Url => Trigger::Url("url"),
            Front::StreamingUrl => Trigger::Url("streaming-url"),
        };
        Self {
            name: route.name.to_owned(),
            description: format!("{} {}", route.method, route.path),
            settings: [route.settings, member, &[route.login.setting()]].concat().into_iter().collect(),
            timeout_seconds: route.timeout_seconds,
            // No throttling of API Gateway's stands before a function URL.
            is_public: route.caller == Caller::Public || matches!(trigger, Trigger::Url(_)),
            trigger,
        }
    }

    /// The same under another name and path, for a trial.
    pub(super) fn copy(&self, n: usize, is_queues: bool) -> Self {
        let mut copy = Self { name: format!("{}-{n}", self.name), ..self.clone() };
        match &mut copy.trigger {
            trigger if is_queues => *trigger = Trigger::Queue,
            Trigger::Api(_, routes) => routes.iter_mut().for_each(|(_, path)| *path += &format!("/{n}")),
            _ => {}
        }
        copy
    }

    /// Its resources.
    pub(super) fn text(&self) -> Result<String> {
        let mut variables = String::new();
        for name in &self.settings {
            variables += &match setting(name)? {
                Setting::Value(value) => format!("{name}: {value}\n"),
                Setting::Secret(arn) | Setting::SecretIf(arn, _) => {
                    format!("{name}: \"\"\n{name}_SECRET_ARN: !Ref {arn}\n")
                }
            };
        }
        let environment = fill(part("environment")?, &[("variables", variables)]);
        let (trigger, resources) = self.trigger_text()?;
        let holes = [
            ("reserved", if self.is_public { part("reserved")? } else { "" }),
            ("environment", if self.settings.is_empty() { "" } else { &environment }),
            ("trigger", &trigger),
            ("resources", &resources),
        ];
        let text = fill(part("function")?, &holes);
        let dimension = match self.trigger {
            Trigger::Api(..) | Trigger::Url(_) => "route",
            Trigger::Schedule(_) => "schedule",
            Trigger::Queue => "consumer",
        };
        let holes = [
            ("Id", logical_id(&self.name)),
            ("Role", self.role()?),
            ("name", self.name.clone()),
            ("description", self.description.clone()),
            ("timeout", self.timeout_seconds.to_string()),
            ("half", (u32::from(self.timeout_seconds) * 1000 / 2).to_string()),
            ("dimension", dimension.to_owned()),
        ];
        Ok(fill(&text, &holes))
    }

    /// What its trigger adds to it, and the resources that stand beside it.
    fn trigger_text(&self) -> Result<(String, String)> {
        Ok(match &self.trigger {
            Trigger::Api(api, routes) => {
                let mut text = String::new();
                for (n, (method, path)) in routes.iter().enumerate() {
                    let n = if n == 0 { String::new() } else { (n + 1).to_string() };
                    let segments = path.split('/').map(|part| if part.starts_with('{') { "*" } else { part });
                    let in_arn = segments.collect::<Vec<_>>().join("/");
                    let holes = [("n", &*n), ("method", method), ("path", path), ("path-arn", &in_arn)];
                    text += &fill(part("route")?, &holes);
                }
                (String::new(), fill(&fill(part("api")?, &[("routes", text)]), &[("Api", api)]))
            }
            Trigger::Url(name) => (part(name)?.to_owned(), String::new()),
            Trigger::Schedule(schedule) => {
                let event = fs::read_to_string(crate::event_file(schedule.name))?;
                let holes = [
                    ("retries", schedule.retries.to_string()),
                    ("age", schedule.max_age_seconds.to_string()),
                    ("expression", schedule.expression.to_owned()),
                    ("input", serde_json::from_str::<Value>(&event)?.to_string().replace('\'', "''")),
                ];
                (fill(part("schedule")?, &holes), String::new())
            }
            Trigger::Queue => {
                let visibility = (VISIBILITY_TIMEOUTS * self.timeout_seconds).to_string();
                (part("queue")?.to_owned(), fill(part("queues")?, &[("visibility", visibility)]))
            }
        })
    }

    /// What the root asks of it.
    pub(super) fn outputs(&self) -> String {
        let id = logical_id(&self.name);
        match self.trigger {
            Trigger::Url(_) => format!("{id}Url: {{ Value: !GetAtt {id}Url.FunctionUrl }}\n"),
            _ => String::new(),
        }
    }

    /// The parameters of the secrets that it reads, each with its entry in a policy.
    fn secrets(&self) -> Result<BTreeMap<&'static str, String>> {
        let mut secrets = BTreeMap::new();
        for name in &self.settings {
            let (arn, entry) = match setting(name)? {
                Setting::Value(_) => continue,
                Setting::Secret(arn) => (arn, format!("- !Ref {arn}\n")),
                Setting::SecretIf(arn, condition) => {
                    (arn, format!("- !If [{condition}, !Ref {arn}, !Ref AWS::NoValue]\n"))
                }
            };
            secrets.insert(arn, entry);
        }
        Ok(secrets)
    }

    /// The id of its role, which names the secrets that the role may read. A consumer has a role of its own, as it has a
    /// queue.
    pub(super) fn role(&self) -> Result<String> {
        let secrets = self.secrets()?.into_keys();
        let secrets: String =
            secrets.map(|arn| arn.trim_end_matches("Arn").trim_end_matches("Secret")).collect();
        Ok(match self.trigger {
            Trigger::Queue => format!("{}Role", logical_id(&self.name)),
            _ if secrets.is_empty() => "NoSecretRole".to_owned(),
            _ => format!("{secrets}Role"),
        })
    }

    pub(super) fn role_text(&self) -> Result<String> {
        let mut statements = String::new();
        let secrets: String = self.secrets()?.into_values().collect();
        if !secrets.is_empty() {
            statements += &fill(part("secrets")?, &[("secrets", secrets)]);
        }
        if matches!(self.trigger, Trigger::Queue) {
            statements += &fill(part("queue-statement")?, &[("Id", logical_id(&self.name))]);
        }
        Ok(fill(part("role")?, &[("Role", self.role()?), ("statements", statements)]))
    }
}
