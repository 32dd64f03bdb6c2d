//! Requests about leads that several tests send.
use serde_json::json;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Event, event};

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
