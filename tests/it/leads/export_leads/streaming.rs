//! A file of any length costs the same memory, and half a file never looks like a whole one.
use std::fs;
use std::time::Duration;

use dev::proxy::{Pass, Proxy};
use http_body_util::BodyExt;

use crate::support::sandbox::{Sandbox, settings};
use crate::support::leads::fill;
use crate::support::{World, event, kari};

const LEADS: i64 = 100_000;
/// What the memory of a process may differ by from file to file, in kB.
const SLACK_KB: u64 = 8 * 1024;

/// The most memory that the process has used, in kB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_hundred_thousand_leads_take_no_more_memory_than_twelve() {
    let world = World::seeded().await;
    // Beside the seed's ten.
    fill(&world, 2).await;
    let settings = settings(&world).await;
    let mut sandbox = Sandbox::start("export-leads", &settings).await;
    let few = sandbox.invoke(&event("export-leads").by(&kari())).await;
    let before = peak(sandbox.pid());
    fill(&world, LEADS).await;
    let many = sandbox.invoke(&event("export-leads").by(&kari())).await;
    let after = peak(sandbox.pid());
    // Nor does it take PostgreSQL's: leads that come in an index's order are not sorted into files first.
    sandbox.terminate().await;
    let sorted = "select temp_files from pg_stat_database where datname = current_database()";
    assert_eq!(world.count(sorted).await, 0);
    let lines = |answer: &serde_json::Value| answer["body"].as_str().unwrap().matches("\r\n").count();
    assert_eq!((lines(&few), lines(&many)), (13, 13 + LEADS as usize));
    assert_eq!((&few["isWhole"], &many["isWhole"]), (&true.into(), &true.into()));
    let bytes = many["body"].as_str().unwrap().len();
    assert!(after < before + SLACK_KB, "{before} kB grew to {after} kB for {bytes} bytes");
}

#[tokio::test]
async fn a_database_that_breaks_in_the_middle_breaks_the_transfer() {
    let world = World::seeded().await;
    fill(&world, 5_000).await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let world = world.through(proxy.port());
    let settings = settings(&world).await;
    let mut sandbox = Sandbox::start("export-leads", &settings).await;
    let whole = sandbox.invoke(&event("export-leads").by(&kari())).await;
    assert_eq!(whole["isWhole"], true);

    proxy.break_at_flush(4);
    let half = sandbox.last_invoke(&event("export-leads").by(&kari())).await;
    let output = sandbox.end().await;
    assert!(!output.status.success(), "{:?}", output.status);
    assert_eq!((&half["statusCode"], &half["isWhole"]), (&200.into(), &false.into()));
    let (whole, half) = (whole["body"].as_str().unwrap(), half["body"].as_str().unwrap());
    assert!(whole.starts_with(half) && half.len() < whole.len(), "{half}");
    let log = String::from_utf8(output.stdout).unwrap();
    let line: serde_json::Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!((&line["status"], &line["outcome"]), (&503.into(), &"unavailable".into()), "{line}");
}

#[tokio::test]
async fn a_database_that_is_down_is_a_503_before_the_first_byte() {
    let world = World::seeded().await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let world = world.through(proxy.port());
    world.send(event("export-leads").by(&kari())).await.expect(200);
    // Both attempts of a read.
    let down = World::on(world.database.clone()).through(1);
    let reply = down.send(event("export-leads").by(&kari())).await.expect(503);
    assert_eq!((reply.code(), reply.header("retry-after")), ("unavailable", "1"));
}

#[tokio::test]
async fn a_broken_connection_before_the_first_byte_is_tried_again() {
    let world = World::seeded().await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let world = world.through(proxy.port());
    world.send(event("export-leads").by(&kari())).await.expect(200);
    proxy.break_at_flush(1);
    world.send(event("export-leads").by(&kari())).await.expect(200);
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_no_connection_in_the_pool() {
    let world = World::seeded().await;
    fill(&world, 5_000).await;
    let proxy = Proxy::before(world.database.port(), Pass::AtOnce).await.unwrap();
    let world = world.through(proxy.port());
    let app = world.app(&export_leads::ROUTE).await;
    let request = event("export-leads").by(&kari()).request();
    let mut response = app.respond_with_file(request, export_leads::handle).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(proxy.open(), 1);
    drop(response);
    tokio::time::timeout(Duration::from_secs(10), proxy.all_closed()).await.unwrap();
    world.send(event("export-leads").by(&kari())).await.expect(200);
}

#[tokio::test]
async fn a_file_shows_the_leads_as_they_were_when_it_began() {
    let world = World::seeded().await;
    fill(&world, 2_000).await;
    let app = world.app(&export_leads::ROUTE).await;
    let request = event("export-leads").by(&kari()).request();
    let mut response = app.respond_with_file(request, export_leads::handle).await.unwrap();
    response.body_mut().frame().await.unwrap().unwrap();
    world.owner().await.batch_execute("update leads set first_name = 'Senere'").await.unwrap();
    let rest = response.into_body().collect().await.unwrap().to_bytes();
    let rest = String::from_utf8_lossy(&rest);
    assert_eq!((rest.contains("Senere"), rest.matches("\r\n").count()), (false, 2_010));
}
