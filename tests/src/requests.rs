//! A request of every route that succeeds, for tests of all of them.
use dev::people::TESLA_OSLO;
use serde_json::{Value, json};
use uuid::Uuid;

use super::clerk::delivery;
use super::leads::commit;
use super::{ENDPOINTS, Event, World, event, kari, lead, merge_id, submission};

/// A request of each route and kind, with its name, about the seeded lead of this number (1 or 2).
pub fn requests(n: u16) -> Vec<(&'static str, Event)> {
    let by_kari = |name| event(name).by(&kari());
    let about = |name| by_kari(name).id(lead(n));
    let key = format!("key-{n}");
    let clerk = delivery(&format!("msg_{n}"), event("clerk-webhook"));
    let mut message: Value = serde_json::from_str(event("create-conversation").text()).unwrap();
    message["lead_id"] = lead(n).to_string().into();
    let message = by_kari("create-conversation").json(message).header("idempotency-key", &key);
    // Two of the seeded leads beside this one: 3 and 4, or 5 and 6.
    let [first, second] = [2 * n + 1, 2 * n + 2].map(lead);
    let merge =
        |other: Uuid| about("merge-lead").json(json!({"lead_id": other})).header("idempotency-key", &key);
    let new = by_kari("create-lead").header("idempotency-key", &key);
    let form = format!("email={key}%40b.example");
    let form = event("form-webhook/urlencoded").path("dealership_id", TESLA_OSLO.id).body(&form);
    let form = form.header("accept", "application/json");
    let import = commit(by_kari("import-leads")).header("idempotency-key", &key);
    let requests = vec![
        ("clerk-webhook", clerk.clone()),
        ("clerk-webhook, delivered again", clerk),
        ("create-conversation", message.clone().without_header("idempotency-key")),
        ("create-conversation, with a key", message.clone()),
        ("create-conversation, with the same key", message),
        ("create-lead", new.clone().without_header("idempotency-key")),
        ("create-lead, with a key", new.clone()),
        ("create-lead, with the same key", new),
        ("get-lead", about("get-lead")),
        ("import-leads", by_kari("import-leads")),
        ("import-leads, commit", import.clone()),
        ("import-leads, commit again", import),
        ("list-conversations", about("list-conversations")),
        ("list-duplicates", about("list-duplicates")),
        ("reject-submission", by_kari("reject-submission").id(submission(2))),
        ("release-submission", by_kari("release-submission").id(submission(1))),
        ("merge-lead", merge(first).without_header("idempotency-key")),
        ("merge-lead, with a key", merge(second)),
        ("merge-lead, with the same key", merge(second)),
        ("undo-merge", by_kari("undo-merge").id(merge_id(n))),
        ("patch-lead", about("patch-lead")),
        ("delete-lead", about("delete-lead")),
        // Before the form, which has to learn of the mapping.
        ("patch-dealership", by_kari("patch-dealership")),
        ("form-preflight", event("form-preflight").path("dealership_id", TESLA_OSLO.id)),
        ("form-script", event("form-script").path("dealership_id", TESLA_OSLO.id)),
        ("form-webhook", form.clone()),
        ("form-webhook, sent again", form),
    ];
    // A route that needs nothing special gets its own event, before the others delete what it is about.
    let special = |name: &str| requests.iter().any(|(of, _)| *of == name);
    let names = ENDPOINTS.iter().map(|endpoint| endpoint.route.name).filter(|name| !special(name));
    names.map(|name| (name, by_kari(name))).collect::<Vec<_>>().into_iter().chain(requests).collect()
}

/// Makes what the requests of this number need beside the seed.
pub async fn prepare(world: &World, n: u16) {
    world.merge_as(merge_id(n), lead(n + 6), lead(n + 8)).await;
}
