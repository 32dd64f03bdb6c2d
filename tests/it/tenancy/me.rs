//! `GET /api/v1/me`.
use dev::clerk::{ActiveOrganization, SessionToken};
use dev::people::{Dealership, KARI, MEMBERSHIPS, NINA, OLA, Person, TESLA_OSLO, VW_BERGEN};
use insta::assert_json_snapshot;
use jiff::Timestamp;
use serde_json::{Value, json};
use shared::auth::Role;
use shared::db::{Login, connect_as_owner};

use crate::support::{CLERK, ISSUER, LIFETIME, ORIGIN, World, event, id, kari, session_token, token};

/// What `/me` says to a person who has chosen a dealership and whose token has this role.
async fn me(world: &World, dealership: &Dealership, person: &Person, role: &str) -> Value {
    world.send(event("me").by(&token(dealership, person, role))).await.expect(200).json
}

#[tokio::test]
async fn the_admin_is_told_who_they_are_where_and_what_they_may() {
    let world = World::seeded().await;
    let reply = world.send(event("me").by(&kari())).await.expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_json_snapshot!(reply.json);
}

#[tokio::test]
async fn everybody_is_told_of_themselves_at_the_dealership_they_have_chosen() {
    let world = World::seeded().await;
    for member in MEMBERSHIPS {
        let (person, dealership) = (member.person, member.dealership);
        let told = me(&world, dealership, person, member.role).await;
        assert_eq!(
            told["user"],
            json!({
                "id": person.id,
                "clerk_user_id": person.clerk_user_id,
                "first_name": person.first_name,
                "last_name": person.last_name,
                "email": person.email,
            })
        );
        assert_eq!(told["dealership"]["id"], json!(dealership.id));
        assert_eq!(told["role"], member.role);
        assert_eq!(told["permissions"], json!(Role::from_name(member.role).permissions()));
    }
}

/// The database goes by the lower of the token's role and the row's, and so does the answer.
#[tokio::test]
async fn the_role_is_the_one_that_counts() {
    let world = World::seeded().await;
    let told = me(&world, &TESLA_OSLO, &KARI, "member").await;
    assert_eq!(told["role"], "sales_rep");
    assert_eq!(told["permissions"], json!(["leads:view_assigned", "analytics:view_own"]));
    // The same person is what they are elsewhere by that dealership's row.
    let owner = world.owner().await;
    let demote = "update memberships set role = 'sales_rep', role_at = now() + interval '1 minute'
                   where dealership_id = $1 and user_id = $2";
    owner.execute(demote, &[&VW_BERGEN.id, &OLA.id]).await.unwrap();
    world.send(event("me").by(&token(&VW_BERGEN, &OLA, "manager"))).await.expect(401);
    assert_eq!(me(&world, &VW_BERGEN, &OLA, "member").await["role"], "sales_rep");
    assert_eq!(me(&world, &TESLA_OSLO, &OLA, "manager").await["role"], "manager");
}

#[tokio::test]
async fn custom_permissions_are_shown_and_grant_nothing() {
    let world = World::seeded().await;
    let organization = ActiveOrganization { id: TESLA_OSLO.clerk_org_id, role: "member", slug: "tesla-oslo" };
    let mut claims = SessionToken {
        issuer: ISSUER,
        authorized_party: ORIGIN,
        user_id: NINA.clerk_user_id,
        session_id: "sess_norvalt_test",
        organization: Some(organization),
        issued_at: Timestamp::now(),
        lifetime: LIFETIME,
    }
    .claims();
    claims["fea"] = json!("o:leads");
    claims["o"]["per"] = json!("view_all,edit,delete");
    claims["o"]["fpm"] = json!("7");
    let nina = CLERK.sign(&CLERK.header(), &claims);

    let told = world.send(event("me").by(&nina)).await.expect(200).json;
    assert_eq!(
        told["custom_permissions"],
        json!(["org:leads:view_all", "org:leads:edit", "org:leads:delete"])
    );
    assert_eq!(told["permissions"], json!(["leads:view_assigned", "analytics:view_own"]));
    world.send(event("create-lead").by(&nina)).await.expect(403);
    world.send(event("delete-lead").by(&nina)).await.expect(403);
}

#[tokio::test]
async fn whom_only_the_token_knows_is_told_what_the_token_knows() {
    let world = World::empty().await;
    let organization = ActiveOrganization { id: "org_new", role: "manager", slug: "new" };
    let newcomer = session_token("user_newcomer", Some(organization), Timestamp::now());
    let reply = world.send(event("me").by(&newcomer)).await.expect(200);
    assert_json_snapshot!(reply.json, { ".user.id" => id(), ".dealership.id" => id() });
}

/// The reader's grants are for this route, and every function that reads has them.
#[tokio::test]
async fn the_reader_sees_the_people_of_one_dealership_and_their_names_alone() {
    let world = World::seeded().await;
    let (client, _connection) = connect_as_owner(&world.database.url(Login::Reader)).await.unwrap();
    let enter = format!(
        "begin; select scope.enter_member('org_tesla_oslo', 'user_nina_lie', 'sales_rep', {})",
        Timestamp::now().as_second()
    );
    client.batch_execute(&enter).await.unwrap();
    for (seen, expected) in [
        ("select string_agg(first_name, ' ' order by first_name) from users", "Kari Nina Ola"),
        ("select string_agg(name, ' ') from dealerships", "Tesla Oslo"),
        ("select count(*)::text from memberships", "3"),
    ] {
        assert_eq!(client.query_one(seen, &[]).await.unwrap().get::<_, &str>(0), expected, "{seen}");
    }
    client.batch_execute("rollback").await.unwrap();
    for hidden in [
        "select clerk_version from users",
        "select clerk_version from dealerships",
        "select role from memberships",
    ] {
        let error = client.query(hidden, &[]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "42501", "{hidden}");
    }
}
