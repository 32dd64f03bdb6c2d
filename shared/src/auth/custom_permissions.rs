//! A dealership's own permissions, as Clerk packs them into a token. They are for display and grant nothing, so one that
//! cannot be read is left out and does not refuse the token.
//!
//! Version 2 packs them into three lists. `fea` has the features, each after its scope; `o.per` has the names of
//! permissions; `o.fpm` has a mask for each feature of the organization, whose bit n stands for the nth name. They are
//! read as by Clerk's JavaScript SDK; its other SDKs pair a mask with a feature of any scope.
use serde::Deserialize;

#[derive(Deserialize)]
struct Version1 {
    org_permissions: Vec<String>,
}

#[derive(Deserialize)]
struct Version2 {
    fea: String,
    o: Masks,
}

#[derive(Deserialize)]
struct Masks {
    per: String,
    fpm: String,
}

/// The permissions of a version 1 payload.
pub(super) fn version_1(payload: &[u8]) -> Vec<String> {
    serde_json::from_slice(payload).map_or_else(|_| Vec::new(), |claims: Version1| claims.org_permissions)
}

/// The permissions of a version 2 payload, each as `org:feature:permission`.
pub(super) fn version_2(payload: &[u8]) -> Vec<String> {
    match serde_json::from_slice(payload) {
        Ok(Version2 { fea, o: Masks { per, fpm } }) if !per.is_empty() && !fpm.is_empty() => {
            unpack(&fea, &per, &fpm)
        }
        _ => Vec::new(),
    }
}

fn unpack(features: &str, permissions: &str, masks: &str) -> Vec<String> {
    let permissions: Vec<&str> = permissions.split(',').map(str::trim).collect();
    let features = features.split(',').filter_map(organizations_feature);
    let masks = masks.split(',').map(|mask| parse_mask(mask.trim()));
    let mut unpacked = Vec::new();
    for (feature, mask) in features.zip(masks) {
        let bits = (0..u128::BITS).map(|bit| (mask >> bit) & 1 == 1);
        let granted = permissions.iter().zip(bits).filter(|(_, is_granted)| *is_granted);
        unpacked.extend(granted.map(|(permission, _)| format!("org:{feature}:{permission}")));
    }
    unpacked
}

/// The feature of an entry such as `o:teams`; none for a feature of the user alone, or text that is no entry.
fn organizations_feature(entry: &str) -> Option<&str> {
    let (scope, feature) = entry.trim().split_once(':')?;
    matches!(scope, "o" | "ou" | "uo").then_some(feature)
}

/// Reads an unsigned decimal. Any other text, and a number that is too large, has no bit set.
fn parse_mask(text: &str) -> u128 {
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    if is_decimal { text.parse().unwrap_or(0) } else { 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn unpacked(fea: &str, per: &str, fpm: &str) -> Vec<String> {
        version_2(json!({"v": 2, "fea": fea, "o": {"per": per, "fpm": fpm}}).to_string().as_bytes())
    }

    /// `dashboard: manage, read; teams: read` as a list.
    fn list(text: &str) -> Vec<String> {
        let features = text.split("; ").filter_map(|feature| feature.split_once(": "));
        features
            .flat_map(|(feature, names)| names.split(", ").map(move |name| format!("org:{feature}:{name}")))
            .collect()
    }

    #[test]
    fn clerks_own_examples() {
        let crud = "read,create,update,delete,revoke";
        let table = [
            ("o:dashboard,o:teams", "manage,read", "3,2", "dashboard: manage, read; teams: read"),
            (
                "o:repositories,o:projects",
                crud,
                "7,21",
                "repositories: read, create, update; projects: read, update, revoke",
            ),
            (
                "o:repositories,uo:projects,u:goldprofileborder",
                crud,
                "7,21,0",
                "repositories: read, create, update; projects: read, update, revoke",
            ),
            (
                "o:impersonation,o:memberships",
                "read,manage",
                "1,3",
                "impersonation: read; memberships: read, manage",
            ),
            (
                "o:impersonation,o:memberships,o:feature3",
                "read,manage",
                "1,3,0",
                "impersonation: read; memberships: read, manage",
            ),
            (
                "uo:impersonation,o:memberships,uo:feature3",
                "read,manage",
                "1,3,1",
                "impersonation: read; memberships: read, manage; feature3: read",
            ),
            ("ou:memberships,u:impersonation", "read,manage", "3,0", "memberships: read, manage"),
            (
                "o:billing,o:email,o:fraud,o:instance,o:staging_plans",
                "manage,read",
                "3,3,3,3,1",
                "billing: manage, read; email: manage, read; fraud: manage, read; instance: manage, read; \
                 staging_plans: manage",
            ),
            (
                "o:repositories,o:projects,o:webhooks,o:impersonation",
                "read,manage",
                "1,2,3,0",
                "repositories: read; projects: manage; webhooks: read, manage",
            ),
            (
                "o:repositories,o:impersonation,o:billing",
                "manage,read,update",
                "6,0,3",
                "repositories: read, update; billing: manage, read",
            ),
            ("o:impersonation", "read,manage", "3", "impersonation: read, manage"),
        ];
        for (fea, per, fpm, expected) in table {
            assert_eq!(unpacked(fea, per, fpm), list(expected), "{fea} {per} {fpm}");
        }
    }

    #[test]
    fn masks_are_whole_numbers_of_any_size() {
        let names = |count: usize| (0..count).map(|n| format!("p{n}")).collect::<Vec<_>>().join(",");
        let all = u128::MAX.to_string();
        let table: [(usize, &str, &[usize]); 19] = [
            (54, "1", &[0]),
            (54, "3", &[0, 1]),
            (54, "7", &[0, 1, 2]),
            (54, "21", &[0, 2, 4]),
            // Beyond 2^53, where a floating-point number would lose the lowest bits.
            (54, "9007199254740993", &[0, 53]),
            (54, "9007199254740995", &[0, 1, 53]),
            (54, "18014398509481984", &[]), // bit 54 has no name
            (54, "1invalid", &[]),
            (54, "-1", &[]),
            (54, "1.5", &[]),
            (54, "+1", &[]),
            (54, "1e3", &[]),
            (54, "0x1", &[]),
            (54, "", &[]),
            (54, " 1 ", &[0]),
            (54, "01", &[0]),
            (130, "170141183460469231731687303715884105728", &[127]), // 2^127
            (130, "340282366920938463463374607431768211456", &[]),    // 2^128
            (2, &all, &[0, 1]),
        ];
        for (count, mask, bits) in table {
            let expected: Vec<_> = bits.iter().map(|bit| format!("org:feature:p{bit}")).collect();
            assert_eq!(unpacked("o:feature", &names(count), mask), expected, "{count} {mask}");
        }
        assert_eq!(unpacked("o:feature", &names(130), &all).len(), 128);
    }

    #[test]
    fn a_mask_belongs_to_the_nth_feature_of_the_organization() {
        let table = [
            // A user's feature takes no mask, although other SDKs give it one.
            ("u:x,o:y", "read", "0,1", ""),
            ("u:x,o:y", "read", "1,0", "y: read"),
            // What is no entry takes none either.
            ("dashboard", "read", "1", ""),
            ("dashboard,o:teams", "read", "1,0", "teams: read"),
            ("o:teams,dashboard", "read", "1,1", "teams: read"),
            ("", "read", "1", ""),
            (":x,:,O:x,oo:x,uou:x,org:x", "read", "1,1,1,1,1,1", ""),
            // A mask that cannot be read keeps its place.
            ("o:a,o:b", "read", "x,1", "b: read"),
            ("o:a,o:b", "read", ",1", "b: read"),
            // One is missing, or too many are there.
            ("o:a,o:b", "read", "1", "a: read"),
            ("o:a", "read", "1,1", "a: read"),
            (" o:a , o:b ", " read , manage ", " 1 , 2 ", "a: read; b: manage"),
            ("o:a:b", "read", "1", "a:b: read"),
            ("o:a", "", "1", ""),
            ("o:a", "read", "", ""),
        ];
        for (fea, per, fpm, expected) in table {
            let expected: Vec<String> = match expected {
                "a:b: read" => vec!["org:a:b:read".to_owned()],
                _ => list(expected),
            };
            assert_eq!(unpacked(fea, per, fpm), expected, "{fea} {per} {fpm}");
        }
    }

    #[test]
    fn what_is_missing_or_malformed_is_nothing() {
        let whole = json!({"fea": "o:a", "o": {"per": "read", "fpm": "1"}});
        assert_eq!(version_2(whole.to_string().as_bytes()), ["org:a:read"]);
        for pointer in ["/fea", "/o", "/o/per", "/o/fpm"] {
            for wrong in [json!(null), json!(1), json!(1e300), json!([]), json!({}), json!(["o:a"])] {
                let mut claims = whole.clone();
                *claims.pointer_mut(pointer).unwrap() = wrong;
                assert_eq!(version_2(claims.to_string().as_bytes()), [""; 0], "{claims}");
            }
        }
        assert_eq!(version_2(b"{}"), [""; 0]);
        assert_eq!(version_2(br#"{"fea":"u:impersonation,u:memberships,u:feature3","o":{}}"#), [""; 0]);

        for (claims, expected) in [
            (json!({"org_permissions": ["org:a:read", "org:a:manage"]}), vec!["org:a:read", "org:a:manage"]),
            (json!({"org_permissions": []}), vec![]),
            (json!({"org_permissions": ["org:a:read", 1]}), vec![]),
            (json!({"org_permissions": "org:a:read"}), vec![]),
            (json!({"org_permissions": Value::Null}), vec![]),
            (json!({}), vec![]),
        ] {
            assert_eq!(version_1(claims.to_string().as_bytes()), expected, "{claims}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_unpacked(fea in ".*", per in ".*", fpm in ".*") {
            unpacked(&fea, &per, &fpm);
        }

        #[test]
        fn what_looks_like_a_claim_is_unpacked(
            fea in "([ou]{0,2}:?[a-z]{0,3},?){0,8}", per in "([a-z]{0,3},?){0,140}", fpm in "([-+0-9 .]{0,40},?){0,8}",
        ) {
            let features = fea.split(',').count();
            let unpacked = unpacked(&fea, &per, &fpm);
            prop_assert!(unpacked.len() <= features * per.split(',').count());
            prop_assert!(unpacked.iter().all(|permission| permission.starts_with("org:")));
        }

        #[test]
        fn any_bytes_are_a_payload(payload: Vec<u8>) {
            version_1(&payload);
            version_2(&payload);
        }
    }
}
