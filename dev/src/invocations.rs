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
    /// Whose event it is.
    pub function: &'static str,
    /// The first success of its operation, which it answers where [`prepare`] has been.
    pub status: u16,
}

/// Every function's that answers requests. No two events change the same row, so they may come in any order and at once.
pub fn invocations() -> impl Iterator<Item = Invocation> {
    let routes = registry::endpoints().filter_map(|endpoint| {
        let success = (endpoint.operation)().answers.first()?.status.as_u16();
        Some(Invocation { function: endpoint.route.name, status: success })
    });
    routes.chain(registry::files().map(|files| Invocation { function: files.name, status: 200 }))
}

/// The merge that the event of undo-merge undoes, and the two seeded leads in it, which no other event is about.
const MERGE: [Uuid; 3] = [
    uuid!("019a0000-0000-7000-8000-000000005001"),
    uuid!("019a0000-0000-7000-8000-000000001009"),
    uuid!("019a0000-0000-7000-8000-000000001010"),
];

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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The ids of seeded leads and submissions in a text.
    fn seeded(text: &str) -> BTreeSet<&str> {
        let ids = text.match_indices("019a0000-0000-7000-8000-00000000").map(|(at, _)| &text[at..at + 36]);
        ids.filter(|id| ["10", "50"].contains(&&id[32..34])).collect()
    }

    #[test]
    fn no_two_events_change_the_same_row() {
        let [_, survivor, other] = MERGE.map(|id| id.to_string());
        let mut changed: BTreeSet<String> = [survivor, other].into();
        for one in invocations().filter(|one| !["get-lead", "undo-merge"].contains(&one.function)) {
            let path = crate::event_file(one.function);
            let event = std::fs::read_to_string(path).unwrap();
            for id in seeded(&event).into_iter().filter(|_| !one.function.starts_with("list-")) {
                assert!(changed.insert(id.to_owned()), "{} changes what another does: {id}", one.function);
            }
        }
        assert_eq!(changed.len(), 9, "{changed:?}");
    }
}
