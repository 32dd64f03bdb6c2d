//! A database's catalog as lines of text that can be compared and reviewed.
use tokio_postgres::Client;

/// What the migration runner keeps for itself.
const RUNNERS_OWN: &str = "refinery_schema_history";

/// Everything that the migrations make in this database, a line each.
pub async fn describe(client: &Client) -> Vec<String> {
    let queries = [
        "select format('table %s rls=%s forced=%s', oid::regclass, relrowsecurity, relforcerowsecurity)
           from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> $1",
        "select format('column %s.%s %s%s%s%s', attrelid::regclass, attname, format_type(atttypid, atttypmod),
                       case when attnotnull then ' not null' end,
                       ' default ' || pg_get_expr(adbin, adrelid), ' collate ' || c.collname)
           from pg_attribute join pg_class t on t.oid = attrelid
           left join pg_attrdef on adrelid = attrelid and adnum = attnum
           left join pg_collation c on c.oid = attcollation
          where attnum > 0 and relkind = 'r' and relnamespace = 'public'::regnamespace and relname <> $1",
        "select format('constraint %s on %s %s', conname, conrelid::regclass, pg_get_constraintdef(c.oid))
           from pg_constraint c join pg_class t on t.oid = conrelid
          where connamespace = 'public'::regnamespace and contype <> 'n' and relname <> $1",
        "select format('index %s', indexdef) from pg_indexes where schemaname = 'public' and tablename <> $1",
        "select format('policy %s on %s for %s to %s using (%s) with check (%s) %s', policyname, tablename, cmd, roles,
                       qual, with_check, permissive) from pg_policies where tablename <> $1",
        "select format('function %s owner=%s %s', oid::regprocedure, proowner::regrole, pg_get_functiondef(oid))
           from pg_proc where pronamespace in ('public'::regnamespace, 'scope'::regnamespace) and proname <> $1",
        "select format('trigger %s', pg_get_triggerdef(oid)) from pg_trigger where not tgisinternal and tgname <> $1",
    ];
    let mut lines = grants(client).await;
    for query in queries {
        let rows = client.query(query, &[&RUNNERS_OWN]).await.unwrap();
        lines.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    lines.sort();
    lines
}

/// Who may do what, of the users that functions log in as and the gate.
pub async fn grants(client: &Client) -> Vec<String> {
    let query = "
        with granted as (
            select grantee, lower(privilege_type) || ' on ' || table_name as what, '' as columns
              from information_schema.role_table_grants where table_schema = 'public' and table_name <> $1
            union all
            select c.grantee, lower(c.privilege_type) || ' on ' || c.table_name,
                   ' (' || string_agg(c.column_name, ', ' order by c.column_name) || ')'
              from information_schema.role_column_grants c
              left join information_schema.role_table_grants t
                   on (t.grantee, t.table_schema, t.table_name, t.privilege_type)
                      = (c.grantee, c.table_schema, c.table_name, c.privilege_type)
             where c.table_schema = 'public' and c.table_name <> $1 and t.grantee is null
             group by c.grantee, c.privilege_type, c.table_name
            union all
            select r.rolname, 'execute on ' || p.oid::regprocedure, ''
              from pg_roles r, pg_proc p
             where p.pronamespace = 'scope'::regnamespace and p.prosecdef and has_function_privilege(r.oid, p.oid, 'execute')
        )
        select grantee || ' may ' || what || columns from granted where grantee like 'norvalt\\_%' and grantee <> 'norvalt_owner'
         order by 1";
    let rows = client.query(query, &[&RUNNERS_OWN]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}
