//! The same submission twice, and another enquiry of the same customer.
use std::sync::Arc;

use dev::people::{TESLA_OSLO, VW_BERGEN};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{fields, form, leads, receipt, urlencoded, verdicts, world};
use crate::support::World;

async fn messages(world: &World) -> Vec<(String, Value)> {
    let sql =
        "select body, message_metadata from conversations where channel = 'form' order by created_at, id";
    world.owner().await.query(sql, &[]).await.unwrap().iter().map(|row| (row.get(0), row.get(1))).collect()
}

#[tokio::test]
async fn fifty_copies_of_one_submission_at_once_make_one_lead() {
    for keyed in [true, false] {
        let world = Arc::new(world().await.with_concurrency(8));
        let copy = if keyed { form("form-webhook") } else { form("form-webhook/urlencoded") };
        let mut copies = JoinSet::new();
        for _ in 0..50 {
            let (world, copy) = (world.clone(), copy.clone());
            copies.spawn(async move { receipt(world.send(copy).await) });
        }
        let mut receipts = copies.join_all().await;
        receipts.push(receipt(world.send(copy).await));
        receipts.dedup();
        assert_eq!((receipts.len(), verdicts(&world).await.len(), leads(&world).await.len()), (1, 1, 1));
        assert_eq!(messages(&world).await, []);
    }
}

#[tokio::test]
async fn a_double_submit_is_one_for_five_minutes_whatever_its_encoding() {
    let world = world().await;
    let once = receipt(world.send(urlencoded("email=a%40b.example&message=Hei++du")).await);
    let again = fields(json!({ "message": " Hei du ", "email": "a@b.example", "_t": "" }));
    assert_eq!(receipt(world.send(again.clone()).await), once);
    assert_ne!(receipt(world.send(again.clone().path("dealership_id", VW_BERGEN.id)).await), once);
    assert_ne!(receipt(world.send(fields(json!({ "email": "a@b.example" }))).await), once);

    world
        .owner()
        .await
        .batch_execute("update submissions set received_at = received_at - interval '6 minutes'")
        .await
        .unwrap();
    assert_ne!(receipt(world.send(again).await), once);
}

/// Somebody whose first try was taken for spam, or held, tries again: that must not be lost as a mere repetition.
#[tokio::test]
async fn of_two_tries_the_better_verdict_counts_and_the_receipt_is_the_same() {
    let world = world().await;
    let attempt = |extra: &str| urlencoded(&format!("email=a%40b.example&message=Hei{extra}"));
    let once = receipt(world.send(attempt("&_gotcha=x")).await);
    assert_eq!(verdicts(&world).await, ["spam: honeypot"]);
    let stale = format!("&_gotcha=&_t={}", super::shown(24 * 60 * 60 + 1));
    assert_eq!(receipt(world.send(attempt(&stale)).await), once);
    assert_eq!(
        (verdicts(&world).await, leads(&world).await.len()),
        (vec!["held: token_stale".to_owned()], 0)
    );
    assert_eq!(receipt(world.send(attempt("")).await), once);
    assert_eq!((verdicts(&world).await, leads(&world).await.len()), (vec!["accepted".to_owned()], 1));
    assert_eq!(receipt(world.send(attempt("&_gotcha=x")).await), once);
    assert_eq!(verdicts(&world).await, ["accepted"], "a bot that copies it does no harm");

    // What a person has decided stays.
    let rejected = receipt(world.send(fields(json!({ "email": "c@d.example", "_gotcha": "x" }))).await);
    let review = "update submissions set reviewed_by = (select user_id from memberships limit 1), reviewed_at = now() where id = $1";
    let member = "with u as (insert into users (clerk_user_id) values ('user_reviewer') returning id)
                  insert into memberships (dealership_id, user_id, role, role_at) select $1, id, 'admin', now() from u";
    world.owner().await.execute(member, &[&TESLA_OSLO.id]).await.unwrap();
    world.owner().await.execute(review, &[&rejected]).await.unwrap();
    receipt(world.send(fields(json!({ "email": "c@d.example" }))).await);
    assert_eq!(verdicts(&world).await[1], "spam: honeypot");
}

#[tokio::test]
async fn a_key_stands_for_one_body_for_ever() {
    let world = world().await;
    let once = receipt(world.send(form("form-webhook")).await);
    world
        .owner()
        .await
        .batch_execute("update submissions set received_at = received_at - interval '1 day'")
        .await
        .unwrap();
    assert_eq!(receipt(world.send(form("form-webhook")).await), once);
    let other = form("form-webhook").json(json!({ "email": "another@b.example" }));
    assert_eq!(world.send(other.clone()).await.expect(422).code(), "idempotency_key_reused");
    receipt(world.send(other.path("dealership_id", VW_BERGEN.id)).await);
    assert_eq!(leads(&world).await.len(), 2);
}

#[tokio::test]
async fn a_second_enquiry_is_added_to_the_open_lead_and_overwrites_nothing() {
    let world = world().await;
    receipt(world.send(fields(json!({
        "first_name": "Kari", "email": "kari@example.no", "message": "Er den ledig?", "utm_source": "google",
        "consent[marketing]": "off",
    }))).await);
    receipt(world.send(fields(json!({
        "first_name": "Katrine", "last_name": "Nordmann", "email": "KARI@example.no", "phone": "912 34 567",
        "message": "Og i blått?", "utm_source": "bing", "utm_medium": "cpc", "consent[marketing]": "on",
    }))).await);
    // Now by the phone number, which the lead has from the second.
    receipt(
        world
            .send(fields(json!({ "email": "other@example.no", "tlf": "+47 91234567", "bil": "ID.4" })))
            .await,
    );

    let leads = leads(&world).await;
    assert_eq!(leads.len(), 1);
    let lead = &leads[0];
    assert_eq!(
        [
            &lead["first_name"],
            &lead["last_name"],
            &lead["email"],
            &lead["phone"],
            &lead["message"],
            &lead["vehicle_of_interest"]
        ],
        ["Kari", "Nordmann", "kari@example.no", "912 34 567", "Er den ledig?", "ID.4"]
    );
    assert_eq!(
        lead["attribution"],
        json!({ "utm_source": "google", "utm_medium": "cpc" }),
        "the first touch stays"
    );
    assert_eq!(lead["consent"]["marketing"], json!(false), "a form does not undo a no");
    assert_eq!(lead["conversation_count"], json!(2));

    let messages = messages(&world).await;
    assert_eq!((messages[0].0.as_str(), messages[1].0.as_str()), ("Og i blått?", "ID.4"));
    assert_eq!(
        messages[0].1["attribution"],
        json!({ "utm_source": "bing", "utm_medium": "cpc" }),
        "the last touch"
    );
    let filed = world.count("select count(*) from submissions where filed_at is not null and lead_id = (select id from leads)").await;
    assert_eq!(filed, 3);
}

#[tokio::test]
async fn a_closed_or_deleted_lead_is_left_alone() {
    let world = world().await;
    let close = [
        "update leads set status = 'lost', lost_reason = 'x' where status = 'new'",
        "update leads set deleted_at = now() where status = 'new'",
    ];
    for (n, close) in close.into_iter().enumerate() {
        receipt(world.send(fields(json!({ "email": "kari@example.no", "message": n }))).await);
        world.owner().await.batch_execute(close).await.unwrap();
    }
    receipt(world.send(fields(json!({ "email": "kari@example.no", "message": "igjen" }))).await);
    assert_eq!((leads(&world).await.len(), messages(&world).await.len()), (3, 0));
}

#[tokio::test]
async fn a_lead_that_staff_made_gets_the_enquiry_too() {
    let world = world().await;
    let made = "insert into leads (dealership_id, source, email) values ($1, 'phone', 'Kari@Example.no')";
    world.owner().await.execute(made, &[&TESLA_OSLO.id]).await.unwrap();
    receipt(world.send(fields(json!({ "email": "kari@example.no", "message": "Hei" }))).await);
    assert_eq!((leads(&world).await.len(), messages(&world).await.len()), (1, 1));
}

#[tokio::test]
async fn different_enquiries_of_one_customer_at_once_make_one_lead() {
    let world = Arc::new(world().await.with_concurrency(8));
    for customer in 0..6 {
        let mut enquiries = JoinSet::new();
        for n in 0..8 {
            let world = world.clone();
            // Each knows both, in either order, so that they would wait for one another crosswise.
            let contact =
                [("email", format!("kari{customer}@example.no")), ("phone", format!("912 34 {customer}67"))];
            let mut enquiry: serde_json::Map<String, Value> =
                contact.into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
            enquiry.insert("message".to_owned(), json!(n));
            let sent = fields(enquiry.into()).sent_from(&format!("203.0.113.{customer}"));
            enquiries.spawn(async move { receipt(world.send(sent).await) });
        }
        enquiries.join_all().await;
        assert_eq!(leads(&world).await.len(), customer + 1, "{:?}", leads(&world).await);
    }
    let unfiled = "select count(*) from submissions where verdict = 'accepted' and filed_at is null";
    assert_eq!(world.count(unfiled).await, 0);
}
