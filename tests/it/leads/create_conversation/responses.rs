//! The two first-response clocks of a lead.
use dev::people::TESLA_OSLO;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{about, new};
use crate::support::{Event, World, event, kari, lead};

async fn fresh_lead(world: &World) -> Uuid {
    let sql = "insert into leads (dealership_id, source, first_name) values ($1, 'api', 'Kari') returning id";
    world.row(sql, &[&TESLA_OSLO.id]).await.get(0)
}

/// When a human and when the AI first responded, as the lead says.
async fn responses(world: &World, lead: Uuid) -> [Value; 2] {
    let lead = world.send(event("get-lead").id(lead).by(&kari())).await.expect(200).json;
    [lead["first_human_response_at"].clone(), lead["first_ai_response_at"].clone()]
}

/// When the message was written.
async fn write(world: &World, event: Event) -> Value {
    world.send(event.by(&kari())).await.expect(201).json["created_at"].clone()
}

fn message(lead: Uuid, channel: &str, author_kind: &str, auto_reply: bool) -> Event {
    new(json!({"lead_id": lead, "channel": channel, "author_kind": author_kind, "auto_reply": auto_reply,
               "body": "Hei"}))
}

#[tokio::test]
async fn the_first_human_message_to_the_customer_is_the_first_human_response() {
    let world = World::seeded().await;
    for channel in ["email", "sms", "facebook", "phone"] {
        let lead = fresh_lead(&world).await;
        let at = write(&world, message(lead, channel, "human", false)).await;
        assert_eq!(responses(&world, lead).await, [at, Value::Null], "{channel}");
    }
    let at = write(&world, about(lead(10), "create-conversation")).await;
    assert_eq!(responses(&world, lead(10)).await, [at, Value::Null]);
}

#[tokio::test]
async fn the_first_message_of_the_ai_is_kept_apart() {
    let world = World::seeded().await;
    let by_ai = write(&world, about(lead(10), "create-conversation/ai")).await;
    assert_eq!(responses(&world, lead(10)).await, [Value::Null, by_ai.clone()]);
    let by_human = write(&world, about(lead(10), "create-conversation")).await;
    assert_eq!(responses(&world, lead(10)).await, [by_human, by_ai]);
}

#[tokio::test]
async fn a_second_message_moves_neither() {
    let world = World::seeded().await;
    write(&world, about(lead(10), "create-conversation")).await;
    write(&world, about(lead(10), "create-conversation/ai")).await;
    let first = responses(&world, lead(10)).await;
    for author in ["human", "ai"] {
        write(&world, message(lead(10), "sms", author, false)).await;
    }
    assert_eq!(responses(&world, lead(10)).await, first);
}

#[tokio::test]
async fn a_note_an_auto_reply_the_system_and_the_customer_respond_to_nobody() {
    let world = World::seeded().await;
    let lead = fresh_lead(&world).await;
    for event in [
        about(lead, "create-conversation/note"),
        about(lead, "create-conversation/auto-reply"),
        about(lead, "create-conversation/inbound"),
        message(lead, "note", "ai", false),
        message(lead, "email", "ai", true),
        message(lead, "email", "system", false),
        message(lead, "email", "system", true),
        message(lead, "note", "human", true),
    ] {
        let body = event.text().to_owned();
        write(&world, event).await;
        assert_eq!(responses(&world, lead).await, [Value::Null, Value::Null], "{body}");
    }
    // They have not spoiled it for the first that does respond.
    let at = write(&world, message(lead, "email", "human", false)).await;
    assert_eq!(responses(&world, lead).await, [at, Value::Null]);
}
