//! What the database itself promises, read from its catalog: a new table cannot forget it.
use shared::db::{Login, connect_as_owner};

use crate::support::{World, catalog};

/// Rows of one text column.
async fn texts(world: &World, sql: &str) -> Vec<String> {
    world.owner().await.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

const OUR_TABLES: &str =
    "relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> 'refinery_schema_history'";

#[tokio::test]
async fn every_table_has_forced_policies_with_both_clauses() {
    let world = World::empty().await;
    let unforced = format!(
        "select relname::text from pg_class where {OUR_TABLES} and not (relrowsecurity and relforcerowsecurity)"
    );
    assert_eq!(texts(&world, &unforced).await, [""; 0], "row-level security is not enabled and forced");

    let without = format!(
        "select relname::text from pg_class where {OUR_TABLES} and not exists (
            select from pg_policies where tablename = relname and permissive = 'PERMISSIVE' and cmd = 'ALL'
               and qual is not null and with_check is not null)"
    );
    assert_eq!(texts(&world, &without).await, [""; 0], "no policy for every command");

    let half = "select tablename || '.' || policyname from pg_policies
                 where with_check is null or (cmd <> 'INSERT' and qual is null)";
    assert_eq!(texts(&world, half).await, [""; 0], "a policy without both clauses");
    let open = "select tablename || '.' || policyname from pg_policies
                 where 'public' = any (roles) or (roles <> '{norvalt_gate}' and 'true' in (qual, with_check))";
    assert_eq!(
        texts(&world, open).await,
        [""; 0],
        "a policy for everybody, or one that lets everything through"
    );
}

/// What a customer said is the scope's dealership's to the gate, too: it sees past the role, not past the tenant.
#[tokio::test]
async fn the_gate_sees_every_dealership_in_these_tables_alone() {
    let world = World::empty().await;
    let open = "select tablename::text from pg_policies where roles = '{norvalt_gate}'
                   and (qual, with_check) is distinct from ('(dealership_id = ( SELECT scope.dealership_id() AS dealership_id))',
                                                            '(dealership_id = ( SELECT scope.dealership_id() AS dealership_id))')
                 order by 1";
    assert_eq!(texts(&world, open).await, ["clerk_tombstones", "dealerships", "memberships", "users"]);
}

#[tokio::test]
async fn tenant_tables_are_keyed_by_the_tenant_first() {
    let world = World::empty().await;
    let keys = "select conname::text from pg_constraint c
         join pg_attribute t on t.attrelid = conrelid and t.attname = 'dealership_id'
        where contype in ('p', 'u', 'f') and conkey[1] <> t.attnum and conname <> 'memberships_user_fkey'";
    assert_eq!(
        texts(&world, keys).await,
        [""; 0],
        "a key, unique or foreign key that does not start with the tenant"
    );
    let indexes = "select indexrelid::regclass::text from pg_index i
         join pg_attribute t on t.attrelid = indrelid and t.attname = 'dealership_id'
        where indkey[0] <> t.attnum and indexrelid::regclass::text <> 'memberships_user_idx'";
    assert_eq!(texts(&world, indexes).await, [""; 0], "an index that does not start with the tenant");
    let nullable =
        "select attrelid::regclass::text from pg_attribute where attname = 'dealership_id' and not attnotnull
                       and attrelid in (select oid from pg_class where relkind = 'r')";
    assert_eq!(texts(&world, nullable).await, [""; 0], "a row may have no tenant");
}

/// So `scope.purge` need not know the tables.
#[tokio::test]
async fn what_a_dealership_has_goes_with_it() {
    let world = World::empty().await;
    let staying = "select relname::text from pg_class t join pg_attribute a on a.attrelid = t.oid and a.attname = 'dealership_id'
        where relkind = 'r' and relnamespace = 'public'::regnamespace and not exists (
            select from pg_constraint where conrelid = t.oid and contype = 'f' and confdeltype = 'c'
               and confrelid = 'dealerships'::regclass and conkey = array[attnum])";
    assert_eq!(
        texts(&world, staying).await,
        [""; 0],
        "no foreign key to the dealership that deletes with it"
    );
    let bound = "select conname::text from pg_constraint
        where contype = 'f' and confrelid = 'leads'::regclass and confdeltype <> 'c'";
    assert_eq!(texts(&world, bound).await, [""; 0], "what hangs on a lead does not go with it");
    let slow =
        "select conname::text from pg_constraint c where contype = 'f' and confrelid = 'leads'::regclass
        and not exists (select from pg_index where indrelid = conrelid
                           and coalesce(pg_get_expr(indpred, indrelid), '') in
                               ('', format('(%s IS NOT NULL)', (select attname from pg_attribute
                                                                 where attrelid = conrelid and attnum = conkey[2])))
                           and (indkey::int2[])[0:cardinality(conkey) - 1] @> conkey)";
    assert_eq!(texts(&world, slow).await, [""; 0], "no index finds what hangs on a lead");
    let early =
        "select conname::text from pg_constraint where contype = 'f' and confdeltype not in ('a', 'c')";
    assert_eq!(texts(&world, early).await, [""; 0], "one that refuses before all is deleted");
}

#[tokio::test]
async fn every_constraint_is_named() {
    let world = World::empty().await;
    let unnamed = "select conname::text from pg_constraint c join pg_class t on t.oid = conrelid
        where connamespace = 'public'::regnamespace and contype <> 'n' and relname <> 'refinery_schema_history'
          and conname !~ ('^' || relname || case contype when 'p' then '_pkey$' when 'u' then '_[a-z_]+_key$'
                          when 'f' then '_[a-z_]+_fkey$' else '_[a-z0-9_]+_check$' end)";
    assert_eq!(texts(&world, unnamed).await, [""; 0]);
}

#[tokio::test]
async fn the_grants_are_these() {
    let world = World::empty().await;
    insta::assert_snapshot!(catalog::grants(&world.owner().await).await.join("\n"));
}

#[tokio::test]
async fn no_login_user_can_bypass_the_policies() {
    let world = World::empty().await;
    let bypassing = "select l.rolname || ' through ' || r.rolname from pg_roles l, pg_roles r
        where l.rolcanlogin and l.rolname like 'norvalt\\_%' and l.rolname <> 'norvalt_owner'
          and pg_has_role(l.oid, r.oid, 'member') and l.oid <> r.oid";
    assert_eq!(texts(&world, bypassing).await, [""; 0], "a member of another role");
    let powerful = "select rolname::text from pg_roles
        where rolname like 'norvalt\\_%' and rolname <> 'norvalt_owner'
          and (rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication)";
    assert_eq!(texts(&world, powerful).await, [""; 0]);
    let owning = "select c.oid::regclass::text from pg_class c join pg_roles r on r.oid = relowner where rolname like 'norvalt\\_%'
        and rolname <> 'norvalt_owner'";
    assert_eq!(texts(&world, owning).await, [""; 0], "an owner can switch the policies off");
    let timeless = "select rolname::text from pg_roles where rolcanlogin and rolname like 'norvalt\\_%' and rolname <> 'norvalt_owner'
        and (select count(*) from unnest(rolconfig) s where s ~ '^(statement|lock|idle_in_transaction_session)_timeout=') <> 3";
    assert_eq!(texts(&world, timeless).await, [""; 0], "a login without timeouts");
}

#[tokio::test]
async fn definer_functions_pin_their_search_path() {
    let world = World::empty().await;
    let unpinned = "select oid::regprocedure::text from pg_proc where pronamespace in ('public'::regnamespace, 'scope'::regnamespace)
        and (prosecdef or prolang = (select oid from pg_language where lanname = 'plpgsql'))
        and not coalesce(proconfig, '{}') @> '{\"search_path=pg_catalog, pg_temp\"}'";
    assert_eq!(texts(&world, unpinned).await, [""; 0]);
}

#[tokio::test]
async fn without_a_scope_no_table_shows_a_row() {
    let world = World::seeded().await;
    let tables = texts(&world, &format!("select relname::text from pg_class where {OUR_TABLES}")).await;
    assert!(tables.len() >= 8, "{tables:?}");
    let settings = [
        "",
        "select set_config('norvalt.dealership_id', '', false), set_config('norvalt.provisioning', '', false)",
    ];
    for login in Login::ALL {
        let (client, _connection) = connect_as_owner(&world.database.url(login)).await.unwrap();
        for table in &tables {
            for setting in settings {
                client.batch_execute(setting).await.unwrap();
                match client.query(&format!("select 1 from {table}"), &[]).await {
                    Ok(rows) => assert_eq!(rows.len(), 0, "{login:?} sees {table}"),
                    Err(error) => {
                        assert_eq!(error.code().unwrap().code(), "42501", "{login:?} on {table}: {error}")
                    }
                }
            }
        }
    }
}

#[tokio::test]
async fn one_connection_serves_one_dealership_then_the_other_then_none() {
    let world = World::seeded().await;
    let (client, _connection) = connect_as_owner(&world.database.url(Login::Reader)).await.unwrap();
    let leads = client.prepare("select count(*) from leads").await.unwrap();
    let now = jiff::Timestamp::now().as_second();
    let mut counts = Vec::new();
    for organization in ["org_tesla_oslo", "org_vw_bergen"] {
        client.batch_execute("begin").await.unwrap();
        let enter = "select scope.enter_member($1, 'user_ola_berg', 'manager', $2)";
        client.execute(enter, &[&organization, &now]).await.unwrap();
        counts.push(client.query_one(&leads, &[]).await.unwrap().get::<_, i64>(0));
        client.batch_execute("commit").await.unwrap();
    }
    counts.push(client.query_one(&leads, &[]).await.unwrap().get(0));
    assert_eq!(counts, [10, 10, 0]);
}

#[tokio::test]
async fn a_row_cannot_be_written_for_or_moved_to_another_dealership() {
    let world = World::seeded().await;
    let (client, _connection) = connect_as_owner(&world.database.url(Login::Writer)).await.unwrap();
    let now = jiff::Timestamp::now().as_second();
    let other = dev::people::VW_BERGEN.id;
    for statement in [
        "insert into leads (source, first_name, dealership_id) values ('api', 'x', $1)",
        "update leads set dealership_id = $1",
    ] {
        client.batch_execute("begin").await.unwrap();
        client
            .execute(
                "select scope.enter_member('org_tesla_oslo', 'user_kari_nordmann', 'admin', $1)",
                &[&now],
            )
            .await
            .unwrap();
        let error = client.execute(statement, &[&other]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{statement}");
        client.batch_execute("rollback").await.unwrap();
    }
}

/// What the handlers refuse, the policies refuse by themselves.
#[tokio::test]
async fn a_role_is_held_by_the_policies_too() {
    let world = World::seeded().await;
    let (client, _connection) = connect_as_owner(&world.database.url(Login::Writer)).await.unwrap();
    let now = jiff::Timestamp::now().as_second();
    let ola = dev::people::OLA.id;
    for (person, role, statement, expected) in [
        ("user_ola_berg", "manager", "update leads set deleted_at = now()", Err("42501")),
        ("user_kari_nordmann", "admin", "update leads set deleted_at = now()", Ok(10)),
        ("user_nina_lie", "sales_rep", "insert into leads (source, first_name, assigned_to) values ('api', 'x', scope.user_id())", Err("42501")),
        ("user_nina_lie", "sales_rep", "update leads set assigned_to = $1", Err("42501")),
        ("user_nina_lie", "sales_rep", "update leads set company = 'x' where assigned_to is distinct from scope.user_id()", Ok(0)),
        ("user_nina_lie", "sales_rep", "insert into conversations (lead_id, direction, channel, author_kind, body)
            values ((select '019a0000-0000-7000-8000-000000001001'::uuid), 'outbound', 'email', 'human', 'x')", Err("42501")),
    ] {
        client.batch_execute("begin").await.unwrap();
        client.execute("select scope.enter_member('org_tesla_oslo', $1, $2, $3)", &[&person, &role, &now]).await.unwrap();
        let done = match statement.contains("$1") {
            true => client.execute(statement, &[&ola]).await,
            false => client.execute(statement, &[]).await,
        };
        let done = done.map_err(|error| error.code().unwrap().code().to_owned());
        assert_eq!(done, expected.map_err(str::to_owned), "{role}: {statement}");
        client.batch_execute("rollback").await.unwrap();
    }
}
