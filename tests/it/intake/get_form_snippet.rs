//! `GET /api/v1/dealership/form-snippet`; `tests/browser` fills it in.
use std::fmt::Write;

use dev::people::TESLA_OSLO;
use get_form_snippet::{Config, Lang};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::config::Settings;

use crate::support::{FORM_URL, World, event, kari, nina, ola};

async fn snippet(world: &World, query: &str) -> Value {
    world.send(event("get-form-snippet").query(query).by(&kari())).await.expect(200).json
}

async fn allow(world: &World, origin: &str) {
    let allow = "update dealerships set form_redirect_origins = array[$1]";
    world.owner().await.execute(allow, &[&origin]).await.unwrap();
}

#[tokio::test]
async fn the_snippet_is_a_plain_form_and_the_script_that_improves_it() {
    let world = World::seeded().await;
    let told = snippet(&world, "lang=nb").await;
    let action = format!("{FORM_URL}/webhooks/form/{}", TESLA_OSLO.id);
    assert_eq!(
        (&told["action_url"], &told["script_url"]),
        (&json!(action), &json!(format!("{action}/form.js")))
    );
    insta::assert_snapshot!(told["html"].as_str().unwrap());
}

#[tokio::test]
async fn it_speaks_bokmal_unless_it_is_asked_for_english() {
    let world = World::seeded().await;
    let (bokmal, english) = (snippet(&world, "lang=nb").await, snippet(&world, "lang=en").await);
    assert_eq!(snippet(&world, "").await, bokmal);
    assert!(english["html"].as_str().unwrap().contains("<form action=\"https://forms.norvalt.test/webhooks/form/019a0000-0000-7000-8000-000000000001\" method=\"post\" lang=\"en\">"));
    let labels = |told: &Value| told["html"].as_str().unwrap().matches("<label for=").count();
    assert_eq!(labels(&bokmal), labels(&english));
    let wrong =
        world.send(event("get-form-snippet").query("lang=sv&colour=red").by(&kari())).await.expect(400);
    assert_eq!(wrong.fields(), ["colour", "lang"]);
}

/// What people agreed to is what they read: another text needs another version.
#[tokio::test]
async fn each_consents_text_has_a_version_of_its_own() {
    let world = World::seeded().await;
    let mut texts = String::new();
    for lang in [Lang::Bokmal, Lang::English] {
        let words = lang.words();
        let hash = Sha256::digest(words.consent).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let _ = writeln!(texts, "{} {hash}", words.consent_version);
        let told = snippet(&world, &format!("lang={}", lang.as_str())).await;
        assert_eq!(told["consent_text_version"], words.consent_version);
        let sent = format!(
            "<input name=\"consent[text_version]\" type=\"hidden\" value=\"{}\">",
            words.consent_version
        );
        let html = told["html"].as_str().unwrap();
        assert!(html.contains(&sent) && html.contains("Tesla Oslo"), "{html}");
        assert!(!html.contains("checked"), "nothing is agreed to beforehand");
    }
    insta::assert_snapshot!(texts, @r"
    nb-1 0ef022092a29346925324b5d3429dd669960191d37ace9b70a75cdc17f16b3e2
    en-1 e719e993ab2e43090b0bd56b5cf95e4a30a009c84310ac03959a8bf6adb0d3cf
    ");
}

#[tokio::test]
async fn a_plain_form_goes_on_to_an_address_that_the_dealership_allows() {
    let world = World::seeded().await;
    allow(&world, "https://www.example.no").await;
    let told = snippet(&world, "next=https://www.example.no/takk%3Fa%3D1%26b%3D%22").await;
    let input = "<input name=\"_next\" type=\"hidden\" value=\"https://www.example.no/takk?a=1&amp;b=%22\">";
    assert!(told["html"].as_str().unwrap().contains(input), "{}", told["html"]);
    assert!(!snippet(&world, "").await["html"].as_str().unwrap().contains("_next"));
    for bad in [
        "https://evil.example/",
        "http://www.example.no/",
        "https://www.example.no:8443/",
        "https://www.example.no@evil.example/",
        "https://a@www.example.no/",
        "//www.example.no/",
        "/takk",
        "javascript:alert(1)",
        "data:text/html,x",
        "",
    ] {
        let query = format!("next={bad}");
        let reply = world.send(event("get-form-snippet").query(&query).by(&kari())).await.expect(400);
        assert_eq!(reply.fields(), ["next"], "{bad}");
    }
    // What is opaque to a browser is no origin, whatever the list has.
    allow(&world, "null").await;
    world.send(event("get-form-snippet").query("next=data:text/html,x").by(&kari())).await.expect(400);
}

#[tokio::test]
async fn a_name_is_text_whatever_is_in_it() {
    let world = World::seeded().await;
    let rename = "update dealerships set name = '<script>alert(1)</script> & \"Sønn\" {send} ''s'";
    world.owner().await.batch_execute(rename).await.unwrap();
    let told = snippet(&world, "").await;
    let html = told["html"].as_str().unwrap();
    let text = "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;Sønn&quot; {send} &#39;s";
    assert!(html.contains(text) && html.matches("<script").count() == 1, "{html}");
}

#[tokio::test]
async fn the_snippet_is_for_administrators() {
    let world = World::seeded().await;
    for token in [ola(), nina()] {
        world.send(event("get-form-snippet").by(&token)).await.expect(403);
    }
}

#[tokio::test]
async fn where_the_forms_live_is_an_address_of_the_web() {
    let read = async |url: &str| {
        Config::read(&Settings::from_variables([("FORM_URL".to_owned(), url.to_owned())])).await
    };
    assert_eq!(read("https://forms.example/").await.unwrap().form_url, "https://forms.example");
    for bad in ["forms.example", "ftp://forms.example", "javascript:alert(1)", "/webhooks"] {
        assert!(read(bad).await.is_err(), "{bad}");
    }
}
