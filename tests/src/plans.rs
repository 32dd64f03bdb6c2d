//! The plans of what a function asked its database, those of the statements within the gate's functions, too: what
//! whoever reads of too many rows wants to see.
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

use dev::testing::test_cluster;
use tokio_postgres::error::SqlState;

use super::World;

/// Every later connection to this database tells its plans, but not the owner's, who only looks on.
const TELL: &str = "
    do $$
    declare
        setting text;
    begin
        foreach setting in array array[
            'session_preload_libraries = auto_explain', 'auto_explain.log_min_duration = 0',
            'auto_explain.log_analyze = on', 'auto_explain.log_buffers = on', 'auto_explain.log_timing = off',
            'auto_explain.log_nested_statements = on'] loop
            execute format('alter database %I set ', current_database()) || setting;
        end loop;
        execute format('alter role current_user in database %I set auto_explain.log_min_duration = -1',
                       current_database());
    end $$";

/// More of them repeat each other: a run over every dealership asks the same of each.
const MOST: usize = 50;

const NONE: &str = "(This PostgreSQL has no auto_explain: once its contrib modules are installed, or \
                    NORVALT_POSTGRES_BIN names a PostgreSQL that has them, the plans stand here.)";

pub struct Plans {
    database: String,
    /// Where they are, if the server can tell them.
    log: Option<PathBuf>,
}

impl Plans {
    /// Of every connection that a function opens in this world from here on.
    pub async fn of(world: &World) -> Self {
        let owner = world.owner().await;
        let log = match owner.batch_execute("load 'auto_explain'").await {
            Ok(()) => {
                owner.batch_execute(TELL).await.unwrap();
                Some(test_cluster().await.unwrap().cluster().log())
            }
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_FILE) => None,
            Err(error) => panic!("{error:?}"),
        };
        Self { database: world.database.name.clone(), log }
    }

    /// Whether this PostgreSQL has auto_explain.
    pub fn are_logged(&self) -> bool {
        self.log.is_some()
    }

    /// Where the next plan will stand.
    pub fn end(&self) -> u64 {
        self.log.as_ref().map_or(0, |log| log.metadata().unwrap().len())
    }

    /// Those from there on that read one of the tables sequentially, or all if there are no such tables.
    pub fn since(&self, end: u64, tables: &[String]) -> String {
        let Some(log) = &self.log else { return NONE.to_owned() };
        let mut log = File::open(log).unwrap();
        log.seek(SeekFrom::Start(end)).unwrap();
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).unwrap();
        // A message's first line starts with its database, each further one with a tab.
        let messages = String::from_utf8_lossy(&bytes).replace("\n\t", "\0");
        let ours = format!("{} ", self.database);
        let plans =
            messages.lines().filter(|message| message.starts_with(&ours) && message.contains("plan:\0"));
        let scans = tables.iter().map(|table| format!("Seq Scan on {table} ")).collect::<Vec<_>>();
        let shown = plans.filter(|plan| scans.is_empty() || scans.iter().any(|scan| plan.contains(scan)));
        shown.take(MOST).map(|plan| plan.replace('\0', "\n    ")).collect::<Vec<_>>().join("\n")
    }
}
