//! `cargo dev sam-local`: every function of the stacks in a container, as `sam local` runs it, with its event.
mod engine;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use registry::Function;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use shared::db::Login;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::sleep;

use self::engine::Engine;
pub use self::engine::NotHere;
use crate::clerk::backend::SECRET_KEY;
use crate::clerk::{ActiveOrganization, Clerk, SessionToken};
use crate::invocations::{Invocation, invocations, prepare};
use crate::people::{KARI, TESLA_OSLO};
use crate::postgres::{free_port, last_lines};
use crate::progress::Step;
use crate::stack::Stop;
use crate::state::ORIGIN;
use crate::supervised::Program;
use crate::svix::sign;
use crate::testing::{TestCluster, TestDatabase};
use crate::{database, environment, logical_id, tools};

/// Signs the webhook of a stack that lives for this one run.
const WEBHOOK_SECRET: &str = "whsec_c2VjcmV0IG9mIGEgc3RhY2sgZm9yIG9uZSBydW4=";

/// How long a token lives, in seconds: the whole run.
const TOKEN_SECONDS: i64 = 3600;

/// How long `sam local start-api` may take until it answers, and a function of its for one request.
const API_TIMEOUT: Duration = Duration::from_secs(60);

/// How to run the functions.
#[derive(Clone, Debug, clap::Args)]
pub struct SamLocal {
    /// Build as for AWS, which takes minutes; else with the profile `ci`, which leaves link-time optimization out
    #[arg(long)]
    pub release: bool,
}

/// What became of all invocations.
#[derive(Debug)]
pub struct Tried {
    /// For people, a line for each.
    pub table: String,
    /// Whether every answer was the one that the tests know.
    pub is_as_expected: bool,
}

/// What became of one invocation.
struct Row {
    function: String,
    expected: String,
    got: String,
    report: Report,
}

/// What Lambda says at the end of an invocation, as it says it: `12.34 ms`, `512 MB`.
#[derive(Default)]
struct Report {
    init: String,
    duration: String,
    memory: String,
}

/// What an invocation needs.
struct Bench {
    sam: Sam,
    token: String,
}

/// `sam local` with the template, the settings and the engine.
struct Sam {
    program: PathBuf,
    arguments: Vec<String>,
    docker_host: Option<String>,
}

/// Invokes every function of the template, and asks a few questions of the whole API. A signal ends it, and what it
/// started, at any time.
pub async fn sam_local(options: &SamLocal) -> Result<Tried> {
    let mut stop = Stop::new()?;
    tokio::select! {
        done = run(options) => done,
        () = stop.requested() => bail!("stopped"),
    }
}

async fn run(options: &SamLocal) -> Result<Tried> {
    fs::create_dir_all(folder()).with_context(|| format!("create {}", folder().display()))?;
    let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let engine = Engine::find_or_start().await?;
    engine.provide_image(architecture).await?;
    let step = Step::begin("SAM CLI");
    let program = spawn_blocking(|| tools::sam(&database::tools())).await??;
    step.done("SAM CLI");
    let functions = functions();
    build(options, &functions).await?;

    let gateway = engine.gateway().await?;
    let cluster = TestCluster::start().await?;
    let database = cluster.new_database().await?;
    prepare(&database.owner_url).await?;
    forward(&gateway, cluster.cluster().port()).await?;
    let clerk = Arc::new(Clerk::generate()?);
    let listener =
        TcpListener::bind((gateway.as_str(), 0)).await.context("bind to the containers' bridge")?;
    let issuer = format!("http://localhost:{}", listener.local_addr()?.port());
    tokio::spawn(Arc::clone(&clerk).serve(listener));
    let settings = folder().join("env.json");
    write_private(&settings, &json!({ "Parameters": environment(&issuer, &database) }))?;

    let token = token(&clerk, &issuer);
    let arguments = sam_arguments(&settings, &gateway, &issuer, architecture);
    let sam = Sam { program, arguments, docker_host: engine.docker_host() };
    let bench = Arc::new(Bench { sam, token });
    let mut rows = invoke_all(&bench, functions).await?;
    rows.extend(start_api(&bench).await?);
    let good = rows.iter().filter(|row| row.is_as_expected()).count();
    let table = format!("{}{good} of {} as expected", table(&rows), rows.len());
    Ok(Tried { table, is_as_expected: good == rows.len() })
}

/// Its files; they hold the passwords of one run.
fn folder() -> PathBuf {
    crate::target().join("sam-local")
}

/// The functions' names, but for the one that CloudFormation calls in a deployment: it answers at an address of
/// CloudFormation's.
fn functions() -> Vec<String> {
    let all = registry::functions().filter(|(_, function)| !matches!(function, Function::Deployment(_)));
    all.map(|(_, function)| function.name().to_owned()).collect()
}

/// Where `sam` finds a function: `list-leads` is `Leads/ListLeads`, in the stack of its area.
fn logical_path(function: &str) -> String {
    format!("{}/{}", logical_id(registry::area_of(function).unwrap_or_default()), logical_id(function))
}

/// Builds every function and puts it where the template expects it.
async fn build(options: &SamLocal, functions: &[String]) -> Result<()> {
    let profile = if options.release { "release" } else { "ci" };
    let step = Step::begin_talkative(&format!("cargo build --profile {profile}"));
    let cargo = environment::variable("CARGO").unwrap_or_else(|| "cargo".into());
    let target = crate::target();
    let mut build = Command::new(cargo);
    build.args(["build", "--bins", "--profile", profile]);
    build.args(functions.iter().flat_map(|function| ["--package", function]));
    build.arg("--target-dir").arg(&target).current_dir(crate::workspace()).kill_on_drop(true);
    let status = build.status().await.context("start cargo")?;
    ensure!(status.success(), "cargo build ended with {status}, and says above why");
    for function in functions {
        let folder = target.join("lambda").join(function);
        fs::create_dir_all(&folder)?;
        fs::copy(target.join(profile).join(function), folder.join("bootstrap"))
            .with_context(|| format!("copy the binary of {function}"))?;
    }
    step.done(&format!("{} functions built", functions.len()));
    Ok(())
}

/// PostgreSQL listens on this machine's loopback alone, which is not the containers'.
async fn forward(gateway: &str, port: u16) -> Result<()> {
    let listener = TcpListener::bind((gateway, port)).await.context("bind to the containers' bridge")?;
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut to = TcpStream::connect(("127.0.0.1", port)).await?;
                tokio::io::copy_bidirectional(&mut from, &mut to).await
            });
        }
    });
    Ok(())
}

/// The functions' settings. `localhost` is this machine to the containers, too: see [`sam_arguments`].
fn environment(issuer: &str, database: &TestDatabase) -> Value {
    let mut variables = json!({
        "CLERK_API_URL": issuer,
        "CLERK_AUTHORIZED_PARTIES": ORIGIN,
        "CLERK_ISSUER": issuer,
        "CLERK_SECRET_KEY": SECRET_KEY,
        "CLERK_WEBHOOK_SECRETS": WEBHOOK_SECRET,
        "FORM_SECRETS": "the secret of a stack for one run",
        "FORM_URL": "https://forms.norvalt.test",
    });
    for login in Login::ALL {
        variables[login.setting()] = database.url(login).replace("@127.0.0.1:", "@localhost:").into();
    }
    variables
}

/// The tool's `--docker-network host` leaves a container on the bridge (aws-sam-cli 1.170, `Container.create`), where
/// the loopback is its own. So the name `localhost` gets the bridge's address as a second one: the functions speak
/// plain HTTP to a host of that name, and to no other.
fn sam_arguments(settings: &Path, gateway: &str, issuer: &str, architecture: &str) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let pairs = [
        ("--template-file", path(&crate::workspace().join("template.yaml"))),
        ("--env-vars", path(settings)),
        ("--add-host", format!("localhost:{gateway}")),
        ("--region", "eu-north-1".to_owned()),
    ];
    let parameters = [
        format!("Architecture={architecture}"),
        format!("AllowedOrigins={ORIGIN}"),
        format!("ClerkIssuer={issuer}"),
        "DatabaseHost=localhost".to_owned(),
    ];
    let mut arguments: Vec<String> =
        pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    arguments.extend(["--skip-pull-image".to_owned(), "--parameter-overrides".to_owned()]);
    arguments.extend(parameters);
    arguments
}

fn token(clerk: &Clerk, issuer: &str) -> String {
    let tesla = ActiveOrganization { id: TESLA_OSLO.clerk_org_id, role: "admin", slug: TESLA_OSLO.slug };
    clerk.session_token(&SessionToken {
        issuer,
        authorized_party: ORIGIN,
        user_id: KARI.clerk_user_id,
        session_id: "sess_sam_local",
        organization: Some(tesla),
        issued_at: Timestamp::now(),
        lifetime: TOKEN_SECONDS,
    })
}

/// The first alone, for it makes the emulator's image that the others share; then as many at once as there are
/// processors. What runs by the clock comes last: it is about every dealership.
async fn invoke_all(bench: &Arc<Bench>, functions: Vec<String>) -> Result<Vec<Row>> {
    let step = Step::begin_talkative(&format!("sam local invoke, {} functions", functions.len()));
    let (routes, schedules): (Vec<_>, Vec<_>) =
        functions.into_iter().partition(|name| invocation(name).is_some());
    let mut rows = Vec::new();
    let (first, others) = routes.split_first().context("there is no route")?;
    rows.push(bench.invoke(first).await?);
    let slots = Arc::new(Semaphore::new(std::thread::available_parallelism()?.get()));
    let mut running = JoinSet::new();
    for function in others {
        let (bench, slots, function) = (Arc::clone(bench), Arc::clone(&slots), function.clone());
        running.spawn(async move {
            let _slot = slots.acquire().await?;
            bench.invoke(&function).await
        });
    }
    while let Some(row) = running.join_next().await {
        rows.push(row??);
    }
    for function in schedules {
        rows.push(bench.invoke(&function).await?);
    }
    rows.sort_by(|a, b| a.function.cmp(&b.function));
    step.done("all functions invoked");
    Ok(rows)
}

fn invocation(function: &str) -> Option<Invocation> {
    invocations().find(|invocation| invocation.function == function)
}

impl Bench {
    async fn invoke(&self, function: &str) -> Result<Row> {
        let (event, log) =
            (folder().join(format!("{function}.json")), folder().join(format!("{function}.log")));
        write_private(&event, &self.event(function)?)?;
        let output = self.sam.invoke(function, &event).output().await;
        let output = output.context("start sam")?;
        fs::write(&log, &output.stderr)?;
        let (answer, said) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let invocation = invocation(function);
        Ok(Row {
            function: function.to_owned(),
            expected: invocation.map_or("ok".to_owned(), |invocation| invocation.status.to_string()),
            got: outcome(&answer),
            report: Report::find(&said),
        })
    }

    /// The event of `events/`, from Kari or from Clerk.
    fn event(&self, function: &str) -> Result<Value> {
        let text = fs::read_to_string(crate::event_file(function))?;
        let mut event: Value = serde_json::from_str(&text.replace("TOKEN", &self.token))?;
        if function == "clerk-webhook" {
            let (id, timestamp) = ("msg_sam_local", Timestamp::now().as_second().to_string());
            let body = event["body"].as_str().unwrap_or_default();
            let signature = sign(WEBHOOK_SECRET, id, &timestamp, body.as_bytes())?;
            for (name, value) in [("id", id), ("timestamp", &timestamp), ("signature", &signature)] {
                event["headers"][format!("svix-{name}")] = value.into();
            }
        }
        Ok(event)
    }
}

impl Sam {
    /// The last option takes every word behind it.
    fn invoke(&self, function: &str, event: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["local", "invoke", &logical_path(function), "--event"]).arg(event);
        command.args(&self.arguments).current_dir(folder());
        command.envs(self.environment()).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// With credentials that are none, for else the tool looks for the machine's and hands them to the functions.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let set =
            [("SAM_CLI_TELEMETRY", "0"), ("AWS_ACCESS_KEY_ID", "none"), ("AWS_SECRET_ACCESS_KEY", "none")];
        let mut variables = set.map(|(name, value)| (name, value.to_owned())).to_vec();
        variables.extend(self.docker_host.clone().map(|host| ("DOCKER_HOST", host)));
        variables
    }
}

/// The status of an answer, `ok` of a run.
fn outcome(answer: &str) -> String {
    match serde_json::from_str::<Value>(answer.trim()) {
        Ok(answer) if answer["statusCode"].is_u64() => answer["statusCode"].to_string(),
        Ok(Value::Object(answer)) if !answer.contains_key("errorType") => "ok".to_owned(),
        Ok(answer) => answer["errorType"].as_str().unwrap_or("no answer").to_owned(),
        // The emulator hands a stream on as it comes: a prelude in JSON, eight NULs, the body.
        Err(_) => match answer.split_once("\0\0\0\0\0\0\0\0").map(|(prelude, _)| outcome(prelude)) {
            Some(status) => status,
            None => "no answer".to_owned(),
        },
    }
}

impl Report {
    /// Out of `REPORT RequestId: …\tInit Duration: 0.52 ms\tDuration: 40.12 ms\t…`.
    fn find(log: &str) -> Self {
        let line = log.lines().find(|line| line.starts_with("REPORT ")).unwrap_or_default();
        let value = |name: &str| {
            let value = line.split('\t').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix(": "));
            value.unwrap_or("-").to_owned()
        };
        Self { init: value("Init Duration"), duration: value("Duration"), memory: value("Memory Size") }
    }
}

impl Row {
    fn is_as_expected(&self) -> bool {
        self.got == self.expected
    }
}

fn table(rows: &[Row]) -> String {
    let line = |name: &str, got: &str, report: [&str; 3], remark: &str| {
        let [init, duration, memory] = report;
        format!("{name:<38} {got:<10} {init:>12} {duration:>12} {memory:>8}  {remark}").trim_end().to_owned()
            + "\n"
    };
    let mut text = line("function", "status", ["init", "duration", "memory"], "as expected");
    for row in rows {
        let Report { init, duration, memory } = &row.report;
        let remark = if row.is_as_expected() { "yes" } else { &format!("NO: {} expected", row.expected) };
        text += &line(&row.function, &row.got, [init, duration, memory], remark);
    }
    text
}

/// The whole API on one port, and a few requests to it.
async fn start_api(bench: &Bench) -> Result<Vec<Row>> {
    let step = Step::begin("sam local start-api");
    let port = free_port()?;
    let log = folder().join("start-api.log");
    let mut program = Program::new("env", &folder());
    program =
        program.args(bench.sam.environment().into_iter().map(|(name, value)| format!("{name}={value}")));
    program =
        program.args([bench.sam.program.clone()]).args(["local", "start-api", "--port", &port.to_string()]);
    program = program.args(bench.sam.arguments.clone());
    program.log = Some(File::create(&log)?);
    let mut api = program.start()?;
    // A proxy, if the machine has one, knows nothing of our ports.
    let client = Client::builder().no_proxy().timeout(API_TIMEOUT).build()?;
    let url = format!("http://127.0.0.1:{port}");
    let deadline = Instant::now() + API_TIMEOUT;
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        ensure!(
            api.ended()?.is_none() && Instant::now() < deadline,
            "start-api does not answer; {} says why:\n{}",
            log.display(),
            last_lines(&log)
        );
        sleep(Duration::from_millis(100)).await;
    }
    let new = json!({ "source": "phone", "first_name": "Åse", "phone": "912 34 567" });
    let form = format!("/webhooks/form/{}", TESLA_OSLO.id);
    let mut rows = Vec::new();
    for (method, path, token, body, expected) in [
        (Method::GET, "/health", None, None, 200),
        (Method::GET, "/api/v1/leads?status=won&limit=1", Some(&bench.token), None, 200),
        (Method::GET, "/api/v1/leads", None, None, 401),
        (Method::POST, "/api/v1/leads", Some(&bench.token), Some(&new), 201),
        (Method::POST, &form, None, Some(&json!({ "email": "ase@example.no" })), 202),
    ] {
        let mut request = client.request(method.clone(), format!("{url}{path}"));
        request = token.into_iter().fold(request, |request, token| request.bearer_auth(token));
        request = body.into_iter().fold(request, |request, body| request.json(body));
        let answer = request.send().await;
        rows.push(Row {
            function: format!("{method} {}", path.split(['?', '0']).next().unwrap_or(path)),
            expected: expected.to_string(),
            got: answer.map_or("no answer".to_owned(), |answer| answer.status().as_u16().to_string()),
            report: Report { init: "-".to_owned(), duration: "-".to_owned(), memory: "-".to_owned() },
        });
    }
    spawn_blocking(move || drop(api)).await?;
    step.done("sam local start-api has answered");
    Ok(rows)
}

/// A file for us alone.
fn write_private(path: &Path, json: &Value) -> Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(json.to_string().as_bytes()))
        .with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_a_run_is_ok_unless_it_failed() {
        for (answer, is) in [
            (r#"{"statusCode":201,"body":"{}"}"#, "201"),
            (r#"{"changed":1,"dry_run":false}"#, "ok"),
            (r#"{"errorType":"clerk-reconcile","errorMessage":"…"}"#, "clerk-reconcile"),
            ("{\"statusCode\":200}\0\0\0\0\0\0\0\0Fornavn,Etternavn\r\n", "200"),
            ("", "no answer"),
            ("null", "no answer"),
        ] {
            assert_eq!(outcome(answer), is, "{answer}");
        }
    }

    #[test]
    fn a_report_is_read_out_of_the_log() {
        let log = "START RequestId: 1\nREPORT RequestId: 1\tInit Duration: 0.52 ms\tDuration: 40.12 ms\t\
                   Billed Duration: 41 ms\tMemory Size: 512 MB\tMax Memory Used: 512 MB\t\n";
        let report = Report::find(log);
        assert_eq!([report.init, report.duration, report.memory], ["0.52 ms", "40.12 ms", "512 MB"]);
        assert_eq!(Report::find("").init, "-");
    }

    #[test]
    fn each_route_has_an_invocation() {
        let functions = functions();
        assert!(invocations().all(|one| functions.contains(&one.function.to_owned())));
        let schedules: Vec<_> = functions.iter().filter(|name| invocation(name).is_none()).collect();
        assert_eq!(schedules, ["clerk-reconcile", "parse-submissions"]);
        assert_eq!(logical_path("list-leads"), "Leads/ListLeads");
    }
}
