//! Reads a row from left to right. To look up each column of a page by its name took a tenth of a request.
use tokio_postgres::types::FromSql;
use tokio_postgres::{Column, Error, Row};

/// The columns of a row, one after the other.
pub struct Columns<'r> {
    row: &'r Row,
    at: usize,
}

impl<'r> Columns<'r> {
    /// Starts at the column of this name; in a row without it, every [`Columns::next`] fails.
    #[must_use]
    pub fn from(row: &'r Row, name: &str) -> Self {
        let at = row.columns().iter().position(|column| column.name() == name);
        Self { row, at: at.unwrap_or(row.len()) }
    }

    /// The next column. It must have this name: a build with debug assertions, such as the tests', checks that.
    ///
    /// # Errors
    /// When there is no next column, or its value is not a `T`.
    pub fn next<T: FromSql<'r>>(&mut self, name: &str) -> Result<T, Error> {
        debug_assert_eq!(self.row.columns().get(self.at).map(Column::name), Some(name));
        self.at += 1;
        self.row.try_get(self.at - 1)
    }
}
