//! What every route of the API does alike.
use shared::Caller;

use crate::support::{ENDPOINTS, World, event, kari, lead};

#[tokio::test]
async fn an_unknown_query_parameter_is_named() {
    let world = World::seeded().await;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.route.caller == Caller::Member) {
        let name = endpoint.route.name;
        let reply =
            world.send(event(name).id(lead(1)).query("colour=red&size=9").by(&kari())).await.expect(400);
        assert_eq!(reply.fields(), ["colour", "size"], "{name}");
    }
}

#[tokio::test]
async fn an_answer_is_kept_by_nobody_and_is_what_it_says() {
    let world = World::seeded().await;
    for endpoint in ENDPOINTS.iter() {
        for event in [event(endpoint.route.name).by(&kari()), event(endpoint.route.name).by("no token")] {
            let reply = world.send(event).await;
            let told = (reply.header("cache-control"), reply.header("x-content-type-options"));
            assert_eq!(told, ("no-store", "nosniff"), "{}", endpoint.route.name);
        }
    }
}
