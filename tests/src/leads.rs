//! Requests about leads that several tests send.
use dev::people::TESLA_OSLO;
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Event, World, event};

const FILL: &str = "
    alter table leads disable trigger user;
    insert into leads (dealership_id, source, first_name, last_name, email, phone, phone_e164, message)
    select $1, 'website', 'Fornavn' || i, 'Etternavn' || i, 'kunde' || i || '@example.no', '+47 4' || lpad(i::text, 7, '0'),
           '+474' || lpad(i::text, 7, '0'), 'Hei, er den ledig? Jeg kan komme hvilken dag som helst etter klokka fire.'
      from (select generate_series(1, $2::bigint) i) each";

/// The import of a file that was previewed: the same request, which now writes.
pub fn commit(import: Event) -> Event {
    let request = import.request();
    let digest: String =
        Sha256::digest(&request.body()[..]).iter().map(|byte| format!("{byte:02x}")).collect();
    import.query(&format!("commit={digest}"))
}

/// A merge of the other into the survivor, without an idempotency key.
pub fn merge(survivor: Uuid, other: Uuid) -> Event {
    event("merge-lead").without_header("idempotency-key").id(survivor).json(json!({"lead_id": other}))
}

/// Adds so many leads to Tesla Oslo.
pub async fn fill(world: &World, leads: i64) {
    let owner = world.owner().await;
    let (disable, insert) = FILL.split_once(';').unwrap();
    owner.batch_execute(disable).await.unwrap();
    owner.execute(insert, &[&TESLA_OSLO.id, &leads]).await.unwrap();
    owner.batch_execute("analyze leads").await.unwrap();
}
