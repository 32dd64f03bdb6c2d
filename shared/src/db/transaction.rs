//! A transaction that stays open between two flushes, and the connection that it runs on.
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::Object;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;

use super::param::bind;
use super::{Database, DbError, DbStats, Param};

/// The time that the database has for one request, so that the caller gets a 503 before Lambda ends the sandbox.
/// With the 3 s for Clerk's keys it is less than the template's `Timeout`. It is more than the logins'
/// `statement_timeout`, which ends a slow statement as long as the database still answers.
pub(super) const BUDGET: Duration = Duration::from_secs(6);

/// Rows in one portion of a stream: a few hundred kB of ordinary leads, and 20 MB of the largest.
pub(super) const STREAM_ROWS: usize = 500;

/// Reads the next portion of a stream.
pub(super) const FETCH: &str = "fetch forward 500 from streamed";

/// The name under which `cargo dev sql` prints a statement, and the statement.
pub type NamedSql = (&'static str, &'static str);

/// A statement and its parameters.
pub type Statement<'a> = (&'static str, Vec<&'a dyn Param>);

/// A connection in use. It goes back to the pool by [`Connection::give_back`] once every answer has come. If an error or
/// a deadline drops it earlier, it is closed, and PostgreSQL rolls an open transaction back.
pub(super) struct Connection(Option<Object>);

impl Connection {
    pub(super) async fn take(database: &Database, stats: &DbStats) -> Result<Self, DbError> {
        let _waiting = stats.connect();
        Ok(Self(Some(database.connection().await?)))
    }

    pub(super) fn client(&self) -> Result<&Object, DbError> {
        self.0.as_ref().ok_or_else(|| DbError::Unavailable("the transaction is over".into()))
    }

    pub(super) fn give_back(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

/// An open transaction, from [`Scope::open`](super::Scope::open). Dropping it rolls it back.
pub struct Transaction {
    connection: Connection,
    deadline: Instant,
    stats: Arc<DbStats>,
}

impl Transaction {
    pub(super) fn new(connection: Connection, deadline: Instant, stats: &Arc<DbStats>) -> Self {
        Self { connection, deadline, stats: Arc::clone(stats) }
    }

    /// Runs the last statements and commits, all in one flush. Each statement sees the changes of those before it.
    /// Returns the rows of each.
    ///
    /// # Errors
    /// [`DbError`]; the transaction is then rolled back, unless the connection broke while committing.
    pub async fn commit(self, statements: &[Statement<'_>]) -> Result<Vec<Vec<Row>>, DbError> {
        self.end(statements, "commit").await
    }

    /// As [`Transaction::commit`], but rolls back: the rows show what a commit would have done.
    ///
    /// # Errors
    /// [`DbError`].
    pub async fn roll_back(self, statements: &[Statement<'_>]) -> Result<Vec<Vec<Row>>, DbError> {
        self.end(statements, "rollback").await
    }

    async fn end(self, statements: &[Statement<'_>], last: &'static str) -> Result<Vec<Vec<Row>>, DbError> {
        let client = self.connection.client()?;
        // `join_all` polls in order, so the statements are sent in order.
        let sent = statements.iter().map(async |(sql, params)| client.query_typed(sql, &bind(params)).await);
        let all = async { Ok(tokio::join!(biased; join_all(sent), client.batch_execute(last))) };
        let waiting = self.stats.flush();
        let (done, ended) = before(self.deadline, all).await?;
        drop(waiting);
        let rows = done.into_iter().collect::<Result<_, _>>()?;
        ended?;
        self.connection.give_back();
        Ok(rows)
    }

    /// The next portion of the rows that [`Scope::stream`](super::Scope::stream) reads.
    pub(super) async fn fetch(&mut self) -> Result<Vec<Row>, DbError> {
        self.deadline = Instant::now() + BUDGET;
        let client = self.connection.client()?;
        let _waiting = self.stats.flush();
        before(self.deadline, async { Ok(client.query_typed(FETCH, &[]).await?) }).await
    }
}

/// Ends `work` at the deadline. A write that was ended so may have happened or not.
pub(super) async fn before<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, DbError>>,
) -> Result<T, DbError> {
    timeout_at(deadline, work).await.unwrap_or_else(|late| Err(DbError::Unavailable(late.into())))
}

/// Asks PostgreSQL for a sign of life, for the health check alone. Outside any scope the policies show no row.
pub(crate) async fn ping_outside_any_scope(database: &Database, stats: &DbStats) -> Result<(), DbError> {
    before(Instant::now() + BUDGET, async {
        let connection = Connection::take(database, stats).await?;
        let _waiting = stats.flush();
        connection.client()?.batch_execute("select 1").await?;
        connection.give_back();
        Ok(())
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_portion_has_as_many_rows_as_the_end_of_a_stream_is_recognized_by() {
        assert!(FETCH.contains(&format!(" {STREAM_ROWS} ")));
    }
}
