//! The scope: who a statement runs for. Claims, statement and commit leave in one network flush.
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::future::{join_all, poll_immediate};
use futures_util::stream::{self, Stream};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

use super::{Database, DbError, Param, Visit};
use crate::auth::{Claims, Organization, Permission, Role};

/// For all that one request wants of the database, so that it gets its 503 before the sandbox runs out of time: with
/// the 3 s that Clerk's keys may take it is less than the template's `Timeout`, and it is more than the logins'
/// `statement_timeout`, which bounds a database that still answers.
const BUDGET: Duration = Duration::from_secs(6);

/// Rows that a stream reads at a time: a few hundred kB of ordinary leads, and 20 MB of the largest.
const STREAM_ROWS: usize = 500;

/// Reads the next of them.
const FETCH: &str = "fetch forward 500 from streamed";

/// Waits for whoever has the lock of this name in the scope's dealership, until the transaction ends.
const LOCK: &str = "select pg_advisory_xact_lock(hashtextextended($1 || scope.dealership_id()::text, 0))";

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

/// Runs statements for one caller. There are three doors: [`Scope::query`] for one statement, [`Scope::open`] for one
/// whose result the others need, and [`Scope::stream`] for one with more rows than fit in memory; two more are the first
/// one's, [`Scope::query_in_turn`] and [`Scope::query_both`].
pub struct Scope<'a> {
    database: &'a Database,
    entry: Entry,
    read_only: bool,
    is_prepared: bool,
    visit: &'a Arc<Visit>,
    /// Set by the first statement: what comes before it is not the database's time.
    deadline: OnceLock<Instant>,
}

impl<'a> Scope<'a> {
    pub(crate) fn member(
        database: &'a Database,
        claims: Claims,
        organization: Organization,
        allowed: Vec<Role>,
        read_only: bool,
        visit: &'a Arc<Visit>,
    ) -> Self {
        let role = organization.names_role.then(|| organization.role.as_str());
        let allowed = allowed.into_iter().map(|role| role.as_str().to_owned()).collect();
        let claims = Box::new(claims);
        Self::new(database, Entry::Member { claims, organization, role, allowed }, read_only, visit)
    }

    pub(crate) fn intake(database: &'a Database, form: Uuid, visit: &'a Arc<Visit>) -> Self {
        Self::new(database, Entry::Intake(form), false, visit)
    }

    pub(crate) fn provisioning(database: &'a Database, visit: &'a Arc<Visit>) -> Self {
        Self::new(database, Entry::Provisioning, false, visit)
    }

    pub(crate) fn parsing(database: &'a Database, of: Option<Uuid>, visit: &'a Arc<Visit>) -> Self {
        Self::new(database, Entry::Parsing(of), false, visit)
    }

    fn new(database: &'a Database, entry: Entry, read_only: bool, visit: &'a Arc<Visit>) -> Self {
        Self { database, entry, read_only, is_prepared: false, visit, deadline: OnceLock::new() }
    }

    /// For statements that are planned once whatever their parameters are, as one that goes by an id is and one that
    /// filters by what it is given is not: PostgreSQL then keeps the plan with the connection, if the deployment's
    /// connections can keep any (see [`Database`]).
    #[must_use]
    pub fn prepared(mut self) -> Self {
        self.is_prepared = self.database.prepares();
        self
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
        before(self.deadline(), self.try_query(None, sql, params)).await
    }

    /// The one-statement door for a statement that has to see whatever an earlier one of this name did in the
    /// dealership: it first waits, for the `lock_timeout` at most, until they are committed, in the same flush.
    ///
    /// # Errors
    /// As [`Scope::query`], and [`DbError`] when the others take too long.
    pub async fn query_in_turn(
        &self,
        name: &str,
        sql: &str,
        params: &[&dyn Param],
    ) -> Result<Vec<Row>, DbError> {
        before(self.deadline(), self.try_query(Some(name), sql, params)).await
    }

    /// The one-statement door twice, in one flush: each statement in a transaction of its own, so that what the second
    /// meets undoes nothing of the first. It is sent without waiting for the first, whatever becomes of that.
    ///
    /// # Errors
    /// The outer is the first statement's, as of [`Scope::query`]; the inner is the second's.
    pub async fn query_both(
        &self,
        (first, of_first): Statement<'_>,
        (second, of_second): Statement<'_>,
    ) -> Result<(Vec<Row>, Result<Vec<Row>, DbError>), DbError> {
        let both = async {
            let mut open = self.take().await?;
            let client = open.client()?;
            let waiting = self.visit.flush();
            let (first, second) = tokio::join!(
                biased;
                self.transaction(client, None, first, &of_first),
                self.transaction(client, None, second, &of_second),
            );
            drop(waiting);
            open.give_back();
            Ok((first?, second))
        };
        before(self.deadline(), both).await
    }

    async fn try_query(
        &self,
        lock: Option<&str>,
        sql: &str,
        params: &[&dyn Param],
    ) -> Result<Vec<Row>, DbError> {
        let mut repeated = Repeated::default();
        loop {
            match self.flush(lock, sql, params).await {
                Err(error) if repeated.may(self, &error) => self.prepare_to_repeat(error).await?,
                result => return result,
            }
        }
    }

    /// The streaming door: `sql` declares a cursor called `streamed` (`declare streamed no scroll cursor for …`), and
    /// its rows come in portions, all of them as the data were at the first. Each portion is a statement of its own, so
    /// the `statement_timeout` bounds the work for one and not the speed of whoever reads; who stops reading for longer
    /// than the `idle_in_transaction_session_timeout` gets no more.
    ///
    /// # Errors
    /// [`DbError`] for the first portion. The stream's own errors are those of later ones: what came before is then
    /// not all.
    pub async fn stream(
        &self,
        sql: &str,
        params: &[&dyn Param],
    ) -> Result<impl Stream<Item = Result<Vec<Row>, DbError>> + Send + use<>, DbError> {
        let (open, rows) = before(self.deadline(), self.try_stream(sql, params)).await?;
        Ok(stream::try_unfold((Some(open), Some(rows)), async |(open, rows)| {
            let Some(mut open) = open else { return Ok(None) };
            let rows = match rows {
                Some(rows) => rows,
                None => open.fetch().await?,
            };
            if rows.len() == STREAM_ROWS {
                return Ok(Some((rows, (Some(open), None))));
            }
            open.commit(&[]).await?;
            Ok(Some((rows, (None, None))))
        }))
    }

    async fn try_stream(&self, sql: &str, params: &[&dyn Param]) -> Result<(Open, Vec<Row>), DbError> {
        let mut repeated = Repeated::default();
        loop {
            match self.try_open(&[(sql, params), (FETCH, &[])]).await {
                Err(error) if repeated.may(self, &error) => self.prepare_to_repeat(error).await?,
                result => return result,
            }
        }
    }

    /// Provisions the caller if that is what was missing.
    async fn prepare_to_repeat(&self, error: DbError) -> Result<(), DbError> {
        if error.wants_provisioning() && !self.provision().await? { Err(error) } else { Ok(()) }
    }

    /// The transaction door: runs `sql` in one flush and leaves the transaction open for [`Open::commit`].
    ///
    /// # Errors
    /// [`DbError`]; then nothing happened.
    pub async fn open(&self, sql: &str, params: &[&dyn Param]) -> Result<(Open, Vec<Row>), DbError> {
        before(self.deadline(), self.try_open(&[(sql, params)])).await
    }

    /// The rows are the last statement's.
    async fn try_open(&self, statements: &[(&str, &[&dyn Param])]) -> Result<(Open, Vec<Row>), DbError> {
        let open = self.take().await?;
        let client = open.client()?;
        let (enter, claims) = self.entry.statement();
        let claims = bind(&claims);
        let sent = statements.iter().map(async |(sql, params)| client.query_typed(sql, &bind(params)).await);
        let waiting = self.visit.flush();
        let (begin, entered, answers) = tokio::join!(
            biased;
            client.batch_execute(self.begin()),
            client.query_typed(enter, &claims),
            join_all(sent),
        );
        drop(waiting);
        begin?;
        self.entered(&entered?)?;
        let mut rows = Vec::new();
        for answer in answers {
            rows = answer?;
        }
        Ok((open, rows))
    }

    async fn flush(&self, lock: Option<&str>, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, DbError> {
        let mut open = self.take().await?;
        let waiting = self.visit.flush();
        let rows = self.transaction(open.client()?, lock, sql, params).await;
        drop(waiting);
        open.give_back();
        rows
    }

    /// Every answer has come when it ends. `lock` is the name of the lock to wait for first, if any.
    async fn transaction(
        &self,
        client: &Object,
        lock: Option<&str>,
        sql: &str,
        params: &[&dyn Param],
    ) -> Result<Vec<Row>, DbError> {
        let (enter, claims) = self.entry.statement();
        let (claims, params) = (bind(&claims), bind(params));
        let in_turn = async {
            match lock {
                Some(name) => client.query_typed(LOCK, &bind(&[&name])).await.map(drop),
                None => Ok(()),
            }
        };
        // Sent in this order, in one write; COMMIT answers Ok even when the statement failed, so all of them count.
        let (begin, entered, locked, rows, commit) = tokio::join!(
            biased;
            client.batch_execute(self.begin()),
            self.run(client, enter, &claims),
            in_turn,
            self.run(client, sql, &params),
            client.batch_execute("commit"),
        );
        begin?;
        self.entered(&entered?)?;
        locked?;
        let rows = rows?;
        commit?;
        Ok(rows)
    }

    async fn take(&self) -> Result<Open, DbError> {
        Open::take(self.database, self.visit, self.deadline()).await
    }

    fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + BUDGET)
    }

    fn begin(&self) -> &'static str {
        match (self.read_only, self.is_prepared) {
            // PostgreSQL would plan a page anew each time, since it cannot guess the limit.
            (true, true) => "begin read only; set local plan_cache_mode = force_generic_plan",
            (true, false) => "begin read only",
            // The functions that a write calls choose for themselves.
            (false, _) => "begin",
        }
    }

    /// A statement that the connection does not know yet runs without a name, and gets one in the same flush for the
    /// next time.
    async fn run(
        &self,
        client: &Object,
        sql: &str,
        params: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        if !self.is_prepared {
            return client.query_typed(sql, params).await;
        }
        let types: Vec<Type> = params.iter().map(|(_, of)| of.clone()).collect();
        let mut preparing = pin!(client.prepare_typed_cached(sql, &types));
        match poll_immediate(preparing.as_mut()).await {
            Some(statement) => {
                let params: Vec<_> = params.iter().map(|(param, _)| *param).collect();
                client.query(&statement?, &params).await
            }
            None => {
                let (rows, prepared) = tokio::join!(client.query_typed(sql, params), preparing);
                // Sent first, it has the reason when both failed.
                prepared.and(rows)
            }
        }
    }

    /// Remembers the dealership for the log.
    fn entered(&self, rows: &[Row]) -> Result<(), DbError> {
        if let Some(dealership) =
            rows.first().map(|row| row.try_get::<_, Option<Uuid>>(0)).transpose()?.flatten()
        {
            self.visit.enter(dealership);
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
        let waiting = self.visit.flush();
        let provisioned = open.client()?.query_typed(provision, &bind(&params)).await;
        drop(waiting);
        open.give_back();
        provisioned?;
        Ok(true)
    }
}

/// Why a request has been repeated so far; each reason is good for once.
#[derive(Default)]
struct Repeated {
    over_a_fresh_connection: bool,
    for_a_newcomer: bool,
}

impl Repeated {
    fn may(&mut self, scope: &Scope<'_>, error: &DbError) -> bool {
        let reason = if scope.read_only && error.is_broken_connection() {
            &mut self.over_a_fresh_connection
        } else if error.wants_provisioning() {
            &mut self.for_a_newcomer
        } else {
            return false;
        };
        !std::mem::replace(reason, true)
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
    visit: Arc<Visit>,
}

impl Open {
    async fn take(database: &Database, visit: &Arc<Visit>, deadline: Instant) -> Result<Self, DbError> {
        let _waiting = visit.connect();
        Ok(Self { connection: Some(database.connection().await?), deadline, visit: Arc::clone(visit) })
    }

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
        let waiting = self.visit.flush();
        let (done, ended) = before(self.deadline, all).await?;
        drop(waiting);
        let rows = done.into_iter().collect::<Result<_, _>>()?;
        ended?;
        self.give_back();
        Ok(rows)
    }

    /// The next portion of the rows that [`Scope::stream`] reads.
    async fn fetch(&mut self) -> Result<Vec<Row>, DbError> {
        self.deadline = Instant::now() + BUDGET;
        let client = self.client()?;
        let _waiting = self.visit.flush();
        before(self.deadline, async { Ok(client.query_typed(FETCH, &[]).await?) }).await
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
pub(crate) async fn ping_outside_any_scope(database: &Database, visit: &Arc<Visit>) -> Result<(), DbError> {
    let deadline = Instant::now() + BUDGET;
    before(deadline, async {
        let mut open = Open::take(database, visit, deadline).await?;
        let _waiting = visit.flush();
        open.client()?.batch_execute("select 1").await?;
        open.give_back();
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_is_as_many_rows_as_the_end_is_told_by() {
        assert!(FETCH.contains(&format!(" {STREAM_ROWS} ")));
    }
}
