//! `GET /api/v1/leads`.
mod paging;

use dev::people::{NINA, OLA, TESLA_OSLO};
use insta::assert_json_snapshot;
use jiff::{Timestamp, tz};
use serde_json::{Value, json};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::support::{Event, Reply, World, event, kari, lead, nina, ola, per, time};

async fn list(world: &World, token: &str, query: &str) -> Reply {
    world.send(event("list-leads").by(token).query(query)).await
}

/// Which of the seed's leads a list has, in its order.
async fn found(world: &World, event: Event) -> Vec<u16> {
    let page = world.send(event).await.expect(200);
    page.ids().iter().map(|id| id[id.len() - 2..].parse().unwrap()).collect()
}

/// A parameter as a browser writes it.
fn parameter(name: &str, value: &str) -> String {
    let bytes: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
    format!("{name}={bytes}")
}

/// The time of one of the seed's leads, as the list tells it.
async fn time_of(world: &World, n: u16, field: &str) -> String {
    let reply = world.send(event("get-lead").id(lead(n)).by(&kari())).await.expect(200);
    reply.json[field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_page_has_each_lead_with_its_conversation_count_and_last_message() {
    let world = World::seeded().await;
    let page = list(&world, &kari(), "limit=3").await.expect(200);
    assert_json_snapshot!(page.json, {
        ".items[].created_at" => time(),
        ".items[].updated_at" => time(),
        ".items[0].first_ai_response_at" => time(),
        ".items[2].first_ai_response_at" => time(),
        ".items[2].first_human_response_at" => time(),
        ".items[].last_message.created_at" => time(),
        ".next_cursor" => "[cursor]",
    });
    let without = list(&world, &kari(), "sort=created_at&limit=1").await.expect(200).json["items"][0].clone();
    assert_eq!(without["id"], json!(lead(10)));
    assert_eq!((&without["conversation_count"], &without["last_message"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn a_member_sees_the_leads_of_their_dealership_and_no_other() {
    let world = World::seeded().await;
    for (token, numbers) in [(kari(), 1..=10), (per(), 11..=20)] {
        let mut found = found(&world, event("list-leads").by(&token)).await;
        found.sort_unstable();
        assert_eq!(found, numbers.collect::<Vec<u16>>());
    }
}

#[tokio::test]
async fn each_filter_finds_what_it_says() {
    let world = World::seeded().await;
    let table: [(&str, &[u16]); 10] = [
        ("", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        ("status=new", &[1, 2]),
        ("status=lost", &[9, 10]),
        ("source=website", &[1, 9]),
        ("source=manual", &[]),
        ("assigned_to=me", &[4, 5, 8]),
        ("assigned_to=none", &[1, 10]),
        (&format!("assigned_to={}", NINA.id), &[2, 3, 6, 7, 9]),
        (&format!("assigned_to={}", Uuid::now_v7()), &[]),
        ("status=lost&source=sms&assigned_to=none", &[10]),
    ];
    for (query, expected) in table {
        assert_eq!(found(&world, event("list-leads").by(&ola()).query(query)).await, expected, "{query}");
    }
}

#[tokio::test]
async fn filters_combine() {
    let world = World::seeded().await;
    let owner = world.owner().await;
    let insert = "insert into leads (dealership_id, id, source, status, assigned_to, first_name)
                  values ($1, $2, $3, $4, $5, 'Filtrert')";
    // All but the first are one filter away from being found.
    for (n, source, status, assigned_to) in [
        (31, "website", "new", Some(OLA.id)),
        (32, "email", "new", Some(OLA.id)),
        (33, "website", "contacted", Some(OLA.id)),
        (34, "website", "new", Some(NINA.id)),
        (35, "website", "new", None),
    ] {
        let values: [&(dyn ToSql + Sync); 5] = [&TESLA_OSLO.id, &lead(n), &source, &status, &assigned_to];
        owner.execute(insert, &values).await.unwrap();
    }
    assert_eq!(found(&world, event("list-leads/filters").by(&ola())).await, [31]);
}

#[tokio::test]
async fn times_bound_what_is_found() {
    let world = World::seeded().await;
    let created = async |n| time_of(&world, n, "created_at").await;
    let (fifth, seventh, tenth) = (created(5).await, created(7).await, created(10).await);
    let updated = time_of(&world, 5, "updated_at").await;
    let offset: Timestamp = fifth.parse().unwrap();
    let offset = offset.display_with_offset(tz::offset(2)).to_string();
    let table: [(String, &[u16]); 5] = [
        (format!("created_after={fifth}"), &[1, 2, 3, 4]),
        (parameter("created_after", &offset), &[1, 2, 3, 4]),
        (format!("created_before={fifth}"), &[6, 7, 8, 9, 10]),
        (format!("created_after={tenth}&created_before={seventh}"), &[8, 9]),
        (format!("updated_since={updated}"), &[1, 2, 3, 4, 5]),
    ];
    for (query, expected) in table {
        assert_eq!(found(&world, event("list-leads").by(&kari()).query(&query)).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_search_finds_the_start_of_a_name_a_company_an_address_or_a_number() {
    let world = World::seeded().await;
    assert_eq!(found(&world, event("list-leads/search").by(&kari())).await, [5], "fjo");
    let table: [(&str, &[u16]); 20] = [
        ("åse", &[1]),
        ("ÅSE", &[1]),
        ("Øde", &[3]),
        ("øDE", &[3]),
        ("Å", &[1, 4]),
        ("SÆTHER", &[2]),
        ("bjørn", &[1, 4]),
        ("håkon sæ", &[2]),
        ("  Håkon Sæ  ", &[2]),
        ("fjordtaxi a", &[5]),
        ("Marte@FJORD", &[5]),
        ("marte@", &[5]),
        ("40000103", &[3]),
        ("400 00 10", &[1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ("+47 400 00 103", &[3]),
        ("004740000110", &[10]),
        ("stad", &[]),
        ("%", &[]),
        ("_se", &[]),
        ("' or true --", &[]),
    ];
    for (q, expected) in table {
        let search = event("list-leads").by(&kari()).query(&parameter("q", q));
        assert_eq!(found(&world, search).await, expected, "{q}");
    }
}

#[tokio::test]
async fn every_wrong_parameter_is_named_at_once() {
    let world = World::seeded().await;
    let long = format!("q={}", "a".repeat(101));
    let table: [(&str, &[&str]); 21] = [
        ("status=new&status=lost", &["status"]),
        ("status=open", &["status"]),
        ("status=New", &["status"]),
        ("source=fax", &["source"]),
        ("assigned_to=nobody", &["assigned_to"]),
        ("limit=101", &["limit"]),
        ("limit=-1", &["limit"]),
        ("limit=ten", &["limit"]),
        ("limit=", &["limit"]),
        ("sort=name", &["sort"]),
        ("total=yes", &["total"]),
        ("created_after=yesterday", &["created_after"]),
        ("created_before=2026-13-01T00:00:00Z", &["created_before"]),
        ("updated_since=2026-11-20", &["updated_since"]),
        ("q=", &["q"]),
        (&long, &["q"]),
        ("q=a%00b", &["q"]),
        ("deleted_at=null&dealership_id=1", &["dealership_id", "deleted_at"]),
        ("cursor=", &["cursor"]),
        ("cursor=AAAA", &["cursor"]),
        (
            "limit=0&limit=5&colour=red&cursor=x&created_after=x&status=open&sort=x",
            &["colour", "created_after", "cursor", "limit", "sort", "status"],
        ),
    ];
    let mut wrong = vec![
        (event("list-leads/unknown-parameter"), vec!["colour"]),
        (event("list-leads/bad-cursor"), vec!["cursor"]),
        (event("list-leads/bad-limit"), vec!["limit"]),
    ];
    wrong.extend(table.map(|(query, fields)| (event("list-leads").query(query), fields.to_vec())));
    for (event, fields) in wrong {
        let query = event.value()["rawQueryString"].to_string();
        let reply = world.send(event.by(&kari())).await.expect(400);
        assert_eq!((reply.code(), reply.fields()), ("invalid_parameters", fields), "{query}");
    }
}

#[tokio::test]
async fn a_cursor_goes_on_in_its_own_order_only() {
    let world = World::seeded().await;
    let orders = ["-created_at", "created_at", "-updated_at", "updated_at"];
    for ours in orders {
        let first = list(&world, &kari(), &format!("limit=4&sort={ours}")).await.expect(200);
        let cursor = first.json["next_cursor"].as_str().unwrap();
        for other in orders {
            let next = list(&world, &kari(), &format!("sort={other}&cursor={cursor}")).await;
            if other == ours {
                assert_eq!(next.expect(200).ids().len(), 6, "{ours}");
            } else {
                assert_eq!(next.expect(400).fields(), ["cursor"], "{ours}, {other}");
            }
        }
    }
}

#[tokio::test]
async fn there_are_four_orders_newest_first_by_default() {
    let world = World::seeded().await;
    // An old lead that changed last, so that the two times differ in order.
    let change = event("patch-lead").id(lead(10)).by(&kari()).json(json!({"company": "Ny AS"}));
    world.send(change).await.expect(200);
    let default = list(&world, &kari(), "").await.expect(200).json;
    for field in ["created_at", "updated_at"] {
        let up = list(&world, &kari(), &format!("sort={field}")).await.expect(200).json;
        let down = list(&world, &kari(), &format!("sort=-{field}")).await.expect(200).json;
        let key = |item: &Value| {
            let at: Timestamp = item[field].as_str().unwrap().parse().unwrap();
            (at, item["id"].to_string())
        };
        let items = up["items"].as_array().unwrap();
        assert_eq!(items.len(), 10);
        assert!(items.is_sorted_by(|a, b| key(a) < key(b)), "{field}");
        let reversed: Vec<&Value> = items.iter().rev().collect();
        assert_eq!(json!(reversed), down["items"], "{field}");
        let is_default = down == default;
        assert_eq!(is_default, field == "created_at");
    }
}

#[tokio::test]
async fn the_total_is_of_all_pages_and_only_when_asked() {
    let world = World::seeded().await;
    for query in ["", "total=false"] {
        let page = list(&world, &kari(), query).await.expect(200);
        assert!(page.json.get("total").is_none(), "{query}");
    }
    let first = list(&world, &kari(), "status=new&limit=1&total=true").await.expect(200);
    assert_eq!((first.ids().len(), &first.json["total"]), (1, &json!(2)));
    let cursor = first.json["next_cursor"].as_str().unwrap();
    let query = format!("status=new&limit=1&total=true&cursor={cursor}");
    let second = list(&world, &kari(), &query).await.expect(200);
    assert_eq!((second.ids().len(), &second.json["total"]), (1, &json!(2)));

    let none = list(&world, &kari(), "source=manual&total=true").await.expect(200);
    assert_eq!(none.json, json!({"items": [], "next_cursor": null, "total": 0}));
}

#[tokio::test]
async fn a_sales_rep_sees_their_own_leads_whatever_the_filter_says() {
    let world = World::seeded().await;
    let table: [(&str, &[u16]); 8] = [
        ("", &[2, 3, 6, 7, 9]),
        ("assigned_to=me", &[2, 3, 6, 7, 9]),
        ("assigned_to=none", &[]),
        (&format!("assigned_to={}", OLA.id), &[]),
        (&format!("assigned_to={}", NINA.id), &[2, 3, 6, 7, 9]),
        ("status=new", &[2]),
        ("q=bj", &[]),
        ("q=%2B474000010", &[2, 3, 6, 7, 9]),
    ];
    for (query, expected) in table {
        assert_eq!(found(&world, event("list-leads").by(&nina()).query(query)).await, expected, "{query}");
    }
    let nobodys = list(&world, &nina(), "assigned_to=none&total=true").await.expect(200);
    assert_eq!(nobodys.json["total"], 0);
}

#[tokio::test]
async fn a_deleted_lead_is_in_no_list_and_no_total() {
    let world = World::seeded().await;
    world.send(event("delete-lead").id(lead(3)).by(&kari())).await.expect(204);
    for token in [kari(), nina()] {
        for query in
            ["", "status=contacted", "q=ingrid", "sort=-updated_at", &format!("assigned_to={}", NINA.id)]
        {
            let list = found(&world, event("list-leads").by(&token).query(query)).await;
            assert!(!list.contains(&3), "{query}");
        }
    }
    let page = list(&world, &kari(), "status=contacted&total=true").await.expect(200);
    assert_eq!(page.json["total"], 1);
}
