//! `migrate-database`, as CloudFormation calls it: a process, a request, and an answer to a URL that was signed beforehand.
use std::collections::HashMap;

use dev::postgres::{Binaries, Cluster, Options};
use migrations::migrate;
use serde_json::{Value, json};
use shared::Login;
use shared::db::connect_as_owner;

use crate::support::custom_resource::migrate_database;
use crate::support::{World, event};

fn answer(status: &str, reason: &str) -> Value {
    let request = event("migrate-database");
    let request = request.value();
    json!({
        "Status": status,
        "Reason": reason,
        "PhysicalResourceId": "database-schema",
        "StackId": request["StackId"],
        "RequestId": request["RequestId"],
        "LogicalResourceId": request["LogicalResourceId"],
    })
}

/// A server of its own: users belong to the whole cluster, and these get other passwords.
fn bare_cluster() -> Cluster {
    let binaries = Binaries::find_or_fetch(&dev::target().join("tools")).unwrap();
    let folder = dev::target().join(format!("test-postgres/{}-migrate", std::process::id()));
    let options = Options { port: None, owner_password: "test".to_owned(), ephemeral: true };
    Cluster::start(&binaries, &folder, options).unwrap()
}

#[tokio::test]
async fn an_empty_database_is_brought_up_to_date_and_its_users_get_the_passwords_of_their_secrets() {
    let cluster = tokio::task::spawn_blocking(bare_cluster).await.unwrap();
    cluster.create_database("deployed").await.unwrap();
    let owner = cluster.owner_url("deployed");
    let url = |login: Login, password: &str| {
        let (user, port) = (login.user(), cluster.port());
        format!("postgres://{user}:{password}@127.0.0.1:{port}/deployed?sslmode=disable")
    };
    let settings = |password: &str| -> HashMap<String, String> {
        let logins = Login::ALL.map(|login| (login.setting().to_owned(), url(login, password)));
        logins.into_iter().chain([("DATABASE_URL_OWNER".to_owned(), owner.clone())]).collect()
    };

    let (answers, lines, log) = migrate_database(&settings("first"), &["Create", "Update", "Delete"]).await;
    assert_eq!(answers, vec![answer("SUCCESS", ""); 3]);
    assert!(lines[0]["applied"].as_str().unwrap().starts_with("V1__logins, V2__scope, "), "{}", lines[0]);
    let told: Vec<_> = lines.iter().map(|line| (&line["outcome"], &line["level"])).collect();
    assert_eq!(told, vec![(&json!("ok"), &json!("INFO")); 3]);
    assert_eq!((&lines[1]["applied"], &lines[2]["applied"]), (&json!(""), &json!("")), "twice is once");
    assert!(!log.contains("first") && !log.contains("postgres://"), "{log}");
    assert_eq!(migrate(&owner).await.unwrap(), [""; 0], "and Delete has deleted nothing");

    // The passwords of the next deployment's secrets take the place of those.
    migrate_database(&settings("second"), &["Update"]).await;
    for login in Login::ALL {
        assert!(connect_as_owner(&url(login, "second")).await.is_ok(), "{login:?}");
        assert!(connect_as_owner(&url(login, "first")).await.is_err(), "{login:?}");
    }
}

#[tokio::test]
async fn a_deployment_is_told_why_it_stops_and_no_password() {
    let world = World::empty().await;
    let mut settings: HashMap<String, String> = world.variables().into_iter().collect();
    settings.insert("DATABASE_URL_OWNER".to_owned(), world.database.owner_url.clone());
    let with = |name: &str, value: String| {
        let mut settings = settings.clone();
        settings.insert(name.to_owned(), value);
        settings
    };
    let missing = "set DATABASE_URL_OWNER, or DATABASE_URL_OWNER_SECRET_ARN to the secret that holds it";
    let swapped = "DATABASE_URL_READER cannot be used: it has to log in as norvalt_reader";
    let (_, place) = world.database.owner_url.split_once('@').unwrap();
    let wrong = format!("postgres://norvalt_owner:s3cret@{place}");
    for (settings, reason) in [
        (with("DATABASE_URL_OWNER", String::new()), missing),
        (with("DATABASE_URL_READER", world.database.url(Login::Writer)), swapped),
        (with("DATABASE_URL_OWNER", wrong), "the database refused: db error: SQLSTATE 28P01, password"),
    ] {
        let (answers, lines, log) = migrate_database(&settings, &["Create"]).await;
        let told = answers[0]["Reason"].as_str().unwrap();
        assert!(told.starts_with(reason), "{told}");
        assert_eq!(answers[0], answer("FAILED", told));
        assert_eq!((&lines[0]["outcome"], &lines[0]["level"]), (&json!("failed"), &json!("ERROR")));
        assert_eq!(lines[0]["cause"], told);
        assert!(!log.contains("s3cret") && !told.contains("s3cret"), "{log}");
    }
}

#[tokio::test]
async fn migrations_that_get_nowhere_are_told_in_time_and_wait_no_longer() {
    let world = World::empty().await;
    let mut settings: HashMap<String, String> = world.variables().into_iter().collect();
    settings.insert("DATABASE_URL_OWNER".to_owned(), world.database.owner_url.clone());
    // The runner's own lock, held by somebody else.
    let other = world.owner().await;
    other.execute("select pg_advisory_lock($1)", &[&0x4e6f_7276_616c_7400_i64]).await.unwrap();
    let (answers, _, _) = migrate_database(&settings, &["Update"]).await;
    let late =
        "the migrations took longer than this function may run: `cargo dev migrate --url` has no limit";
    assert_eq!(answers[0], answer("FAILED", late));
}
