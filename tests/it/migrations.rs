//! The migrations: from nothing, twice, by two at once, by somebody who is no superuser; and their sum.
use std::fs;

use dev::postgres::{Binaries, Cluster, Options};
use dev::testing::test_cluster;
use migrations::migrate;
use shared::db::connect_as_owner;

use crate::support::catalog::describe;
use crate::support::until;

fn files() -> Vec<String> {
    let names = fs::read_dir(dev::workspace().join("migrations")).unwrap();
    let names = names.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with('V')).collect();
    names.sort();
    names
}

#[tokio::test]
async fn from_nothing_every_file_runs_in_order_and_running_twice_changes_nothing() {
    let database = test_cluster().await.unwrap().empty_database().await.unwrap();
    let applied = migrate(&database.owner_url).await.unwrap();
    assert_eq!(applied.len(), files().len());
    for (applied, file) in applied.iter().zip(files()) {
        let (number, name) = file.trim_start_matches('V').trim_end_matches(".sql").split_once("__").unwrap();
        assert_eq!(*applied, format!("V{}__{name}", number.parse::<u32>().unwrap()));
    }
    assert_eq!(migrate(&database.owner_url).await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn two_at_once_wait_for_each_other() {
    let database = test_cluster().await.unwrap().empty_database().await.unwrap();
    let (first, second) = tokio::join!(migrate(&database.owner_url), migrate(&database.owner_url));
    let mut applied = [first.unwrap().len(), second.unwrap().len()];
    applied.sort_unstable();
    assert_eq!(applied, [0, files().len()], "one does all, the other nothing");
}

/// Where a deployment is rolled back, the migrations of the newer release stay.
#[tokio::test]
async fn a_newer_schema_is_left_as_it_is() {
    let database = test_cluster().await.unwrap().new_database().await.unwrap();
    let owner = connect_as_owner(&database.owner_url).await.unwrap().0;
    let newer = "insert into refinery_schema_history select 9999, 'newer', applied_on, '1' from refinery_schema_history limit 1";
    owner.batch_execute(newer).await.unwrap();
    assert_eq!(migrate(&database.owner_url).await.unwrap(), [""; 0]);
    let unknown = "update refinery_schema_history set version = 0 where version = 9999";
    owner.batch_execute(unknown).await.unwrap();
    assert!(migrate(&database.owner_url).await.is_err(), "an older one that we do not know is no rollback");
}

#[tokio::test]
async fn a_runner_that_gives_up_waits_no_longer() {
    let database = test_cluster().await.unwrap().new_database().await.unwrap();
    let owner = connect_as_owner(&database.owner_url).await.unwrap().0;
    owner.execute("select pg_advisory_lock($1)", &[&0x4e6f_7276_616c_7400_i64]).await.unwrap();
    let waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted
                    and database = (select oid from pg_database where datname = current_database())";
    let count = async || owner.query_one(waits, &[]).await.unwrap().get::<_, i64>(0);
    tokio::select! {
        applied = migrate(&database.owner_url) => panic!("it did not wait: {applied:?}"),
        () = until("the runner waits", async || count().await == 1) => {}
    }
    until("the runner waits no longer", async || count().await == 0).await;
}

#[tokio::test]
async fn the_sum_is_schema_sql() {
    let cluster = test_cluster().await.unwrap();
    let (migrated, summed) = (cluster.new_database().await.unwrap(), cluster.empty_database().await.unwrap());
    let (migrated, _connection) = connect_as_owner(&migrated.owner_url).await.unwrap();
    let (client, _connection2) = connect_as_owner(&summed.owner_url).await.unwrap();
    let schema = fs::read_to_string(dev::workspace().join("migrations/schema.sql")).unwrap();
    client.batch_execute(&format!("begin; {schema}; commit")).await.unwrap();

    let (migrated, summed) = (describe(&migrated).await, describe(&client).await);
    assert!(migrated.len() > 100, "the description has lost something");
    let missing: Vec<_> = migrated.iter().filter(|line| !summed.contains(line)).collect();
    let extra: Vec<_> = summed.iter().filter(|line| !migrated.contains(line)).collect();
    assert!(
        missing.is_empty() && extra.is_empty(),
        "schema.sql lacks {missing:#?} and has beside that {extra:#?}"
    );
}

#[tokio::test]
async fn a_deployment_needs_no_superuser() {
    // A server of its own: users belong to the whole cluster, and here ours must not exist yet.
    let own = tokio::task::spawn_blocking(bare_cluster).await.unwrap();
    let admin = connect_as_owner(&own.owner_url("postgres")).await.unwrap().0;
    admin.batch_execute("create role deployer login createrole password 'test'").await.unwrap();
    admin.batch_execute("create database deployed owner deployer").await.unwrap();
    let url = format!("postgres://deployer:test@127.0.0.1:{}/deployed?sslmode=disable", own.port());
    assert_eq!(migrate(&url).await.unwrap().len(), files().len());
}

fn bare_cluster() -> Cluster {
    let binaries = Binaries::find_or_fetch(&dev::target().join("tools")).unwrap();
    let folder = dev::target().join(format!("test-postgres/{}-bare", std::process::id()));
    Cluster::start(
        &binaries,
        &folder,
        Options { port: None, owner_password: "test".to_owned(), ephemeral: true },
    )
    .unwrap()
}
