//! The sample data: two dealerships, four people, ten leads for each dealership and what was said.
use anyhow::{Context, Result};
use tokio_postgres::Client;

use crate::people::{DEALERSHIPS, FOUNDED_MS, MEMBERSHIPS, PEOPLE};

/// What the people work on; the people themselves come from the table in `people`.
const SEED: &str = include_str!("seed.sql");

/// How much of the seed is in the database now.
#[derive(Debug)]
pub struct Seeded {
    /// Leads at all dealerships.
    pub leads: i64,
    /// Messages on all leads.
    pub conversations: i64,
}

/// Puts in what is missing and leaves the rest alone. Runs as a superuser, whom the policies do not bind.
pub async fn seed(owner: &mut Client) -> Result<Seeded> {
    let transaction = owner.transaction().await?;
    dealerships(&transaction).await.context("seed dealerships")?;
    people(&transaction).await.context("seed people")?;
    memberships(&transaction).await.context("seed memberships")?;
    transaction.batch_execute(SEED).await.context("seed leads")?;
    let counts = "select (select count(*) from leads), (select count(*) from conversations)";
    let counts = transaction.query_one(counts, &[]).await?;
    transaction.commit().await.context("seed")?;
    Ok(Seeded { leads: counts.get(0), conversations: counts.get(1) })
}

async fn dealerships(transaction: &tokio_postgres::Transaction<'_>) -> Result<()> {
    let insert = "insert into dealerships (id, clerk_org_id, name, slug, subscription_tier)
                  values ($1, $2, $3, $4, $5) on conflict do nothing";
    for one in DEALERSHIPS {
        let tier = one.subscription_tier;
        transaction.execute(insert, &[&one.id, &one.clerk_org_id, &one.name, &one.slug, &tier]).await?;
    }
    Ok(())
}

async fn people(transaction: &tokio_postgres::Transaction<'_>) -> Result<()> {
    let insert = "insert into users (id, clerk_user_id, email, first_name, last_name)
                  values ($1, $2, $3, $4, $5) on conflict do nothing";
    for one in PEOPLE {
        let (email, first, last) = (&one.email, &one.first_name, &one.last_name);
        transaction.execute(insert, &[&one.id, &one.clerk_user_id, email, first, last]).await?;
    }
    Ok(())
}

/// By Clerk's ids, because a token may have brought the rows in before us, under other ids than ours.
async fn memberships(transaction: &tokio_postgres::Transaction<'_>) -> Result<()> {
    let insert =
        "insert into memberships (dealership_id, user_id, clerk_membership_id, role, role_at, joined_version)
                  select d.id, u.id, $3, $4, now() - interval '30 days', $5 from dealerships d, users u
                   where d.clerk_org_id = $1 and u.clerk_user_id = $2 on conflict do nothing";
    for (one, joined) in MEMBERSHIPS.iter().zip((FOUNDED_MS..).step_by(1_000)) {
        let (org, user) = (&one.dealership.clerk_org_id, &one.person.clerk_user_id);
        transaction.execute(insert, &[org, user, &one.clerk_membership_id, &one.role, &joined]).await?;
    }
    Ok(())
}
