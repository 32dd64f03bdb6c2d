//! The stacks as something to operate: alarms, limits, rights, and the documents about them.
use std::collections::{BTreeMap, HashMap};
use std::fs;

use dev::logical_id;
use dev::people::TESLA_OSLO;
use dev::stacks;
use lambda_http::http::StatusCode;
use parse_submissions::{Report, Request, SCHEDULE};
use registry::Function;
use serde_json::{Value, json};
use shared::clock::Clock;
use shared::config::Settings;
use shared::db::{DbError, connect_as_owner};
use shared::{Front, Job, Login};
use tokio::net::TcpListener;

use crate::support::custom_resource::migrate_database;
use crate::support::log::Log;
use crate::support::metrics::Metrics;
use crate::support::template::{Names, api_routes, block_of, functions, read, template_of, templates};
use crate::support::{DEPLOYMENT, ENDPOINTS, World, event, submission};

/// What API Gateway waits for an integration at most, in seconds (HTTP API quotas).
const API_GATEWAY: u32 = 30;
/// What Svix waits for an answer, in seconds (its documentation, "Retries").
const SVIX: u32 = 15;
/// What a function may take at most, in seconds (Lambda quotas).
const LAMBDA: u32 = 900;

/// The resources of a type in all stacks, by logical id.
fn resources(of_type: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for template in templates().into_values() {
        let (_, resources) = template.split_once("\nResources:\n").unwrap();
        let (resources, _) = resources.split_once("\nOutputs:\n").unwrap();
        let ids = resources.lines().filter_map(|line| line.strip_prefix("  "));
        let ids = ids.filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        let ids = ids.filter_map(|line| Some(line.split_once(':')?.0));
        let blocks = ids.map(|id| (id.to_owned(), block_of_any(&template, id)));
        let of_type = format!("    Type: {of_type}\n");
        for (id, block) in blocks.filter(|(_, block)| block.contains(&of_type)) {
            found.entry(id).or_insert_with(String::new).push_str(&block);
        }
    }
    found
}

/// As [`block_of`], with a comment behind the id.
fn block_of_any(template: &str, id: &str) -> String {
    let line = template.lines().find(|line| line.starts_with(&format!("  {id}:"))).unwrap();
    block_of(&template.replacen(line, &format!("  {id}:"), 1), id)
}

fn timeout(name: &str) -> u32 {
    let block = block_of(&template_of(name), &logical_id(name));
    let timeout = block.lines().find_map(|line| line.strip_prefix("      Timeout: "));
    timeout.unwrap().parse().unwrap()
}

#[test]
fn the_committed_stacks_are_what_the_registry_says() {
    let made = stacks::generated().unwrap();
    if std::env::var_os("INSTA_UPDATE").is_some_and(|update| update == "always") {
        stacks::write(&made, &dev::workspace()).unwrap();
    }
    for (path, text) in &made {
        assert!(&read(path) == text, "{path} is not what the registry says. Make it anew: cargo dev stacks");
    }
    let there = fs::read_dir(dev::workspace().join("stacks")).unwrap();
    let there: Names =
        there.map(|file| format!("stacks/{}", file.unwrap().file_name().into_string().unwrap())).collect();
    let expected = made.into_keys().filter(|path| path != "template.yaml");
    assert_eq!(there, expected.chain(["stacks/function.yaml".to_owned()]).collect());
}

#[test]
fn every_function_has_an_alarm_and_a_log_group() {
    for name in functions() {
        let (template, id) = (template_of(&name), logical_id(&name));
        let [logs, group, stack] = if name == DEPLOYMENT {
            ["MigrateDatabaseLogs", "${AWS::StackName}-migrate-database", "AWS::StackName"]
        } else {
            let area = registry::area_of(&name).unwrap();
            ["Logs", &format!("${{RootStackName}}/{area}"), "RootStackName"]
        };
        let log = block_of(&template, logs);
        assert!(log.contains(&format!("LogGroupName: !Sub \"/aws/lambda/{group}\"")), "{log}");
        assert!(log.contains("RetentionInDays: !Ref LogRetentionDays"), "{log}");
        assert_eq!(
            template.matches(&format!("LoggingConfig: {{ LogGroup: !Ref {logs},")).count(),
            1,
            "{name}"
        );
        let alarm = block_of(&template, &format!("{id}Alarm"));
        assert!(alarm.contains(&format!("AlarmName: !Sub \"${{{stack}}}-{name}\"")), "{alarm}");
        assert_eq!(alarm.matches(&format!("Value: !Ref {id} }}")).count(), 3, "{alarm}");
        let failures = match registry::functions().find(|(_, function)| function.name() == name).unwrap().1 {
            Function::Deployment(_) => "MetricName: MigrateDatabaseFailures }".to_owned(),
            Function::Schedule(_) => failures_by("schedule", &name),
            Function::Route(_) | Function::Files(_) => failures_by("route", &name),
        };
        assert!(alarm.contains(&format!("Namespace: !Ref {stack}, {failures}")), "{failures} in {alarm}");
        let half = format!("IF(FILL(p99, 0) > {}, 1, 0)", timeout(&name) * 1000 / 2);
        assert!(alarm.contains(&half), "half of its timeout is {half}: {alarm}");
    }
}

/// The metric of a line that failed, as an alarm names it.
fn failures_by(dimension: &str, name: &str) -> String {
    format!("MetricName: failed, Dimensions: [{{ Name: {dimension}, Value: {name} }}] }}")
}

#[test]
fn each_log_group_is_searched_for_the_database_out_of_reach() {
    let groups: Vec<String> = resources("AWS::Logs::LogGroup").into_values().collect();
    let of_functions = groups.concat().matches("LogGroupName: !Sub \"/aws/lambda/").count();
    let filters: String = resources("AWS::Logs::MetricFilter").into_values().collect();
    assert_eq!(filters.matches("MetricName: DatabaseErrors,").count(), of_functions, "{filters}");
}

#[test]
fn nothing_is_measured_that_no_alarm_and_no_plot_uses() {
    let alarms: String = resources("AWS::CloudWatch::Alarm").into_values().collect();
    for (id, filter) in resources("AWS::Logs::MetricFilter") {
        let names = all_after(&filter, "MetricName: ", &[',']);
        assert!(names.iter().all(|name| alarms.contains(&format!("MetricName: {name}"))), "{id}: {names:?}");
        // CloudWatch charges for a metric in each hour in which it is sent, a zero included.
        assert!(!filter.contains("DefaultValue"), "{id}");
    }
    for stage in resources("AWS::ApiGatewayV2::Stage").into_values() {
        assert!(!stage.contains("DetailedMetricsEnabled"), "six metrics for each route: {stage}");
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
    for name in functions() {
        let patience = match name.as_str() {
            "clerk-webhook" => SVIX,
            DEPLOYMENT => {
                let schema = block_of(&read("template.yaml"), "DatabaseSchema");
                let waits = schema.lines().find_map(|line| line.trim().strip_prefix("ServiceTimeout: "));
                waits.unwrap().parse().unwrap()
            }
            name if api_routes(name).0.is_some() => API_GATEWAY,
            // Nobody waits for a schedule; a stream's caller waits as long as it flows.
            _ => LAMBDA + 1,
        };
        assert!(timeout(&name) < patience, "{name} may take {} s of {patience}", timeout(&name));
    }
}

/// What follows each `before` up to the first of these characters.
fn all_after(text: &str, before: &str, until: &[char]) -> Names {
    text.split(before).skip(1).map(|rest| rest.split(until).next().unwrap().to_owned()).collect()
}

#[test]
fn a_function_may_read_the_secrets_that_its_environment_names_and_nothing_else() {
    for name in functions() {
        let (template, id) = (template_of(&name), logical_id(&name));
        let block = block_of(&template, &id);
        if name == DEPLOYMENT {
            let (environment, policies) = block.split_once("\n      Policies:\n").unwrap();
            let named = all_after(environment, "_SECRET_ARN: ", &['\n']);
            let named: Names =
                named.iter().map(|arn| arn.replace("OwnerSecretAttachment", "OwnerSecret")).collect();
            let policy = "        - AWSSecretsManagerGetSecretValuePolicy: { SecretArn: ";
            let mut allowed = Names::new();
            for line in policies.lines() {
                let arn = line.strip_prefix(policy).unwrap_or_else(|| panic!("{line}"));
                allowed.insert(arn.strip_suffix(" }").unwrap().to_owned());
            }
            assert_eq!(named, allowed, "{name}");
            continue;
        }
        let named = all_after(&block, "_SECRET_ARN: !Ref ", &['\n']);
        let role = all_after(&block, "      Role: !GetAtt ", &['.']).pop_first().unwrap();
        let role = block_of(&template, &role);
        assert!(!block.contains("Policies"), "{block}");
        let (_, statements) = role.split_once("            Statement:\n").unwrap();
        let mut lines = statements.lines().map(str::trim).filter(|line| !line.is_empty());
        let log = r#"- { Effect: Allow, Action: ["logs:CreateLogStream", "logs:PutLogEvents"], Resource: !GetAtt Logs.Arn }"#;
        assert_eq!(lines.next(), Some(log), "{role}");
        if !named.is_empty() {
            let reads = ["- Effect: Allow", "Action: \"secretsmanager:GetSecretValue\"", "Resource:"];
            assert_eq!(lines.by_ref().take(3).collect::<Vec<_>>(), reads, "{role}");
        }
        let allowed = lines.map(|line| {
            let bare = line.strip_prefix("- !If [HasTurnstile, ").unwrap_or(line);
            let bare = bare.strip_suffix(", !Ref AWS::NoValue]").unwrap_or(bare);
            bare.trim_start_matches("- ").strip_prefix("!Ref ").unwrap_or_else(|| panic!("{line}")).to_owned()
        });
        assert_eq!(named, allowed.collect(), "{name}");
    }
}

#[test]
fn no_resource_and_no_action_is_a_wildcard() {
    // What has no ARN: traces, and the network interfaces of a VPC.
    let policies = Names::from(
        ["AWSXRayDaemonWriteAccess", "service-role/AWSLambdaVPCAccessExecutionRole"].map(str::to_owned),
    );
    for (path, template) in templates() {
        for line in template.lines() {
            let says = line.contains("Action:") || line.contains("Resource:");
            assert!(!says || !line.contains('*'), "{path}: {line}");
            assert!(!line.contains("FullAccess"), "{path}: {line}");
        }
        assert!(all_after(&template, ":iam::aws:policy/", &['"']).is_subset(&policies), "{path}");
    }
    let roles: String = resources("AWS::IAM::Role").into_values().collect();
    assert_eq!(all_after(&roles, ":iam::aws:policy/", &['"']), policies);
}

#[test]
fn the_schema_comes_before_every_function_and_a_bad_version_goes_back() {
    let template = read("template.yaml");
    let versions = fs::read_dir(dev::workspace().join("migrations")).unwrap();
    let versions = versions.map(|file| file.unwrap().file_name().into_string().unwrap());
    let last = versions.filter_map(|name| name[1..].split_once("__")?.0.parse::<u32>().ok()).max().unwrap();
    let schema = block_of(&template, "DatabaseSchema");
    assert!(schema.contains(&format!("SchemaVersion: \"{last}\"")), "the last migration is {last}: {schema}");
    assert!(schema.contains("ServiceToken: !GetAtt MigrateDatabase.Arn\n"), "{schema}");
    let stacks = resources("AWS::CloudFormation::Stack");
    assert_eq!(
        stacks.keys().cloned().collect::<Names>(),
        registry::AREAS.iter().map(|area| logical_id(area.name)).collect()
    );
    for (id, stack) in stacks {
        assert!(stack.contains("    DependsOn: DatabaseSchema\n"), "{id}: {stack}");
        assert!(stack.contains("        DatabaseErrorsAlarm: !Ref DatabaseErrorsAlarm\n"), "{id}: {stack}");
    }
    for name in functions() {
        let (template, id) = (template_of(&name), logical_id(&name));
        let block = block_of(&template, &id);
        let is_deployment = name == DEPLOYMENT;
        let goes_back = format!("DeploymentPreference: {{ Alarms: [!Ref {id}Alarm] }}\n");
        assert_eq!(block.contains(&goes_back), !is_deployment, "{block}");
        assert_eq!(block.contains("AutoPublishAliasAllProperties: true\n"), !is_deployment, "{block}");
        let with_all =
            "    DeploymentPreference: { Type: !Ref DeploymentType, Alarms: [!Ref DatabaseErrorsAlarm] }\n";
        assert_eq!(template.contains("    AutoPublishAlias: live\n"), !is_deployment);
        assert_eq!(template.contains(with_all), !is_deployment);
    }
    let deployment = block_of(&template, &logical_id(DEPLOYMENT));
    assert!(!deployment.contains("Events:") && !deployment.contains("FunctionUrlConfig"), "{deployment}");
}

#[test]
fn every_route_is_on_a_host_of_the_outputs() {
    let template = read("template.yaml");
    let (_, outputs) = template.split_once("\nOutputs:\n").unwrap();
    let host = block_of_any(&template, "Host");
    let origin =
        |id: &str, domain: &str| host.contains(&format!("- Id: {id}\n            DomainName: !{domain}\n"));
    for (name, value) in [
        ("Url", r#"!If [HasDomain, !Sub "https://${DomainName}", !Sub "https://${Host.DomainName}"]"#),
        ("FormUrl", "!GetAtt FormApi.ApiEndpoint"),
    ] {
        assert!(outputs.contains(&format!("  {name}: {{ Value: {value} }}\n")), "{name} in {outputs}");
    }
    assert!(host.contains("DefaultCacheBehavior:\n          TargetOriginId: api\n"), "{host}");
    assert!(origin("api", r#"Sub "${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}""#), "{host}");
    for route in ENDPOINTS.iter().map(|endpoint| endpoint.route) {
        let url = format!(
            "{}.Outputs.{}Url",
            logical_id(registry::area_of(route.name).unwrap()),
            logical_id(route.name)
        );
        match route.front {
            Front::Api | Front::FormApi => assert!(api_routes(route.name).0.is_some(), "{}", route.name),
            // The peer gets the URL from the outputs, and calls no other.
            Front::Url => {
                let path = &route.path[1..];
                let output =
                    format!("  {}Url: {{ Value: !Sub \"${{{url}}}{path}\" }}\n", logical_id(route.name));
                assert!(outputs.contains(&output), "{output} in {outputs}");
            }
            // On the one host too: by its path, to the origin that is its URL.
            Front::StreamingUrl => {
                let behavior = format!("- PathPattern: {}\n            TargetOriginId: ", route.path);
                let target = all_after(&host, &behavior, &['\n']).pop_first();
                let target = target.unwrap_or_else(|| panic!("{behavior} in {host}"));
                assert!(origin(&target, &format!("Select [2, !Split [\"/\", !GetAtt {url}]]")), "{host}");
            }
        }
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
    assert!(filters > 10, "only {filters} found");

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
    // And so is the metric that the functions' alarms ask for.
    for (line, dimension, name) in [
        (of("request", "unavailable"), "route", "health"),
        (of("run", "failed"), "schedule", "parse-submissions"),
    ] {
        let metrics = Metrics::of(line).unwrap();
        assert_eq!(metrics.dimensions, [BTreeMap::from([(dimension.to_owned(), name.to_owned())])]);
        assert_eq!(metrics.values["failed"], 1.0);
        let alarm = block_of(&template_of(name), &format!("{}Alarm", logical_id(name)));
        assert!(alarm.contains(&failures_by(dimension, name)), "{alarm}");
    }
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
