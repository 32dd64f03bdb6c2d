//! The scope: every statement runs for one caller. Claims, statement and commit leave in one network flush.
use std::pin::pin;
use std::sync::{Arc, OnceLock};

use deadpool_postgres::Object;
use futures_util::future::{join_all, poll_immediate};
use futures_util::stream::{self, Stream};
use tokio::time::Instant;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::gate::Gate;
use super::param::{Bound, bind};
use super::transaction::{BUDGET, Connection, FETCH, STREAM_ROWS, Statement, Transaction, before};
use super::{Database, DbError, DbStats, Param};
use crate::auth::Permission;

/// Takes the lock of this name in the scope's dealership, for the rest of the transaction.
const LOCK: &str = "select pg_advisory_xact_lock(hashtextextended($1 || scope.dealership_id()::text, 0))";

/// What the transactions of a scope may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read; PostgreSQL refuses a write.
    Read,
    /// Read and write.
    Write,
}

/// Runs statements for one caller. It has four doors:
///
/// * [`Scope::query`] runs one statement in one flush.
/// * [`Scope::pipeline`] runs several in one flush, each in a transaction of its own.
/// * [`Scope::open`] leaves the transaction open, for statements that need the result of the first.
/// * [`Scope::stream`] reads more rows than fit in memory.
pub struct Scope<'a> {
    database: &'a Database,
    gate: Gate,
    access: Access,
    has_fixed_plan: bool,
    lock: Option<&'static str>,
    stats: &'a Arc<DbStats>,
    /// Set by the first statement: the time before it is not the database's.
    deadline: OnceLock<Instant>,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(database: &'a Database, gate: Gate, access: Access, stats: &'a Arc<DbStats>) -> Self {
        let deadline = OnceLock::new();
        Self { database, gate, access, has_fixed_plan: false, lock: None, stats, deadline }
    }

    /// Caches the plan on the connection, for [`Scope::query`] and [`Scope::pipeline`]. Use it for look-ups by id; not
    /// for optional filters, whose best plan depends on the parameters. It has no effect unless the setting
    /// `DATABASE_PREPARED` says that the deployment's connections can keep plans.
    #[must_use]
    pub fn with_fixed_plan(mut self) -> Self {
        self.has_fixed_plan = self.database.prepares();
        self
    }

    /// Transactions of this dealership with the same `name` run one after the other: each sees what the one before it
    /// committed. A transaction waits for the lock in its own flush, for the `lock_timeout` at most; then it fails with
    /// a [`DbError`].
    #[must_use]
    pub fn locked(mut self, name: &'static str) -> Self {
        self.lock = Some(name);
        self
    }

    /// Whether the token allows `permission`: its role has the permission, or it names no role. In the second case the
    /// database decides.
    #[must_use]
    pub fn may_have(&self, permission: Permission) -> bool {
        matches!(&self.gate, Gate::Member { organization, .. }
            if !organization.names_role || organization.role.has(permission))
    }

    /// The custom permissions in the member's token, for display: they grant nothing.
    #[must_use]
    pub fn custom_permissions(&self) -> &[String] {
        match &self.gate {
            Gate::Member { organization, .. } => &organization.custom_permissions,
            Gate::Intake(_) | Gate::Provisioning | Gate::Parsing(_) => &[],
        }
    }

    /// Runs one statement: `BEGIN`, the gate, the statement and `COMMIT` leave in one network flush.
    /// Nothing has happened unless all four succeeded. A caller whom the database has not seen yet is provisioned from
    /// the verified claims, and the statement is repeated; a read is repeated once over a broken connection.
    ///
    /// # Errors
    /// [`DbError`]. A write whose connection broke may have happened: only an idempotency key can tell.
    pub async fn query(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, DbError> {
        before(self.deadline(), self.try_query(sql, params)).await
    }

    async fn try_query(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, DbError> {
        let mut repeated = Repeated::default();
        loop {
            match self.flush(sql, params).await {
                Err(error) if repeated.may(self, &error) => self.prepare_to_repeat(error).await?,
                result => return result,
            }
        }
    }

    /// Runs several statements in one flush, each in a transaction of its own: the failure of one undoes nothing of the
    /// others and does not stop them. Returns a result for each statement; none is repeated.
    ///
    /// # Errors
    /// [`DbError`] when there is no connection or the time is up: then any of the writes may have happened.
    pub async fn pipeline<const N: usize>(
        &self,
        statements: &[Statement<'_>; N],
    ) -> Result<[Result<Vec<Row>, DbError>; N], DbError> {
        let all = async {
            let connection = self.connection().await?;
            let client = connection.client()?;
            let waiting = self.stats.flush();
            // `join_all` polls in order, so the transactions are sent in order.
            let sent = statements.iter().map(|(sql, params)| self.transaction(client, sql, params));
            let answers = join_all(sent).await;
            drop(waiting);
            connection.give_back();
            let mut results = [const { Ok(Vec::new()) }; N];
            results.iter_mut().zip(answers).for_each(|(result, answer)| *result = answer);
            Ok(results)
        };
        before(self.deadline(), all).await
    }

    /// Runs `sql` in one flush and leaves the transaction open for [`Transaction::commit`].
    ///
    /// # Errors
    /// [`DbError`]; then nothing happened.
    pub async fn open(&self, sql: &str, params: &[&dyn Param]) -> Result<(Transaction, Vec<Row>), DbError> {
        before(self.deadline(), self.try_open(&[(sql, params)])).await
    }

    /// Reads the rows of a cursor in portions, all as the data were at the first. `sql` declares the cursor, which must
    /// be called `streamed`: `declare streamed no scroll cursor for …`. Each portion is a statement of its own, so the
    /// `statement_timeout` bounds the work for one portion and not the speed of the reader. A reader who pauses for
    /// longer than the `idle_in_transaction_session_timeout` gets no more.
    ///
    /// # Errors
    /// [`DbError`] for the first portion. The stream's own errors are those of later portions: the rows before such an
    /// error are not all.
    pub async fn stream(
        &self,
        sql: &str,
        params: &[&dyn Param],
    ) -> Result<impl Stream<Item = Result<Vec<Row>, DbError>> + Send + use<>, DbError> {
        let (transaction, rows) = before(self.deadline(), self.try_stream(sql, params)).await?;
        Ok(stream::try_unfold((Some(transaction), Some(rows)), async |(transaction, rows)| {
            let Some(mut transaction) = transaction else { return Ok(None) };
            let rows = match rows {
                Some(rows) => rows,
                None => transaction.fetch().await?,
            };
            if rows.len() == STREAM_ROWS {
                return Ok(Some((rows, (Some(transaction), None))));
            }
            transaction.commit(&[]).await?;
            Ok(Some((rows, (None, None))))
        }))
    }

    async fn try_stream(&self, sql: &str, params: &[&dyn Param]) -> Result<(Transaction, Vec<Row>), DbError> {
        let mut repeated = Repeated::default();
        loop {
            match self.try_open(&[(sql, params), (FETCH, &[])]).await {
                Err(error) if repeated.may(self, &error) => self.prepare_to_repeat(error).await?,
                result => return result,
            }
        }
    }

    /// The rows are the last statement's.
    async fn try_open(
        &self,
        statements: &[(&str, &[&dyn Param])],
    ) -> Result<(Transaction, Vec<Row>), DbError> {
        let connection = self.connection().await?;
        let client = connection.client()?;
        let sent = statements.iter().map(async |(sql, params)| client.query_typed(sql, &bind(params)).await);
        let waiting = self.stats.flush();
        let (entered, answers) = tokio::join!(biased; self.enter(client), join_all(sent));
        drop(waiting);
        entered?;
        let mut rows = Vec::new();
        for answer in answers {
            rows = answer?;
        }
        Ok((Transaction::new(connection, self.deadline(), self.stats), rows))
    }

    async fn flush(&self, sql: &str, params: &[&dyn Param]) -> Result<Vec<Row>, DbError> {
        let connection = self.connection().await?;
        let waiting = self.stats.flush();
        let rows = self.transaction(connection.client()?, sql, params).await;
        drop(waiting);
        connection.give_back();
        rows
    }

    /// One whole transaction, sent by the first poll. Every answer has come when it ends.
    async fn transaction(
        &self,
        client: &Object,
        sql: &str,
        params: &[&dyn Param],
    ) -> Result<Vec<Row>, DbError> {
        let params = bind(params);
        // COMMIT answers Ok even when the statement failed, so every answer counts.
        let (entered, rows, commit) = tokio::join!(
            biased;
            self.enter(client),
            self.run(client, sql, &params),
            client.batch_execute("commit"),
        );
        entered?;
        let rows = rows?;
        commit?;
        Ok(rows)
    }

    /// Begins the transaction, passes the gate and takes the lock, if any; all of it is sent by the first poll.
    async fn enter(&self, client: &Object) -> Result<(), DbError> {
        let (gate, claims) = self.gate.statement();
        let claims = bind(&claims);
        let lock = async {
            match self.lock {
                Some(name) => client.query_typed(LOCK, &bind(&[&name])).await.map(drop),
                None => Ok(()),
            }
        };
        let (begin, entered, locked) = tokio::join!(
            biased;
            client.batch_execute(self.begin()),
            self.run(client, gate, &claims),
            lock,
        );
        begin?;
        if let Some(row) = entered?.first()
            && let Some(dealership) = row.try_get::<_, Option<Uuid>>(0)?
        {
            self.stats.enter(dealership);
        }
        Ok(locked?)
    }

    fn begin(&self) -> &'static str {
        match (self.access, self.has_fixed_plan) {
            // PostgreSQL would plan a page anew each time, since it cannot guess the limit.
            (Access::Read, true) => "begin read only; set local plan_cache_mode = force_generic_plan",
            (Access::Read, false) => "begin read only",
            // The functions that a write calls choose for themselves.
            (Access::Write, _) => "begin",
        }
    }

    /// Runs a statement, with a fixed plan if the scope says so. A statement that the connection does not know yet runs
    /// without a name, and gets a name in the same flush for the next time.
    async fn run(
        &self,
        client: &Object,
        sql: &str,
        params: &Bound<'_>,
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        if !self.has_fixed_plan {
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
                // `rows` was sent first, so it has the reason when both failed.
                prepared.and(rows)
            }
        }
    }

    /// Provisions the caller if the error asks for that.
    async fn prepare_to_repeat(&self, error: DbError) -> Result<(), DbError> {
        if !error.wants_provisioning() {
            return Ok(());
        }
        let Some((sql, params)) = self.gate.provisioning() else { return Err(error) };
        let connection = self.connection().await?;
        let waiting = self.stats.flush();
        let provisioned = connection.client()?.query_typed(sql, &bind(&params)).await;
        drop(waiting);
        connection.give_back();
        provisioned?;
        Ok(())
    }

    async fn connection(&self) -> Result<Connection, DbError> {
        Connection::take(self.database, self.stats).await
    }

    fn deadline(&self) -> Instant {
        *self.deadline.get_or_init(|| Instant::now() + BUDGET)
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
        let reason = if scope.access == Access::Read && error.is_broken_connection() {
            &mut self.over_a_fresh_connection
        } else if error.wants_provisioning() {
            &mut self.for_a_newcomer
        } else {
            return false;
        };
        !std::mem::replace(reason, true)
    }
}
