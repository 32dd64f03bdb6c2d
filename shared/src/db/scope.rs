//! The scope: who a statement runs for. Claims, statement and commit leave in one network flush.
use std::sync::OnceLock;
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{Database, DbError, Param};
use crate::auth::{Claims, Organization, Permission, Role};

/// For all that one request wants of the database, so that it gets its 503 before the sandbox runs out of time: with
/// the 3 s that Clerk's keys may take it is less than the template's `Timeout`, and it is more than the logins'
/// `statement_timeout`, which bounds a database that still answers.
const BUDGET: Duration = Duration::from_secs(6);

/// A statement and what is bound to it.
pub type Statement<'a> = (&'static str, Vec<&'a dyn Param>);

type Bound<'a> = Vec<(&'a (dyn ToSql + Sync), Type)>;

/// Who the statements run for; each kind has its own gate function in `migrations/schema.sql`.
enum Entry {
    /// A member of a dealership, by verified claims. Without a role the token names none: then the row's counts,
    /// which has to be one of `allowed`.
    Member {
        claims: Box<Claims>,
        organization: Organization,
        role: Option<&'static str>,
        allowed: Vec<String>,
    },
    /// The public form of a dealership.
    Intake(Uuid),
    /// Clerk's webhooks.
    Provisioning,
    /// Whoever reads what a dealership's form has received; of no dealership, which ones have some to read.
    Parsing(Option<Uuid>),
}

/// Runs statements for one caller. There are two doors: [`Scope::query`] for one statement, and
/// [`Scope::open`] for one whose result the others need.
pub struct Scope<'a> {
    database: &'a Database,
    entry: Entry,
    read_only: bool,
    dealership: &'a OnceLock<Uuid>,
    deadline: Instant,
}

impl<'a> Scope<'a> {
    pub(crate) fn member(
        database: &'a Database,
        claims: Claims,
        organization: Organization,
        allowed: Vec<Role>,
        read_only: bool,
        dealership: &'a OnceLock<Uuid>,
    ) -> Self {
        let role = organization.names_role.then(|| organization.role.as_str());
        let allowed = allowed.into_iter().map(|role| role.as_str().to_owned()).collect();
        let claims = Box::new(claims);
        Self::new(database, Entry::Member { claims, organization, role, allowed }, read_only, dealership)
    }

    pub(crate) fn intake(database: &'a Database, form: Uuid, dealership: &'a OnceLock<Uuid>) -> Self {
        Self::new(database, Entry::Intake(form), false, dealership)
    }

    pub(crate) fn provisioning(database: &'a Database, dealership: &'a OnceLock<Uuid>) -> Self {
        Self::new(database, Entry::Provisioning, false, dealership)
    }

    pub(crate) fn parsing(database: &'a Database, of: Option<Uuid>, dealership: &'a OnceLock<Uuid>) -> Self {
        Self::new(database, Entry::Parsing(of), false, dealership)
    }

    fn new(database: &'a Database, entry: Entry, read_only: bool, dealership: &'a OnceLock<Uuid>) -> Self {
        Self { database, entry, read_only, dealership, deadline: Instant::now() + BUDGET }
    }

    /// Whether the calling member may have `permission`: their token's role has it, or names none. The policies
    /// decide.
    #[must_use]
    pub fn may_have(&self, permission: Permission) -> bool {
        matches!(&self.entry, Entry::Member { organization, .. }
            if !organization.names_role || organization.role.has(permission))
    }

    /// What the calling member's token says beside the role, for display: it grants nothing.
    #[must_use]
    pub fn custom_permissions(&self) -> &[String] {
        match &self.entry {
            Entry::Member { organization, .. } => &organization.custom_permissions,
            Entry::Intake(_) | Entry::Provisioning | Entry::Parsing(_) => &[],
        }
    }

    /// The one-statement door: `BEGIN`, the scope, the statement and `COMMIT` in one network flush.
    /// Nothing is done before all four succeeded. A caller the database has not seen yet is provisioned from
    /// the verified claims and the statement repeated; a read is repeated once over a broken connection.
    ///
    /// # Errors
    /// [`DbError`]. A write whose connection breaks may have happened: only an idempotency key can tell.
    pub async fn query(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, DbError> {
        before(self.deadline, self.try_query(sql, params)).await
    }

    async fn try_query(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, DbError> {
        let mut result = self.flush(sql, params).await;
        if self.read_only && result.as_ref().is_err_and(DbError::is_broken_connection) {
            result = self.flush(sql, params).await;
        }
        if result.as_ref().is_err_and(DbError::wants_provisioning) && self.provision().await? {
            result = self.flush(sql, params).await;
        }
        result
    }

    /// The transaction door: runs `sql` in one flush and leaves the transaction open for [`Open::commit`].
    ///
    /// # Errors
    /// [`DbError`]; then nothing happened.
    pub async fn open(&self, sql: &str, params: &[&dyn Param]) -> Result<(Open, Vec<Row>), DbError> {
        before(self.deadline, self.try_open(sql, params)).await
    }

    async fn try_open(&self, sql: &str, params: &[&dyn Param]) -> Result<(Open, Vec<Row>), DbError> {
        let open = self.take().await?;
        let rows = {
            let client = open.client()?;
            let (enter, claims) = self.entry.statement();
            let (claims, params) = (bind(&claims), bind(params));
            let (begin, entered, rows) = tokio::join!(
                biased;
                client.batch_execute(self.begin()),
                client.query_typed(enter, &claims),
                client.query_typed(sql, &params),
            );
            begin?;
            self.entered(&entered?)?;
            rows?
        };
        Ok((open, rows))
    }

    async fn flush(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, DbError> {
        let mut open = self.take().await?;
        let client = open.client()?;
        let (enter, claims) = self.entry.statement();
        let (claims, params) = (bind(&claims), bind(params));
        // Sent in this order, in one write; COMMIT answers Ok even when the statement failed, so all four count.
        let (begin, entered, rows, commit) = tokio::join!(
            biased;
            client.batch_execute(self.begin()),
            client.query_typed(enter, &claims),
            client.query_typed(sql, &params),
            client.batch_execute("commit"),
        );
        open.give_back();
        begin?;
        self.entered(&entered?)?;
        let rows = rows?;
        commit?;
        Ok(rows)
    }

    async fn take(&self) -> Result<Open, DbError> {
        Ok(Open { connection: Some(self.database.connection().await?), deadline: self.deadline })
    }

    fn begin(&self) -> &'static str {
        if self.read_only { "begin read only" } else { "begin" }
    }

    /// Remembers the dealership for the log.
    fn entered(&self, rows: &[Row]) -> Result<(), DbError> {
        if let Some(dealership) =
            rows.first().map(|row| row.try_get::<_, Option<Uuid>>(0)).transpose()?.flatten()
        {
            let _ = self.dealership.set(dealership);
        }
        Ok(())
    }

    /// Makes the dealership, user and membership that the claims vouch for. Says whether there was anything to do.
    async fn provision(&self) -> Result<bool, DbError> {
        let Entry::Member { claims, organization, role, .. } = &self.entry else { return Ok(false) };
        let params: [&dyn Param; 5] =
            [&organization.id, &organization.slug, &claims.user_id, role, &claims.issued_at];
        let mut open = self.take().await?;
        let provision = "select scope.provision($1, $2, $3, $4, $5)";
        let provisioned = open.client()?.query_typed(provision, &bind(&params)).await;
        open.give_back();
        provisioned?;
        Ok(true)
    }
}

impl Entry {
    fn statement(&self) -> (&'static str, Vec<&dyn Param>) {
        match self {
            Self::Member { claims, organization, role: Some(role), .. } => (
                "select scope.enter_member($1, $2, $3, $4)",
                vec![&organization.id, &claims.user_id, role, &claims.issued_at],
            ),
            Self::Member { claims, organization, role: None, allowed } => (
                "select scope.require_role(scope.enter_member($1, $2, null, $3), $4)",
                vec![&organization.id, &claims.user_id, &claims.issued_at, allowed],
            ),
            Self::Intake(dealership) => ("select scope.enter_intake($1)", vec![dealership]),
            Self::Provisioning => ("select scope.enter_provisioning()", vec![]),
            Self::Parsing(dealership) => ("select scope.enter_parsing($1)", vec![dealership]),
        }
    }
}

/// A connection in use. Dropped before every answer has come, by an error or by a deadline, it is closed instead of
/// going back to the pool, and PostgreSQL rolls an open transaction back.
pub struct Open {
    connection: Option<Object>,
    deadline: Instant,
}

impl Open {
    /// Runs the last statements, each of which sees what the ones before it did, and commits, all in one flush.
    /// Returns the rows of each.
    ///
    /// # Errors
    /// [`DbError`]; the transaction is then rolled back, unless the connection broke while committing.
    pub async fn commit(self, statements: &[Statement<'_>]) -> Result<Vec<Vec<Row>>, DbError> {
        self.end(statements, "commit").await
    }

    /// The same, and nothing of it stays: what a commit would have done.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn roll_back(self, statements: &[Statement<'_>]) -> Result<Vec<Vec<Row>>, DbError> {
        self.end(statements, "rollback").await
    }

    async fn end(
        mut self,
        statements: &[Statement<'_>],
        how: &'static str,
    ) -> Result<Vec<Vec<Row>>, DbError> {
        let client = self.client()?;
        // Sent in the order in which they are polled first, which is theirs.
        let sent = statements.iter().map(async |(sql, params)| client.query_typed(sql, &bind(params)).await);
        let all = async { Ok(tokio::join!(biased; join_all(sent), client.batch_execute(how))) };
        let (done, ended) = before(self.deadline, all).await?;
        let rows = done.into_iter().collect::<Result<_, _>>()?;
        ended?;
        self.give_back();
        Ok(rows)
    }

    fn client(&self) -> Result<&Object, DbError> {
        self.connection.as_ref().ok_or_else(|| DbError::Unavailable("the transaction is over".into()))
    }

    /// Every answer has come: the pool may have the connection.
    fn give_back(&mut self) {
        drop(self.connection.take());
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

/// Whoever stops waiting for a write does not know whether it happened.
async fn before<T>(deadline: Instant, work: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
    timeout_at(deadline, work).await.unwrap_or_else(|late| Err(DbError::Unavailable(late.into())))
}

fn bind<'a>(params: &[&'a dyn Param]) -> Bound<'a> {
    params.iter().map(|param| (*param as &(dyn ToSql + Sync), param.pg_type())).collect()
}

/// The third door, for the health check alone: outside any scope the policies show it nothing.
pub(crate) async fn ping_outside_any_scope(database: &Database) -> Result<(), DbError> {
    let deadline = Instant::now() + BUDGET;
    before(deadline, async {
        let mut open = Open { connection: Some(database.connection().await?), deadline };
        open.client()?.batch_execute("select 1").await?;
        open.give_back();
        Ok(())
    })
    .await
}
