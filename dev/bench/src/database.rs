//! The benchmark's own PostgreSQL, with the product's schema, logins and policies and a chosen number of leads.
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use dev::database::{bring_up_to_date, tools};
use dev::postgres::{Binaries, Cluster, Options};
use dev::progress::Step;
use shared::db::{Login, connect_as_owner};
use tokio_postgres::Client;
use uuid::Uuid;

/// The password of every user here. The server listens on this machine only, holds made-up data, and ends with us.
const PASSWORD: &str = "bench";

/// Leads that one statement inserts.
const CHUNK: i64 = 50_000;

/// Memory for the pages that are read, as a production database has, and connections for every contender.
const SETTINGS: &str = "
    alter system set shared_buffers = '1GB';
    alter system set max_connections = 200;
    alter system set max_wal_size = '4GB'";

/// Empties the tables. [`DEALERSHIPS`] then makes dealerships with one admin each.
const START_OVER: &str = "
    comment on schema public is 'filling';
    truncate dealerships, users, webhook_inbox, clerk_tombstones cascade";
const DEALERSHIPS: &str = "
    with d as (
        insert into dealerships (id, clerk_org_id, name, subscription_tier, form_hourly_cap, form_address_cap)
        select pg_temp.numbered('d', i), 'org_bench_' || i, 'Dealership ' || i, 'professional', 100000, 100
          from generate_series(0, $1::bigint - 1) i
    ), u as (
        insert into users (id, clerk_user_id, first_name)
        select pg_temp.numbered('e', i), 'user_bench_' || i, 'Admin' from generate_series(0, $1 - 1) i
    )
    insert into memberships (dealership_id, user_id, role, role_at)
    select pg_temp.numbered('d', i), pg_temp.numbered('e', i), 'admin', to_timestamp(0) from generate_series(0, $1 - 1) i";

/// Removes the rows that earlier runs wrote, so that each run finds the same.
const FORGET: &str = "
    delete from dealerships where clerk_org_id ^@ 'org_hook_';
    update dealerships set form_origins = '{}', form_hourly_cap = 100000 where form_origins <> '{}';
    truncate webhook_inbox, submissions, form_mappings, merges, idempotency_keys cascade;
    delete from conversations where id > '019b0000-0000-7000-8002-ffffffffffff';
    delete from leads where id > '019b0000-0000-7000-8001-ffffffffffff'";

/// Makes ids with a kind and a number in them: 019b0000-0000-7000-800KIND-NUMBER.
const NUMBERED: &str = "
    set session_replication_role = replica;
    create function pg_temp.numbered(kind text, number bigint) returns uuid language sql immutable
    return ('019b0000-0000-7000-800' || kind || '-' || lpad(to_hex(number), 12, '0'))::uuid";

/// Makes the merges that are undone, as the dealerships' admins would.
const MERGED: &str = "
    select scope.merge_leads(pg_temp.numbered('8', n), pg_temp.numbered('6', n), pg_temp.numbered('7', n), null)
      from (select n, n % $2::bigint as d from generate_series(0, $1::bigint - 1) n) numbered
     cross join lateral scope.enter_member('org_bench_' || d, 'user_bench_' || d, 'admin', 0)";

/// The contents of one of the benchmark's databases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// Its database's name.
    pub(crate) name: &'static str,
    pub(crate) leads: i64,
    pub(crate) dealerships: i64,
}

/// Starts the cluster kept in `folder`.
pub(crate) async fn start(folder: &Path) -> Result<Arc<Cluster>> {
    let cluster = launch(folder).await?;
    let (owner, _) = connect_as_owner(&cluster.owner_url("postgres")).await?;
    let is_set = "select current_setting('max_connections') = '200'";
    if owner.query_one(is_set, &[]).await?.try_get(0)? {
        return Ok(cluster);
    }
    // Each of them is a transaction of its own.
    for setting in SETTINGS.split(';') {
        owner.batch_execute(setting).await?;
    }
    drop((owner, cluster));
    launch(folder).await
}

async fn launch(folder: &Path) -> Result<Arc<Cluster>> {
    let folder = folder.to_owned();
    let start = move || {
        let binaries = Binaries::find_or_fetch(&tools())?;
        let options = Options { port: None, owner_password: PASSWORD.to_owned(), ephemeral: false };
        Cluster::start(&binaries, &folder, options)
    };
    Ok(Arc::new(tokio::task::spawn_blocking(start).await??))
}

/// Makes the database and fills it, unless an earlier run has.
pub(crate) async fn fill(cluster: &Cluster, size: Size) -> Result<()> {
    cluster.create_database(size.name).await?;
    let url = cluster.owner_url(size.name);
    bring_up_to_date(&url, &Login::ALL.map(|login| (login, PASSWORD.to_owned()))).await?;
    let (owner, _) = connect_as_owner(&url).await?;
    let holds = "select obj_description('public'::regnamespace, 'pg_namespace') = 'full'
                    and (select count(*) from dealerships where clerk_org_id ^@ 'org_bench_') = $1";
    if owner.query_one(holds, &[&size.dealerships]).await?.get::<_, Option<bool>>(0) == Some(true) {
        return owner.batch_execute(FORGET).await.context("forget what an earlier run wrote");
    }
    put_in(&owner, size).await.with_context(|| format!("fill the database {}", size.name))
}

async fn put_in(owner: &Client, size: Size) -> Result<()> {
    owner.batch_execute(START_OVER).await?;
    owner.batch_execute(NUMBERED).await?;
    owner.execute(DEALERSHIPS, &[&size.dealerships]).await?;
    let step = Step::begin_talkative(&format!("filling {} with {} leads", size.name, size.leads));
    let mut first = 0;
    while first < size.leads {
        let end = (first + CHUNK).min(size.leads);
        owner.execute(include_str!("fill.sql"), &[&first, &end, &size.dealerships, &size.leads]).await?;
        first = end;
        eprint!("    {:>3} %\r", first * 100 / size.leads);
    }
    // The first reader would otherwise do it, and its time would be measured.
    owner.batch_execute("vacuum (analyze)").await?;
    owner.batch_execute("checkpoint").await?;
    owner.batch_execute("comment on schema public is 'full'").await?;
    step.done(&format!("{} filled", size.name));
    Ok(())
}

/// Inserts the rows that so many requests of each writing function change or delete.
pub(crate) async fn put_in_for_counting(cluster: &Cluster, size: Size, requests: i64) -> Result<()> {
    let (owner, _) = connect_as_owner(&cluster.owner_url(size.name)).await?;
    owner.batch_execute(NUMBERED).await?;
    owner.execute(include_str!("counted.sql"), &[&requests, &size.dealerships]).await?;
    // A merge relies on the triggers.
    owner.batch_execute("reset session_replication_role").await?;
    owner.execute(MERGED, &[&requests, &size.dealerships]).await?;
    Ok(())
}

/// The URL by which a login user reaches a database through a port of this machine.
pub(crate) fn url(login: Login, port: u16, database: &str) -> String {
    format!("postgres://{}:{PASSWORD}@127.0.0.1:{port}/{database}?sslmode=disable", login.user())
}

/// The password alone, for programs that take no URL.
pub(crate) const fn password() -> &'static str {
    PASSWORD
}

/// The kinds of ids that [`NUMBERED`] makes, each with its digit.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The leads of all dealerships in turn: the oldest lead of the nth dealership is the nth.
    Lead = 1,
    /// A lead that is deleted.
    Deleted = 3,
    /// A lead that another is merged into.
    Survivor = 4,
    /// The other.
    Merged = 5,
    /// A merge that is undone; its leads have 6 and 7.
    Merge = 8,
    /// A submission that is rejected.
    Rejected = 9,
    /// A submission that is released.
    Released = 0xa,
    Dealership = 0xd,
}

impl Kind {
    pub(crate) fn id(self, number: u64) -> Uuid {
        let kind = self as u128;
        Uuid::from_u128(0x019b_0000_0000_7000_8000_0000_0000_0000 | kind << 48 | u128::from(number))
    }
}
