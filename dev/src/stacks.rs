//! `cargo dev stacks`: the nested stack of each area, and its place in `template.yaml`, made of the registry and of
//! `stacks/function.yaml`.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use registry::{AREAS, Function};
use shared::{Caller, Endpoint, Front, Route, Schedule};

use crate::logical_id;

/// The text of a stack, in parts with holes.
const TEXT: &str = include_str!("../../stacks/function.yaml");

/// The lines of `template.yaml` between which the nested stacks stand.
const BEGIN: &str = "  # The areas, made by `cargo dev stacks`:\n";
const END: &str = "  # End of the areas.\n";

/// For how long a message is invisible to other consumers, in timeouts of its function.
const VISIBILITY_TIMEOUTS: u16 = 6;

/// What every member's route reads, to verify session tokens.
const MEMBER_SETTINGS: [&str; 2] = ["CLERK_AUTHORIZED_PARTIES", "CLERK_ISSUER"];

/// The functions of a trial's areas.
const TRIAL_AREA: usize = 25;
/// In a trial, every so many functions one is a queue's.
const TRIAL_QUEUE: usize = 8;

/// Every parameter that a stack can have: name, type, and what the root gives it. A stack has those that its text uses.
const PARAMETERS: [(&str, &str, &str); 29] = [
    ("AlarmTopic", "String", "!Ref AlarmTopic"),
    ("AllowedOrigins", "CommaDelimitedList", r#"!Join [",", !Ref AllowedOrigins]"#),
    ("Api", "String", "!Ref Api"),
    ("Architecture", "String", "!Ref Architecture"),
    ("ClerkInstanceId", "String", "!Ref ClerkInstanceId"),
    ("ClerkIssuer", "String", "!Ref ClerkIssuer"),
    ("ClerkSecretKeySecret", "String", "!Ref ClerkSecretKeySecret"),
    ("ClerkWebhookSecret", "String", "!Ref ClerkWebhookSecret"),
    ("DatabaseCaFile", "String", "!Ref DatabaseCaFile"),
    ("DatabaseErrorsAlarm", "String", "!Ref DatabaseErrorsAlarm"),
    ("DatabaseHost", "String", r#"!If [CreateAurora, !GetAtt DatabaseProxy.Endpoint, ""]"#),
    ("DatabasePrepared", "String", r#"!If [CreateAurora, "false", !Ref DatabasePrepared]"#),
    ("DeploymentType", "String", "!Ref DeploymentType"),
    ("FormApi", "String", "!Ref FormApi"),
    ("FormSecret", "String", "!Ref FormSecret"),
    ("FormUrl", "String", "!GetAtt FormApi.ApiEndpoint"),
    ("IntakeSecret", "String", "!Ref IntakeSecret"),
    ("LogRetentionDays", "Number", "!Ref LogRetentionDays"),
    ("MemorySize", "Number", "!Ref MemorySize"),
    ("ParserSecret", "String", "!Ref ParserSecret"),
    ("ProvisionerSecret", "String", "!Ref ProvisionerSecret"),
    ("PublicConcurrency", "Number", "!Ref PublicConcurrency"),
    ("ReaderSecret", "String", "!Ref ReaderSecret"),
    ("RootStackName", "String", "!Ref AWS::StackName"),
    (
        "SecurityGroupIds",
        "CommaDelimitedList",
        r#"!If [CreateAurora, !Ref FunctionsSecurityGroup, !Join [",", !Ref SecurityGroupIds]]"#,
    ),
    ("SubnetIds", "CommaDelimitedList", r#"!Join [",", !Ref SubnetIds]"#),
    ("TurnstileSecretArn", "String", "!Ref TurnstileSecretArn"),
    ("TurnstileSiteKey", "String", "!Ref TurnstileSiteKey"),
    ("WriterSecret", "String", "!Ref WriterSecret"),
];

/// The conditions, of which a stack has those that its text uses.
const CONDITIONS: [(&str, &str); 3] = [
    ("HasTurnstile", r#"!Not [!Equals [!Ref TurnstileSecretArn, ""]]"#),
    ("InVpc", r#"!Not [!Equals [!Join ["", !Ref SubnetIds], ""]]"#),
    ("LimitPublic", r#"!Not [!Equals [!Ref PublicConcurrency, "0"]]"#),
];

/// How a stack passes a setting on.
enum Setting {
    /// The parameter that is the ARN of the setting's secret.
    Secret(&'static str),
    /// The same, and the condition under which there is one.
    SecretIf(&'static str, &'static str),
    /// The value.
    Value(&'static str),
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
        _ => anyhow::bail!("stacks.rs does not know where the setting {name} comes from"),
    })
}

/// What calls a function.
#[derive(Clone)]
enum Trigger {
    /// Requests to these methods and paths of an API, which is a parameter.
    Api(&'static str, Vec<(&'static str, String)>),
    /// Requests to a URL of its own, which may stream the answer.
    Url { streams: bool },
    /// The clock.
    Schedule(&'static Schedule),
    /// The messages of a queue of its own. The function answers with those that failed.
    Queue,
}

/// A function as its stack has it.
#[derive(Clone)]
struct Block {
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
    fn of(function: &Function) -> Option<Self> {
        match function {
            Function::Route(Endpoint { route, .. }) => Some(Self::of_route(route)),
            Function::Files(files) => {
                let routes: Vec<_> = files.files.iter().map(|file| ("GET", file.path.to_owned())).collect();
                Some(Self {
                    name: files.name.to_owned(),
                    description: described(&routes),
                    trigger: Trigger::Api("Api", routes),
                    settings: BTreeSet::new(),
                    timeout_seconds: Route::DEFAULT.timeout_seconds,
                    is_public: true,
                })
            }
            Function::Schedule(scheduled) => {
                let schedule = scheduled.schedule;
                let settings = schedule.settings.iter().copied().chain([schedule.login.setting()]);
                Some(Self {
                    name: schedule.name.to_owned(),
                    description: schedule.expression.to_owned(),
                    trigger: Trigger::Schedule(schedule),
                    settings: settings.collect(),
                    timeout_seconds: schedule.timeout_seconds,
                    is_public: false,
                })
            }
            Function::Deployment(_) => None,
        }
    }

    fn of_route(route: &Route) -> Self {
        let mut settings: BTreeSet<_> = route.settings.iter().copied().collect();
        settings.insert(route.login.setting());
        if route.caller == Caller::Member {
            settings.extend(MEMBER_SETTINGS);
        }
        let routes = vec![(route.method, route.path.to_owned())];
        // Nothing holds back who calls a function URL, so it counts as public whoever its caller is.
        let is_url = matches!(route.front, Front::Url | Front::StreamingUrl);
        Self {
            name: route.name.to_owned(),
            description: described(&routes),
            trigger: match route.front {
                Front::Api => Trigger::Api("Api", routes),
                Front::FormApi => Trigger::Api("FormApi", routes),
                Front::Url => Trigger::Url { streams: false },
                Front::StreamingUrl => Trigger::Url { streams: true },
            },
            settings,
            timeout_seconds: route.timeout_seconds,
            is_public: route.caller == Caller::Public || is_url,
        }
    }

    /// Its resources, filled into the parts of the text.
    fn text(&self) -> Result<String> {
        let id = logical_id(&self.name);
        let (mut trigger, mut resources) = (String::new(), String::new());
        match &self.trigger {
            Trigger::Api(api, routes) => {
                let mut parts = Vec::new();
                for (n, (method, path)) in routes.iter().enumerate() {
                    let n = if n == 0 { String::new() } else { (n + 1).to_string() };
                    let any_parameter = without_parameters(path);
                    let holes =
                        [("n", n.as_str()), ("method", method), ("path", path), ("path-arn", &any_parameter)];
                    parts.push(fill(part("route")?, &holes));
                }
                resources = fill(part("api")?, &[("routes", &parts.concat())]).replace("<Api>", api);
            }
            Trigger::Url { streams } => {
                trigger = part(if *streams { "streaming-url" } else { "url" })?.to_owned();
            }
            Trigger::Schedule(schedule) => {
                let event: serde_json::Value =
                    serde_json::from_str(&fs::read_to_string(crate::event_file(schedule.name))?)?;
                let holes = [
                    ("retries", schedule.retries.to_string()),
                    ("age", schedule.max_age_seconds.to_string()),
                    ("expression", schedule.expression.to_owned()),
                    ("input", event.to_string().replace('\'', "''")),
                ];
                trigger = fill(part("schedule")?, &holes);
            }
            Trigger::Queue => {
                let visibility = (VISIBILITY_TIMEOUTS * self.timeout_seconds).to_string();
                trigger = part("queue")?.to_owned();
                resources = fill(part("queues")?, &[("visibility", visibility)]);
            }
        }
        let environment = match self.variables()? {
            none if none.is_empty() => none,
            variables => fill(part("environment")?, &[("variables", variables)]),
        };
        let reserved =
            "ReservedConcurrentExecutions: !If [LimitPublic, !Ref PublicConcurrency, !Ref AWS::NoValue]";
        let with_parts = fill(
            part("function")?,
            &[
                ("reserved", if self.is_public { reserved } else { "" }),
                ("environment", &environment),
                ("trigger", &trigger),
                ("resources", &resources),
            ],
        );
        let dimension = match self.trigger {
            Trigger::Api(..) | Trigger::Url { .. } => "route",
            Trigger::Schedule(_) => "schedule",
            Trigger::Queue => "consumer",
        };
        let holes = [
            ("Id", id),
            ("Role", self.role()?),
            ("name", self.name.clone()),
            ("description", self.description.clone()),
            ("timeout", self.timeout_seconds.to_string()),
            ("half", (u32::from(self.timeout_seconds) * 500).to_string()),
            ("dimension", dimension.to_owned()),
        ];
        Ok(fill(&with_parts, &holes))
    }

    /// Its own environment.
    fn variables(&self) -> Result<String> {
        let mut lines = String::new();
        for name in &self.settings {
            lines += &match setting(name)? {
                Setting::Value(value) => format!("{name}: {value}\n"),
                Setting::Secret(arn) | Setting::SecretIf(arn, _) => {
                    format!("{name}: \"\"\n{name}_SECRET_ARN: !Ref {arn}\n")
                }
            };
        }
        Ok(lines)
    }

    /// The parameters of its secrets, each as an entry of a policy.
    fn secrets(&self) -> Result<BTreeMap<&'static str, String>> {
        let mut secrets = BTreeMap::new();
        for name in &self.settings {
            match setting(name)? {
                Setting::Value(_) => None,
                Setting::Secret(arn) => secrets.insert(arn, format!("!Ref {arn}")),
                Setting::SecretIf(arn, condition) => {
                    secrets.insert(arn, format!("!If [{condition}, !Ref {arn}, !Ref AWS::NoValue]"))
                }
            };
        }
        Ok(secrets)
    }

    /// The id of its role, which names the secrets that the role may read. A consumer's queue is its own, and so is its
    /// role.
    fn role(&self) -> Result<String> {
        if matches!(self.trigger, Trigger::Queue) {
            return Ok(format!("{}Role", logical_id(&self.name)));
        }
        let names = self.secrets()?.into_keys();
        let names: String = names.map(|arn| arn.trim_end_matches("Arn").trim_end_matches("Secret")).collect();
        Ok(format!("{}Role", if names.is_empty() { "NoSecret" } else { &names }))
    }

    fn role_text(&self) -> Result<String> {
        let mut statements = String::new();
        let secrets: Vec<String> =
            self.secrets()?.into_values().map(|secret| format!("- {secret}\n")).collect();
        if !secrets.is_empty() {
            statements += &fill(part("secrets")?, &[("secrets", secrets.concat())]);
        }
        if matches!(self.trigger, Trigger::Queue) {
            statements += &fill(part("queue-statement")?, &[("Id", logical_id(&self.name))]);
        }
        Ok(fill(part("role")?, &[("Role", self.role()?), ("statements", statements)]))
    }
}

/// `GET /docs, GET /openapi.json`.
fn described(routes: &[(&str, String)]) -> String {
    routes.iter().map(|(method, path)| format!("{method} {path}")).collect::<Vec<_>>().join(", ")
}

/// `/leads/{id}/merge` as `/leads/*/merge`, which is how an ARN has it.
fn without_parameters(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "*" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// A part of the text, without the line that names it.
fn part(name: &str) -> Result<&'static str> {
    let (_, rest) = TEXT.split_once(&format!("\n#: {name}\n")).with_context(|| format!("no part {name}"))?;
    Ok(rest.split("\n#: ").next().unwrap_or(rest))
}

/// A text with its holes filled. What fills a hole that is alone on its line is indented as the hole is.
fn fill<V: AsRef<str>>(text: &str, holes: &[(&str, V)]) -> String {
    let mut filled = String::new();
    for line in text.lines() {
        let hole = line.trim_start();
        match holes
            .iter()
            .find(|(name, _)| hole.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')) == Some(name))
        {
            Some((_, lines)) => {
                let indent = &line[..line.len() - hole.len()];
                filled.extend(
                    lines.as_ref().lines().map(|line| format!("{indent}{line}").trim_end().to_owned() + "\n"),
                );
            }
            None => {
                let holes = holes.iter();
                filled += &holes.fold(line.to_owned(), |line, (name, value)| {
                    line.replace(&format!("<{name}>"), value.as_ref())
                });
                filled.push('\n');
            }
        }
    }
    filled
}

/// The stack of an area: its text, and the names of the parameters that it takes.
fn stack(area: &str, blocks: &[Block]) -> Result<(String, Vec<&'static str>)> {
    let (mut roles, mut functions, mut outputs) = (BTreeMap::new(), Vec::new(), String::new());
    for block in blocks {
        roles.insert(block.role()?, block.role_text()?);
        functions.push(block.text()?);
        if matches!(block.trigger, Trigger::Url { .. }) {
            let id = logical_id(&block.name);
            outputs += &format!("{id}Url: {{ Value: !GetAtt {id}Url.FunctionUrl }}\n");
        }
    }
    let roles: String = roles.into_values().collect();
    let holes =
        [("area", area), ("roles", &roles), ("functions", &functions.join("\n")), ("outputs", &outputs)];
    let text = fill(part("stack")?, &holes);
    let conditions = CONDITIONS.iter().filter(|(name, _)| text.contains(&format!("!If [{name},")));
    let conditions: String = conditions.map(|(name, value)| format!("{name}: {value}\n")).collect();
    let text = fill(&text, &[("conditions", conditions)]);
    let uses = |name: &str| {
        let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
        text.contains(&format!("${{{name}}}")) || text.split(&format!("!Ref {name}")).skip(1).any(is_end)
    };
    let used: Vec<_> = PARAMETERS.iter().filter(|(name, ..)| uses(name)).collect();
    let lines: String = used.iter().map(|(name, kind, _)| format!("{name}: {{ Type: {kind} }}\n")).collect();
    Ok((fill(&text, &[("parameters", lines)]), used.iter().map(|(name, ..)| *name).collect()))
}

/// The files of these areas, and of the root around them, by their path.
fn files(areas: &[(String, Vec<Block>)]) -> Result<BTreeMap<String, String>> {
    let (mut files, mut nested) = (BTreeMap::new(), Vec::new());
    for (area, blocks) in areas {
        let (text, parameters) = stack(area, blocks)?;
        let given = PARAMETERS.iter().filter(|(name, ..)| parameters.contains(name));
        let given: String = given.map(|(name, _, value)| format!("{name}: {value}\n")).collect();
        let holes = [("Area", logical_id(area)), ("area", area.clone()), ("parameters", given)];
        nested.push(fill(part("nested")?, &holes));
        files.insert(format!("stacks/{area}.yaml"), text);
    }
    let root = fs::read_to_string(crate::workspace().join("template.yaml"))?;
    let (before, rest) =
        root.split_once(BEGIN).context("template.yaml lacks the line that the areas begin with")?;
    let (_, after) = rest.split_once(END).context("template.yaml lacks the line that the areas end with")?;
    let nested = fill("  <areas>", &[("areas", nested.concat())]);
    files.insert("template.yaml".to_owned(), format!("{before}{BEGIN}{nested}{END}{after}"));
    Ok(files)
}

fn areas() -> Vec<(String, Vec<Block>)> {
    let of = |area: &registry::Area| area.functions.iter().filter_map(Block::of).collect();
    AREAS.iter().map(|area| (area.name.to_owned(), of(area))).collect()
}

/// Every generated file by its path in the checkout.
///
/// # Errors
/// A route has a setting that no stack knows, or `template.yaml` has no place for the areas.
pub fn generated() -> Result<BTreeMap<String, String>> {
    files(&areas())
}

/// The same for as many functions as `count`: the routes of today again and again under other names and paths, and some
/// queues' consumers, in areas of their own.
///
/// # Errors
/// As [`generated`].
pub fn trial(count: usize) -> Result<BTreeMap<String, String>> {
    let mut areas = areas();
    let today: Vec<Block> = areas.iter().flat_map(|(_, blocks)| blocks.clone()).collect();
    let more: Vec<Block> = (today.len()..count)
        .map(|n| {
            let mut block = today[n % today.len()].clone();
            block.name = format!("{}-{n}", block.name);
            match &mut block.trigger {
                Trigger::Api(_, routes) => routes.iter_mut().for_each(|(_, path)| *path += &format!("/{n}")),
                _ if n % TRIAL_QUEUE == 0 => block.trigger = Trigger::Queue,
                _ => {}
            }
            block
        })
        .collect();
    areas.extend(
        more.chunks(TRIAL_AREA).enumerate().map(|(n, blocks)| (format!("trial-{n}"), blocks.to_vec())),
    );
    files(&areas)
}

/// Writes the files below a folder.
///
/// # Errors
/// A file cannot be written.
pub fn write(files: &BTreeMap<String, String>, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("stacks"))?;
    for (path, text) in files {
        fs::write(folder.join(path), text).with_context(|| format!("write {path}"))?;
    }
    Ok(())
}
