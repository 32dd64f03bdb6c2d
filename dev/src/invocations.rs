//! What each function is asked when all of them are tried, and what it should answer: by the tests as processes, by
//! `cargo dev sam-local` as containers.
use anyhow::{Context, Result};
use jiff::Timestamp;
use shared::db::connect_as_owner;
use tokio_postgres::Client;
use uuid::{Uuid, uuid};

use crate::people::{KARI, TESLA_OSLO};
use crate::seed::seed;

/// One route's event, sent by the admin of Tesla Oslo.
#[derive(Clone, Copy, Debug)]
pub struct Invocation {
    /// Whose event it is: `events/{function}.json`.
    pub function: &'static str,
    /// What it gets where [`prepare`] has been.
    pub status: u16,
    /// The `id` in its path, where the file's would be in another's way.
    pub id: Option<Uuid>,
}

/// Every route's. They touch no row twice, so they may come in any order and at once.
pub const INVOCATIONS: [Invocation; 24] = [
    of("clerk-webhook", 200),
    of("create-conversation", 201),
    of("create-lead", 201),
    about(uuid!("019a0000-0000-7000-8000-000000001012"), of("delete-lead", 204)),
    of("export-leads", 200),
    of("form-preflight", 204),
    of("form-script", 200),
    of("form-webhook", 202),
    of("get-dealership", 200),
    of("get-form-snippet", 200),
    of("get-lead", 200),
    of("health", 200),
    of("import-leads", 200),
    of("list-conversations", 200),
    of("list-duplicates", 200),
    of("list-leads", 200),
    of("list-submissions", 200),
    of("me", 200),
    of("merge-lead", 201),
    of("patch-dealership", 200),
    of("patch-lead", 200),
    about(uuid!("019a0000-0000-7000-8000-000000005002"), of("reject-submission", 200)),
    of("release-submission", 200),
    of("undo-merge", 200),
];

/// What answers with files, and asks no database.
pub const FILES: Invocation = of("api-docs", 200);

/// The merge that the event of undo-merge undoes, and the seeded leads in it.
const MERGE: [Uuid; 3] = [
    uuid!("019a0000-0000-7000-8000-000000005001"),
    uuid!("019a0000-0000-7000-8000-000000001010"),
    uuid!("019a0000-0000-7000-8000-000000001011"),
];

const fn of(function: &'static str, status: u16) -> Invocation {
    Invocation { function, status, id: None }
}

const fn about(id: Uuid, invocation: Invocation) -> Invocation {
    Invocation { id: Some(id), ..invocation }
}

/// The sample data, and what else the events are about.
pub async fn prepare(owner_url: &str) -> Result<()> {
    let (mut owner, _) = connect_as_owner(owner_url).await?;
    seed(&mut owner).await?;
    let [id, survivor, other] = MERGE;
    merge(&mut owner, id, survivor, other).await.context("merge two leads")
}

/// Merges the other into the survivor, both of Tesla Oslo, as its admin would and under an id of our choice.
pub async fn merge(owner: &mut Client, id: Uuid, survivor: Uuid, other: Uuid) -> Result<()> {
    let transaction = owner.transaction().await?;
    let enter = "select scope.enter_member($1, $2, 'admin', $3)";
    let now = Timestamp::now().as_second();
    transaction.execute(enter, &[&TESLA_OSLO.clerk_org_id, &KARI.clerk_user_id, &now]).await?;
    let merge = "select scope.merge_leads($1, $2, $3, null)";
    transaction.execute(merge, &[&id, &survivor, &other]).await?;
    Ok(transaction.commit().await?)
}
