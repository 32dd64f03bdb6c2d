//! `PATCH /api/v1/dealership`.
mod mapping;

use dev::people::{KARI, OLA, TESLA_OSLO};
use insta::assert_json_snapshot;
use patch_dealership::Config;
use serde_json::{Value, json};
use shared::config::Settings;
use shared::db::{Login, connect_as_owner};

use crate::support::{Event, Reply, World, event, kari, nina, ola, per};

/// A patch of the form's settings.
fn patch(form: Value) -> Event {
    event("patch-dealership").json(json!({ "form": form }))
}

async fn send(world: &World, form: Value) -> Reply {
    world.send(patch(form).by(&kari())).await
}

async fn form(world: &World) -> Value {
    world.send(event("get-dealership").by(&kari())).await.expect(200).json["form"].clone()
}

#[tokio::test]
async fn a_patched_dealership_is_answered_as_it_is_now() {
    let world = World::seeded().await;
    let reply = world.send(event("patch-dealership").by(&kari())).await.expect(200);
    assert_json_snapshot!(reply.json);
    assert_eq!(world.send(event("get-dealership").by(&kari())).await.expect(200).json, reply.json);
}

#[tokio::test]
async fn what_is_absent_stays_and_null_empties() {
    let world = World::seeded().await;
    let other = world.send(event("get-dealership").by(&per())).await.expect(200).json;
    let set = json!({
        "origins": ["https://b.example", "https://a.example", "https://b.example"], "redirect_origins": ["https://a.example"],
        "captcha_required": false, "hourly_cap": 0, "address_cap": 100, "mapping": {"fields": {"Felt 1": "email"}},
    });
    send(&world, set).await.expect(200);
    let mut expected = json!({
        "origins": ["https://a.example", "https://b.example"], "redirect_origins": ["https://a.example"],
        "captcha_required": false, "hourly_cap": 0, "address_cap": 100,
        "mapping": {"version": 1, "fields": {"felt 1": "email"}},
    });
    assert_eq!(form(&world).await, expected);
    for nothing in [json!({}), json!({"form": {}}), json!({"form": {"mapping": {}}})] {
        world.send(event("patch-dealership").json(nothing).by(&kari())).await.expect(200);
        assert_eq!(form(&world).await, expected);
    }

    let reply = send(&world, json!({"origins": null, "redirect_origins": null, "mapping": null})).await;
    expected["origins"] = json!([]);
    expected["redirect_origins"] = json!([]);
    expected["mapping"] = json!({"version": 2, "fields": {}});
    assert_eq!(reply.expect(200).json["form"], expected);
    assert_eq!(
        world.send(event("get-dealership").by(&per())).await.expect(200).json,
        other,
        "another's stays"
    );
}

#[tokio::test]
async fn every_invalid_field_is_told_at_once_and_changes_nothing() {
    let world = World::seeded().await;
    let before = form(&world).await;
    let three = world.send(event("patch-dealership/three-bad-origins").by(&kari())).await.expect(422);
    assert_eq!(three.fields(), ["form.origins[0]", "form.origins[2]", "form.redirect_origins[0]"]);

    let many: Vec<String> = (0..21).map(|n| format!("https://a{n}.example")).collect();
    let table: [(Value, &[&str]); 7] = [
        (
            json!({"origins": many, "hourly_cap": -1, "address_cap": 101}),
            &["form.address_cap", "form.hourly_cap", "form.origins"],
        ),
        (json!({"hourly_cap": 100_001, "address_cap": 1.5}), &["form.address_cap", "form.hourly_cap"]),
        (json!({"hourly_cap": i64::MAX, "address_cap": "7"}), &["form.address_cap", "form.hourly_cap"]),
        (
            json!({"captcha_required": null, "hourly_cap": null, "address_cap": null}),
            &["form.address_cap", "form.captcha_required", "form.hourly_cap"],
        ),
        (
            json!({"mapping": {"fields": {"a": "colour", "b": "source", "c": 7}, "version": 3}}),
            &[
                "form.mapping.fields.a",
                "form.mapping.fields.b",
                "form.mapping.fields.c",
                "form.mapping.version",
            ],
        ),
        (json!({"origins": "https://a.example", "mapping": []}), &["form.mapping", "form.origins"]),
        (json!({"origins": [null, 7]}), &["form.origins[0]", "form.origins[1]"]),
    ];
    for (sent, fields) in table {
        assert_eq!(send(&world, sent.clone()).await.expect(422).fields(), fields, "{sent}");
    }
    let clerks = json!({"id": TESLA_OSLO.id, "name": "Ny", "subscription_tier": "enterprise", "form": null});
    let clerks = world.send(event("patch-dealership").json(clerks).by(&kari())).await.expect(422);
    assert_eq!(clerks.fields(), ["form", "id", "name", "subscription_tier"]);
    assert_eq!(form(&world).await, before);
}

#[tokio::test]
async fn a_captcha_is_required_only_where_there_is_one() {
    let world = World::seeded().await;
    let refused = world.send(event("patch-dealership/captcha").by(&kari())).await.expect(422);
    assert_eq!(refused.fields(), ["form.captcha_required"]);
    assert_eq!(
        refused.json["errors"][0]["message"],
        "cannot be set: this deployment has no Turnstile widget"
    );
    send(&world, json!({"captcha_required": false})).await.expect(200);

    let setting = ("TURNSTILE_SITE_KEY".to_owned(), "1x00000000000000000000AA".to_owned());
    let config = Config::read(&Settings::from_variables([setting])).await.unwrap();
    let app = world.app(&patch_dealership::ROUTE).await;
    let request = event("patch-dealership/captcha").by(&kari()).request();
    let reply = app.respond(request, async |ctx| patch_dealership::handle(ctx, &config).await).await.unwrap();
    assert_eq!(Reply::from(reply).expect(200).json["form"]["captcha_required"], true);
    // Where the widget is gone again, others can still be set.
    send(&world, json!({"hourly_cap": 5.0})).await.expect(200);
    assert_eq!(form(&world).await["captcha_required"], true);
}

#[tokio::test]
async fn what_is_set_is_what_the_form_goes_by() {
    let world = World::seeded().await;
    send(&world, json!({"origins": ["https://www.example.com"], "address_cap": 0})).await.expect(200);
    let sent = world.send(event("form-webhook").path("dealership_id", TESLA_OSLO.id)).await.expect(202);
    assert_eq!(sent.header("access-control-allow-origin"), "https://www.example.com");
    let row =
        world.row("select verdict, reasons from submissions order by received_at desc limit 1", &[]).await;
    assert_eq!((row.get(0), row.get(1)), ("held", vec!["address_cap".to_owned()]));
}

/// What the handler refuses, the policies refuse by themselves.
#[tokio::test]
async fn settings_are_changed_by_administrators_alone() {
    let world = World::seeded().await;
    let before = form(&world).await;
    for token in [ola(), nina()] {
        world.send(patch(json!({"hourly_cap": 1})).by(&token)).await.expect(403);
    }
    let (writer, _connection) = connect_as_owner(&world.database.url(Login::Writer)).await.unwrap();
    let now = jiff::Timestamp::now().as_second();
    let update = "update dealerships set form_hourly_cap = 1";
    let insert = "insert into form_mappings (version, fields) values (1, '{}')";
    let rename = "update dealerships set name = 'Ny'";
    for (person, role, statement, expected) in [
        (&OLA, "manager", update, Ok(0)),
        (&OLA, "manager", insert, Err("42501")),
        (&KARI, "admin", rename, Err("42501")),
        (&KARI, "admin", "update form_mappings set fields = '{}'", Err("42501")),
        (&KARI, "admin", "delete from form_mappings", Err("42501")),
        (&KARI, "admin", update, Ok(1)),
        (&KARI, "admin", insert, Ok(1)),
    ] {
        writer.batch_execute("begin").await.unwrap();
        let enter = "select scope.enter_member('org_tesla_oslo', $1, $2, $3)";
        writer.execute(enter, &[&person.clerk_user_id, &role, &now]).await.unwrap();
        let done = writer.execute(statement, &[]).await;
        let done = done.map_err(|error| error.code().unwrap().code().to_owned());
        assert_eq!(done, expected.map_err(str::to_owned), "{role}: {statement}");
        writer.batch_execute("rollback").await.unwrap();
    }
    assert_eq!(form(&world).await, before);
}
