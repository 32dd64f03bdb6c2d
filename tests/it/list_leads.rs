//! `GET /api/v1/leads`.
use dev::people::{KARI, TESLA_OSLO};

use crate::support::{World, event, token};

#[tokio::test]
async fn a_member_sees_the_leads_of_their_dealership() {
    let world = World::seeded().await;
    let kari = token(&TESLA_OSLO, &KARI, "admin");
    let page = world.send(event("list-leads").by(&kari)).await.expect(200);
    assert_eq!(page.ids().len(), 12);
}
