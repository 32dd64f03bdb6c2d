//! `GET /health`.
use insta::assert_json_snapshot;
use tokio::net::TcpListener;

use crate::support::{World, event};

#[tokio::test]
async fn a_deployment_that_reaches_its_database_is_healthy_and_asks_for_no_token() {
    let world = World::empty().await;
    let reply = world.send(event("health").without_header("authorization")).await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.json["version"], env!("CARGO_PKG_VERSION"));
    assert_json_snapshot!(reply.json, { ".version" => "[version]" });
}

#[tokio::test]
async fn a_deployment_without_its_database_says_so_and_nothing_more() {
    // A port that was free a moment ago: nobody listens there.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let world = World::empty().await.through(port);
    let reply = world.send(event("health")).await.expect(503);
    assert_eq!(reply.header("content-type"), "application/problem+json");
    assert_eq!(reply.header("retry-after"), "1");
    assert_json_snapshot!(reply.json);
}
