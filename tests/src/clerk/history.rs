//! Histories of Clerk, and their messages and session tokens sent in any order.
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use dev::clerk::{ActiveOrganization, SessionToken};
use futures_util::future::join_all;
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::delivery;
use super::model::{self, Clerk, Happening, Step, Token};
use crate::{CLERK, Event, ISSUER, ORIGIN, World, event};

/// A step, the time since the one before it in ms, and the arrivals of each of its messages.
pub type Entry = (Step, i64, Vec<Arrival>);

/// An arrival of a message: the first, a retry under the same id, or a replay through a second endpoint under a new id.
/// They arrive in the order of their keys.
#[derive(Clone, Debug)]
pub struct Arrival {
    key: u16,
    under_a_new_id: bool,
}

/// Histories in which each message arrives so many times.
pub fn entries(arrivals: Range<usize>) -> impl Strategy<Value = Vec<Entry>> {
    let arrival =
        (any::<u16>(), any::<bool>()).prop_map(|(key, under_a_new_id)| Arrival { key, under_a_new_id });
    // Mostly less than a second, the unit of a token's `iat`.
    let gap = prop_oneof![1..1_000_i64, 1..5_000_i64];
    vec((model::steps(), gap, vec(arrival, arrivals)), 1..40)
}

/// Sends the history's messages and tokens in the order of their arrival.
pub async fn play(
    world: &World,
    clerk: &mut Clerk,
    entries: &[Entry],
    at_once: usize,
) -> Result<(), TestCaseError> {
    let mut arrivals = Vec::new();
    for (number, (step, gap, when)) in entries.iter().enumerate() {
        for (part, happening) in clerk.take(step, *gap).into_iter().enumerate() {
            for (copy, arrival) in when.iter().enumerate() {
                let copy = if arrival.under_a_new_id { copy } else { 0 };
                clerk.announce(&happening);
                arrivals.push((
                    arrival.key,
                    format!("msg_{}_{number}_{part}_{copy}", clerk.prefix),
                    happening.clone(),
                ));
            }
        }
    }
    arrivals.sort_by_key(|(key, ..)| *key);

    let mut deleted: Vec<String> = Vec::new();
    for batch in arrivals.chunks(at_once) {
        let replies =
            join_all(batch.iter().map(|(_, id, happening)| world.send(request(id, happening)))).await;
        for ((_, _, happening), reply) in batch.iter().zip(replies) {
            match happening {
                Happening::Message(_) => prop_assert_eq!(reply.status, 200, "{}", reply.json),
                Happening::Token(token) => {
                    prop_assert!(matches!(reply.status, 200 | 401 | 403), "{} {}", reply.status, reply.json);
                    if deleted.contains(&token.organization) || deleted.contains(&token.user) {
                        prop_assert_eq!(reply.status, 403, "an organization or person is gone at once");
                    }
                }
            }
        }
        let gone = batch.iter().filter_map(|(_, _, happening)| match happening {
            Happening::Message(body) if body["data"]["deleted"] == true => body["data"]["id"].as_str(),
            _ => None,
        });
        deleted.extend(gone.map(str::to_owned));
    }
    Ok(())
}

fn request(id: &str, happening: &Happening) -> Event {
    static EVENTS: LazyLock<[Event; 2]> = LazyLock::new(|| ["clerk-webhook", "list-leads"].map(event));
    let [webhook, list_leads] = EVENTS.clone();
    match happening {
        Happening::Message(body) => delivery(id, webhook.json(body.clone())),
        Happening::Token(token) => by(list_leads, token),
    }
}

fn by(event: Event, token: &Token) -> Event {
    let organization =
        ActiveOrganization { id: &token.organization, role: token.role, slug: &token.organization[4..] };
    event.by(&CLERK.session_token(&SessionToken {
        issuer: ISSUER,
        authorized_party: ORIGIN,
        user_id: &token.user,
        session_id: "sess_norvalt_test",
        organization: Some(organization),
        issued_at: Timestamp::from_millisecond(token.at).unwrap(),
        // Far longer than Clerk's: an old token must do no harm by itself.
        lifetime: 24 * 60 * 60,
    }))
}

/// The database's rows in the form of [`Clerk::rows`]. A membership that is over counts as none.
pub async fn rows(owner: &tokio_postgres::Client, clerk: &Clerk) -> BTreeMap<String, String> {
    let sql = "
        select clerk_org_id, concat_ws(' ', name, case when deleted_at is not null then 'deleted' end)
          from dealerships where clerk_org_id = any ($1)
        union all
        select clerk_user_id, concat_ws(' ', first_name, email, case when deleted_at is not null then 'deleted' end)
          from users where clerk_user_id = any ($2)
        union all
        select clerk_org_id || ' ' || clerk_user_id, coalesce(clerk_membership_id, 'unnamed') || ' ' || role
          from memberships m join dealerships d on d.id = dealership_id join users u on u.id = user_id
         where clerk_org_id = any ($1) and removed_at is null";
    let rows = owner.query(sql, &[&clerk.organization_ids(), &clerk.user_ids()]).await.unwrap();
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}
