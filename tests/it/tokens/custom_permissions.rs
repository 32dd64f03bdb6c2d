//! The dealership's own permissions in a token: shown, granting nothing, and no reason to refuse one.
use serde_json::json;
use shared::auth::{Organization, Role};

use super::*;

async fn organization(bench: &Bench, edit: Edit) -> Option<Organization> {
    bench.verify(&bench.token(edit)).await.unwrap().organization
}

fn oslo(custom_permissions: &[&str]) -> Option<Organization> {
    let custom_permissions = custom_permissions.iter().map(|&name| name.to_owned()).collect();
    let slug = Some("tesla-oslo".to_owned());
    Some(Organization {
        id: "org_oslo".to_owned(),
        slug,
        role: Role::Admin,
        custom_permissions,
        names_role: true,
    })
}

#[tokio::test]
async fn both_versions_tell_the_same() {
    let bench = Bench::new().await;
    let version_2: Edit = |t| {
        t.claims["fea"] = json!("o:impersonation");
        t.claims["o"]["per"] = json!("read,manage");
        t.claims["o"]["fpm"] = json!("3");
    };
    let version_1: Edit = |t| {
        t.version_1();
        t.claims["org_id"] = json!("org_oslo");
        t.claims["org_slug"] = json!("tesla-oslo");
        t.claims["org_role"] = json!("org:admin");
        t.claims["org_permissions"] = json!(["org:impersonation:read", "org:impersonation:manage"]);
    };
    let expected = oslo(&["org:impersonation:read", "org:impersonation:manage"]);
    assert_eq!(organization(&bench, version_2).await, expected);
    assert_eq!(organization(&bench, version_1).await, expected);
}

#[tokio::test]
async fn without_an_organization_both_versions_tell_of_none() {
    let bench = Bench::new().await;
    let version_2: Edit = |t| {
        t.remove("o");
        t.claims["fea"] = json!("u:impersonation,u:memberships");
    };
    assert_eq!(organization(&bench, version_2).await, None);
    assert_eq!(organization(&bench, Token::version_1).await, None);
    // Nor does a permission make one.
    let permissions_alone: Edit = |t| {
        t.version_1();
        t.claims["org_permissions"] = json!(["org:impersonation:read"]);
    };
    assert_eq!(organization(&bench, permissions_alone).await, None);
}

#[tokio::test]
async fn malformed_ones_are_none_and_the_token_is_good() {
    let bench = Bench::new().await;
    let rows: [(&str, Edit); 10] = [
        ("only the user's features", |t| t.claims["fea"] = json!("u:impersonation,u:memberships,u:feature3")),
        ("a list of features", |t| t.claims["fea"] = json!(["o:teams"])),
        ("features that are a number", |t| t.claims["fea"] = json!(3)),
        ("null features", |t| t.claims["fea"] = json!(null)),
        ("a list of names", |t| t.claims["o"]["per"] = json!(["read"])),
        ("null names", |t| t.claims["o"]["per"] = json!(null)),
        ("a mask that is a number", |t| t.claims["o"]["fpm"] = json!(3)),
        ("a mask of letters", |t| t.claims["o"]["fpm"] = json!("three")),
        ("a mask that is too large", |t| t.claims["o"]["fpm"] = json!("9".repeat(400))),
        ("version 1's beside them", |t| {
            t.remove("fea");
            t.claims["org_permissions"] = json!(["org:teams:read"]);
        }),
    ];
    for (row, edit) in rows {
        let mut token = untouched(&bench.clerk, NOW);
        token.claims["fea"] = json!("o:teams");
        token.claims["o"]["per"] = json!("read");
        token.claims["o"]["fpm"] = json!("1");
        edit(&mut token);
        let claims = bench.verify(&bench.clerk.sign(&token.header, &token.claims)).await.expect(row);
        assert_eq!(claims.organization, oslo(&[]), "{row}");
    }
    // What no JSON value of ours could hold.
    let token = untouched(&bench.clerk, NOW);
    for member in [r#""fea":1e999"#, r#""fea":"\ud800""#, r#""fea":"o:a","fea":"o:b""#] {
        let claims = token.claims.to_string().replacen('{', &format!("{{{member},"), 1);
        let token = bench.clerk.sign_text(&token.header.to_string(), &claims);
        assert_eq!(bench.verify(&token).await.expect(member).organization, oslo(&[]), "{member}");
    }
}
