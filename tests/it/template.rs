//! The template as something to operate: alarms, limits, rights, and the documents about them.
use std::collections::{BTreeMap, BTreeSet, HashMap};

use dev::logical_id;
use dev::people::TESLA_OSLO;
use lambda_http::http::StatusCode;
use parse_submissions::{Report, Request, SCHEDULE};
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Settings;
use shared::db::{DbError, connect_as_owner};
use shared::{Job, Login};
use tokio::net::TcpListener;

use crate::support::custom_resource::migrate_database;
use crate::support::log::Log;
use crate::support::template::{Names, block_of, functions, read};
use crate::support::{DEPLOYMENT, ENDPOINTS, World, event, submission};

/// What a function has unless its block says otherwise, in seconds; the template's Globals.
const DEFAULT_TIMEOUT: u32 = 10;
/// What API Gateway waits for an integration at most, in seconds (HTTP API quotas).
const API_GATEWAY: u32 = 30;
/// What Svix waits for an answer, in seconds (its documentation, "Retries").
const SVIX: u32 = 15;
/// What a function may take at most, in seconds (Lambda quotas).
const LAMBDA: u32 = 900;

fn template() -> String {
    read("template.yaml")
}

/// The resources of a type, by logical id.
fn resources(of_type: &str) -> BTreeMap<String, String> {
    let template = template();
    let (_, resources) = template.split_once("\nResources:\n").unwrap();
    let (resources, _) = resources.split_once("\nOutputs:\n").unwrap();
    let ids = resources.lines().filter_map(|line| line.strip_prefix("  "));
    let ids = ids.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
    let ids = ids.filter_map(|line| Some(line.split_once(':')?.0));
    let blocks = ids.map(|id| (id.to_owned(), block_of_any(&template, id)));
    blocks.filter(|(_, block)| block.contains(&format!("    Type: {of_type}\n"))).collect()
}

/// As [`block_of`], with a comment behind the id.
fn block_of_any(template: &str, id: &str) -> String {
    let line = template.lines().find(|line| line.starts_with(&format!("  {id}:"))).unwrap();
    block_of(&template.replacen(line, &format!("  {id}:"), 1), id)
}

fn timeout(name: &str) -> u32 {
    let block = block_of(&template(), &logical_id(name));
    let timeout = block.lines().find_map(|line| line.strip_prefix("      Timeout: "));
    timeout.map_or(DEFAULT_TIMEOUT, |text| text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn every_function_has_an_alarm_and_a_log_group() {
    let template = template();
    for name in functions() {
        let id = logical_id(&name);
        let log = block_of(&template, &format!("{id}Logs"));
        assert!(log.contains(&format!("/aws/lambda/${{AWS::StackName}}-{name}\"")), "{log}");
        assert!(log.contains("RetentionInDays: !Ref LogRetentionDays"), "{log}");
        assert!(block_of(&template, &id).contains(&format!("LoggingConfig: {{ LogGroup: !Ref {id}Logs }}")));
        for filter in ["Failures", "DatabaseErrors"] {
            let filter = block_of(&template, &format!("{id}{filter}"));
            assert!(filter.contains(&format!("LogGroupName: !Ref {id}Logs,")), "{filter}");
        }
        let alarm = block_of(&template, &format!("{id}Alarm"));
        assert!(alarm.contains(&format!("AlarmName: !Sub \"${{AWS::StackName}}-{name}\"")), "{alarm}");
        assert_eq!(alarm.matches(&format!("Value: !Ref {id} }}")).count(), 3, "{alarm}");
        assert!(alarm.contains(&format!("MetricName: {id}Failures ")), "{alarm}");
        let half = format!("IF(FILL(p99, 0) > {}, 1, 0)", timeout(&name) * 1000 / 2);
        assert!(alarm.contains(&half), "half of its timeout is {half}: {alarm}");
    }
}

#[test]
fn every_alarm_tells_somebody_when_it_begins_and_when_it_ends() {
    for (id, alarm) in resources("AWS::CloudWatch::Alarm") {
        assert!(alarm.contains("\n      AlarmActions: [!Ref AlarmTopic]\n"), "{id}");
        assert!(alarm.contains("\n      OKActions: [!Ref AlarmTopic]\n"), "{id}");
        assert!(alarm.contains("\n      TreatMissingData: "), "{id}");
    }
}

#[test]
fn every_function_ends_before_its_caller_gives_up() {
    assert!(template().contains(&format!("\n    Timeout: {DEFAULT_TIMEOUT}\n")));
    for name in functions() {
        let block = block_of(&template(), &logical_id(&name));
        let patience = match name.as_str() {
            "clerk-webhook" => SVIX,
            DEPLOYMENT => {
                let schema = block_of(&template(), "DatabaseSchema");
                let waits = schema.lines().find_map(|line| line.trim().strip_prefix("ServiceTimeout: "));
                waits.unwrap().parse().unwrap()
            }
            _ if block.contains("Type: HttpApi") => API_GATEWAY,
            // Nobody waits for a schedule; a stream's caller waits as long as it flows.
            _ => LAMBDA + 1,
        };
        assert!(timeout(&name) < patience, "{name} may take {} s of {patience}", timeout(&name));
    }
}

#[test]
fn a_function_may_read_the_secrets_that_its_environment_names_and_nothing_else() {
    for name in functions() {
        let block = block_of(&template(), &logical_id(&name));
        // What only hands out files reads none.
        let (environment, policies) = block.split_once("\n      Policies:\n").unwrap_or((&block, ""));
        let named: BTreeSet<_> = environment
            .lines()
            .filter(|line| line.contains("_SECRET_ARN: "))
            .map(|line| line.split_once("_ARN: ").unwrap().1.replace("OwnerSecretAttachment", "OwnerSecret"))
            .collect();
        let allowed: BTreeSet<_> = policies
            .lines()
            .filter_map(|line| line.split_once("AWSSecretsManagerGetSecretValuePolicy: { SecretArn: "))
            .map(|(_, rest)| rest.strip_suffix(" }").unwrap().to_owned())
            .collect();
        assert_eq!(named, allowed, "{name}");
        for policy in policies.lines().take_while(|line| line.starts_with("        ")) {
            let known = [
                "- AWSSecretsManagerGetSecretValuePolicy: ",
                "- !If",
                "- HasTurnstile",
                "- !Ref AWS::NoValue",
            ];
            assert!(known.iter().any(|known| policy.trim().starts_with(known)), "{name}: {policy}");
        }
    }
}

#[test]
fn no_resource_and_no_action_is_a_wildcard() {
    for line in template().lines() {
        let says = line.contains("Action:") || line.contains("Resource:");
        assert!(!says || !line.contains('*'), "{line}");
        assert!(!line.contains("ManagedPolicyArns") && !line.contains("FullAccess"), "{line}");
    }
}

#[test]
fn the_schema_comes_before_every_function_and_a_bad_version_goes_back() {
    let template = template();
    let versions = std::fs::read_dir(dev::workspace().join("migrations")).unwrap();
    let versions = versions.map(|file| file.unwrap().file_name().into_string().unwrap());
    let last = versions.filter_map(|name| name[1..].split_once("__")?.0.parse::<u32>().ok()).max().unwrap();
    let schema = block_of(&template, "DatabaseSchema");
    assert!(schema.contains(&format!("SchemaVersion: \"{last}\"")), "the last migration is {last}: {schema}");
    assert!(schema.contains("ServiceToken: !GetAtt MigrateDatabase.Arn\n"), "{schema}");
    for name in functions() {
        let id = logical_id(&name);
        let block = block_of(&template, &id);
        let is_deployment = name == DEPLOYMENT;
        assert_eq!(block.contains("    DependsOn: DatabaseSchema\n"), !is_deployment, "{block}");
        let goes_back = format!("DeploymentPreference: {{ Alarms: [!Ref {id}Alarm] }}\n");
        assert_eq!(block.contains(&goes_back), !is_deployment, "{block}");
        assert_eq!(block.contains("AutoPublishAliasAllProperties: true\n"), !is_deployment, "{block}");
    }
    let deployment = block_of(&template, &logical_id(DEPLOYMENT));
    assert!(deployment.contains("DeploymentPreference: { Enabled: false }"), "{deployment}");
    assert!(!deployment.contains("Events:") && !deployment.contains("FunctionUrlConfig"), "{deployment}");
}

#[test]
fn every_route_has_its_url_in_the_outputs() {
    let template = template();
    for route in ENDPOINTS.iter().map(|endpoint| endpoint.route) {
        let output = format!("  {}Url: {{ Value: !Sub \"${{", logical_id(route.name));
        let line = template.lines().find(|line| line.starts_with(&output));
        let line = line.unwrap_or_else(|| panic!("{} has no URL in the outputs", route.name));
        assert!(line.ends_with(&format!("{}\" }}", &route.path[1..])), "{line}");
    }
}

/// One line of each kind, with every field that such a line can have: a request that failed, a scheduled run that did
/// not and one that did, and a migration.
async fn log_lines() -> Vec<Value> {
    // A port that was free a moment ago: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let world = World::empty().await.through(port);
    let app = world.app(&health::ROUTE).await;
    let job =
        Job::new(&SCHEDULE, Settings::from_variables(world.variables()), Clock::system()).await.unwrap();
    let (log, listening) = Log::capture();
    let response = app.respond(event("health").request(), health::handle).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let idle = async |_: Request| Ok::<_, DbError>(Report::default());
    job.run(json!({}), "1", None, idle).await.unwrap();
    let work = async |request: Request| parse_submissions::parse(&job, &request, &mut |_| ()).await;
    job.run(json!({}), "2", None, work).await.unwrap_err();
    drop(listening);
    let (_, migrations, _) = migrate_database(&HashMap::new(), &["Delete"]).await;
    [log.lines(), migrations].concat()
}

fn fields(lines: &[Value]) -> Names {
    let mut fields: Names = lines.iter().flat_map(|line| line.as_object().unwrap().keys().cloned()).collect();
    // No dealership is known when the database is not.
    fields.insert("dealership_id".to_owned());
    fields
}

#[tokio::test]
async fn the_metric_filters_find_what_we_log() {
    let lines = log_lines().await;
    let fields = fields(&lines);
    let mut filters = 0;
    const UNREACHABLE: &str = "the database cannot be reached";
    for (id, filter) in resources("AWS::Logs::MetricFilter") {
        for field in filter.split("$.").skip(1) {
            let field = field.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap();
            assert!(fields.contains(field), "{id}: no line has {field}");
            filters += 1;
        }
        let database = format!("'{{ $.cause = \"*{UNREACHABLE}*\" }}'");
        assert!(!id.ends_with("DatabaseErrors") || filter.contains(&database), "{filter}");
        let failures = "'{ $.level = \"ERROR\" }'";
        assert!(!id.ends_with("Failures") || filter.contains(failures), "{filter}");
    }
    assert!(filters > 2 * functions().len(), "only {filters} found");

    // What the patterns compare with is what is there, for a request and for a scheduled run alike.
    let of = |message: &str, outcome: &str| {
        let is = |line: &&Value| line["message"] == message && line["outcome"] == outcome;
        lines.iter().find(is).unwrap_or_else(|| panic!("{message} {outcome} in {lines:?}"))
    };
    for line in [of("request", "unavailable"), of("run", "failed")] {
        assert!(line["cause"].as_str().unwrap().contains(UNREACHABLE), "{line}");
        assert_eq!(line["level"], "ERROR");
    }
    assert!(of("request", "unavailable")["status"].is_u64());
    assert!(of("run", "ok")["waiting_seconds"].is_i64());
}

/// The names of the alarms; that of a function's alarm is the same for all.
fn alarms() -> Names {
    let of_functions: Names = functions().iter().map(|name| format!("{}Alarm", logical_id(name))).collect();
    let ids = resources("AWS::CloudWatch::Alarm").into_keys();
    ids.map(|id| if of_functions.contains(&id) { "<Function>Alarm".to_owned() } else { id }).collect()
}

#[test]
fn each_alarm_has_a_section_that_says_what_to_do_and_each_section_an_alarm() {
    let operate = read("docs/OPERATE.md");
    let sections = operate.lines().filter_map(|line| line.strip_prefix("### `")?.strip_suffix('`'));
    assert_eq!(sections.map(str::to_owned).collect::<Names>(), alarms());
}

/// What CloudWatch Logs Insights has of its own in our queries.
const INSIGHTS: [&str; 19] = [
    "as",
    "asc",
    "avg",
    "bin",
    "by",
    "count",
    "desc",
    "fields",
    "filter",
    "ispresent",
    "like",
    "limit",
    "max",
    "or",
    "pct",
    "sort",
    "stats",
    "sum",
    "and",
];

#[tokio::test]
async fn each_query_of_the_documents_asks_for_fields_that_are_there() {
    let mut known = fields(&log_lines().await);
    known.extend(INSIGHTS.map(str::to_owned));
    let mut words = 0;
    for document in ["docs/OPERATE.md", "docs/DEPLOY.md"] {
        let text = read(document);
        for query in text.split("```text\n").skip(1).map(|rest| rest.split("```").next().unwrap()) {
            // Not what stands in quotes, and no name that the query makes.
            let query: String = query.split(['"', '/']).step_by(2).collect();
            let made: Names = query.split(" as ").skip(1).map(|rest| word(rest).to_owned()).collect();
            let is_ours = |c: char| c.is_ascii_alphabetic() || c == '_' || c == '@';
            for name in query.split(|c| !is_ours(c)).filter(|name| !name.is_empty() && !name.starts_with('@'))
            {
                let bin = ["m", "h", "s"].contains(&name);
                assert!(known.contains(name) || made.contains(name) || bin, "{document}: {name} in {query}");
                words += 1;
            }
        }
    }
    assert!(words > 50, "only {words} found");
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphabetic() && c != '_').next().unwrap()
}

/// What the document has an operator do about an enquiry that cannot be read any more.
#[tokio::test]
async fn the_statements_of_the_document_find_what_waits_and_hold_it() {
    let text = read("docs/OPERATE.md");
    let blocks = text.split("```sql\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let [find, hold] = blocks.collect::<Vec<_>>()[..] else { panic!("there are two") };
    let world = World::seeded().await;
    let (owner, left) = (world.owner().await, submission(1));
    let waits =
        "update submissions set verdict = 'accepted', reasons = '{}', received_at = now() - interval '1 hour'
                  where id = $1";
    owner.execute(waits, &[&left]).await.unwrap();
    let (parser, _connection) = connect_as_owner(&world.database.url(Login::Parser)).await.unwrap();
    let found = async || format!("{:?}", parser.simple_query(find).await.unwrap());
    assert!(found().await.contains(&left.to_string()), "{}", found().await);
    let hold = hold.replace("PASTE-THE-DEALERSHIP", &TESLA_OSLO.id.to_string());
    owner.batch_execute(&hold.replace("PASTE-THE-ID", &left.to_string())).await.unwrap();
    assert!(!found().await.contains(&left.to_string()), "{}", found().await);
    assert_eq!(
        world.row("select verdict from submissions where id = $1", &[&left]).await.get::<_, &str>(0),
        "held"
    );
}
