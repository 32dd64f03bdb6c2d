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

/// Headers beyond ASCII, and bodies that are not UTF-8.
#[tokio::test]
async fn bytes_that_are_no_text_are_nobodys_failure() {
    let world = World::seeded().await;
    for endpoint in ENDPOINTS.iter() {
        let (name, operation) = (endpoint.route.name, (endpoint.operation)());
        for header in &operation.headers {
            let reply = world.send(event(name).by(&kari()).header(header.name, "k\u{e9}")).await;
            assert!(reply.status < 500, "{name} answers {} to its {}", reply.status, header.name);
        }
        for body in &operation.bodies {
            let bytes = event(name).by(&kari()).header("content-type", body.content_type).bytes(b"\xff\xfe{");
            let reply = world.send(bytes).await;
            let is_told = (400..500).contains(&reply.status) || !body.content_type.ends_with("json");
            assert!(
                is_told && reply.status < 500,
                "{name} answers {} to no {}",
                reply.status,
                body.content_type
            );
        }
    }
}

#[tokio::test]
async fn a_merge_patch_is_for_patch() {
    let world = World::seeded().await;
    for endpoint in ENDPOINTS.iter().filter(|endpoint| endpoint.route.caller == Caller::Member) {
        let (name, operation) = (endpoint.route.name, (endpoint.operation)());
        if operation.bodies.iter().any(|body| body.content_type.ends_with("json")) {
            let patch = event(name).by(&kari()).header("content-type", "application/merge-patch+json");
            let is_refused = world.send(patch).await.status == 415;
            assert_eq!(is_refused, endpoint.route.method != "PATCH", "{name}");
        }
    }
}
