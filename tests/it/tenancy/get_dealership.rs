//! `GET /api/v1/dealership`.
use dev::people::{PER, TESLA_OSLO, VW_BERGEN};
use insta::assert_json_snapshot;
use serde_json::json;

use crate::support::{World, event, kari, nina, ola, token};

#[tokio::test]
async fn the_admin_sees_the_dealership_and_how_its_form_behaves() {
    let world = World::seeded().await;
    assert_json_snapshot!(world.send(event("get-dealership").by(&kari())).await.expect(200).json);
}

#[tokio::test]
async fn the_newest_mapping_is_the_one_that_counts_and_each_dealership_has_its_own() {
    let world = World::seeded().await;
    let mapping = "insert into form_mappings (dealership_id, version, fields) values
                       ($1, 1, '{\"a\": \"email\"}'), ($1, 2, '{\"b\": \"phone\"}'), ($2, 7, '{\"c\": \"ignored\"}')";
    world.owner().await.execute(mapping, &[&TESLA_OSLO.id, &VW_BERGEN.id]).await.unwrap();
    let per = token(&VW_BERGEN, &PER, "admin");
    for (token, id, version, fields) in
        [(kari(), TESLA_OSLO.id, 2, json!({"b": "phone"})), (per, VW_BERGEN.id, 7, json!({"c": "ignored"}))]
    {
        let reply = world.send(event("get-dealership").by(&token)).await.expect(200);
        assert_eq!(reply.json["id"], json!(id));
        assert_eq!(reply.json["form"]["mapping"], json!({"version": version, "fields": fields}));
    }
}

#[tokio::test]
async fn settings_are_for_administrators() {
    let world = World::seeded().await;
    for token in [ola(), nina()] {
        let reply = world.send(event("get-dealership").by(&token)).await.expect(403);
        assert_eq!(reply.code(), "forbidden");
    }
}
