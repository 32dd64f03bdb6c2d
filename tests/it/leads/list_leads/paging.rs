//! Pages while others write.
use std::collections::BTreeMap;

use dev::people::TESLA_OSLO;
use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestRunner};
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use uuid::Uuid;

use super::list;
use crate::support::{World, cases, kari};

/// Leads that a test of limits inserts.
const MANY: usize = 230;
/// Different creation times in one case; few, so that many leads share one.
const TIMES: u8 = 4;

#[tokio::test]
async fn a_page_has_1_to_100_leads_50_by_default_and_its_cursor_leads_to_the_end() {
    let world = World::seeded().await;
    let owner = world.owner().await;
    let insert = "insert into leads (dealership_id, source, first_name)
                  select $1, 'api', 'Rad ' || n from generate_series(11, $2) n";
    owner.execute(insert, &[&TESLA_OSLO.id, &(MANY as i32)]).await.unwrap();
    for (query, expected) in [("limit=1", 1), ("", 50), ("limit=100", 100)] {
        let page = list(&world, &kari(), query).await.expect(200);
        assert_eq!(page.ids().len(), expected, "{query}");
        assert!(page.json["next_cursor"].is_string(), "{query}");
    }

    // The last page is full, and still the last.
    let mut seen = Vec::new();
    let mut query = "limit=46".to_owned();
    for _ in 0..MANY / 46 {
        let page = list(&world, &kari(), &query).await.expect(200);
        assert_eq!(page.ids().len(), 46);
        seen.extend(page.ids().into_iter().map(str::to_owned));
        query = format!("limit=46&cursor={}", page.json["next_cursor"].as_str().unwrap_or("none"));
    }
    assert_eq!(query, "limit=46&cursor=none");
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), MANY);
}

/// What somebody else does between two pages.
#[derive(Clone, Debug)]
enum Change {
    /// A new lead, created then, with such an id.
    Insert(u8, u32),
    /// Deletes one of the leads there are.
    Delete(prop::sample::Index),
    /// Changes one of the leads there are.
    Edit(prop::sample::Index),
}

#[derive(Clone, Debug)]
struct Reading {
    sort: &'static str,
    /// The leads there are before the first page.
    before: Vec<(u8, u32)>,
    /// The limit of each page and what happens after it; when they are over, pages of three to the end.
    pages: Vec<(usize, Vec<Change>)>,
}

fn reading() -> impl Strategy<Value = Reading> {
    let change = prop_oneof![
        3 => (0..TIMES, any::<u32>()).prop_map(|(at, id)| Change::Insert(at, id)),
        1 => any::<prop::sample::Index>().prop_map(Change::Delete),
        1 => any::<prop::sample::Index>().prop_map(Change::Edit),
    ];
    let sort = prop_oneof![Just("-created_at"), Just("created_at")];
    (sort, vec((0..TIMES, any::<u32>()), 0..30), vec((1..6usize, vec(change, 0..4)), 0..8))
        .prop_map(|(sort, before, pages)| Reading { sort, before, pages })
}

/// The leads of one case, by id: when they were created and whether they have been there all the time.
struct Leads<'a> {
    owner: &'a Client,
    all: BTreeMap<Uuid, (Timestamp, bool)>,
}

impl Leads<'_> {
    async fn insert(&mut self, (at, id): (u8, u32), from_the_start: bool) {
        // The count keeps ids apart that the case made equal.
        let id = Uuid::from_u64_pair(u64::from(id), self.all.len() as u64);
        let at = Timestamp::from_second(1_790_000_000 + i64::from(at)).unwrap();
        let sql = "insert into leads (dealership_id, id, created_at, source, first_name)
                   values ($1, $2, $3, 'api', 'Rad')";
        self.owner.execute(sql, &[&TESLA_OSLO.id, &id, &at]).await.unwrap();
        self.all.insert(id, (at, from_the_start));
    }

    async fn change(&mut self, change: &Change) {
        let (sql, index) = match change {
            Change::Insert(at, id) => return self.insert((*at, *id), false).await,
            Change::Delete(index) => ("update leads set deleted_at = now() where id = $1", index),
            Change::Edit(index) => {
                ("update leads set company = coalesce(company, '') || 'x' where id = $1", index)
            }
        };
        if self.all.is_empty() {
            return;
        }
        let id = *self.all.keys().nth(index.index(self.all.len())).unwrap();
        self.owner.execute(sql, &[&id]).await.unwrap();
        if matches!(change, Change::Delete(_)) {
            self.all.get_mut(&id).unwrap().1 = false;
        }
    }
}

/// Every id that the pages had, in their order.
async fn read(world: &World, leads: &mut Leads<'_>, reading: &Reading) -> Result<Vec<Uuid>, TestCaseError> {
    let mut seen = Vec::new();
    let mut cursor = String::new();
    for page in 0.. {
        let (limit, changes) =
            reading.pages.get(page).map_or((3, &[][..]), |(limit, changes)| (*limit, changes));
        let query = format!("sort={}&limit={limit}{cursor}", reading.sort);
        let page = list(world, &kari(), &query).await.expect(200);
        seen.extend(page.ids().into_iter().map(|id| id.parse::<Uuid>().unwrap()));
        prop_assert!(seen.len() <= leads.all.len(), "a lead is on two pages");
        let Some(next) = page.json["next_cursor"].as_str() else {
            prop_assert!(page.ids().len() <= limit);
            break;
        };
        prop_assert_eq!(page.ids().len(), limit, "only the last page is short");
        cursor = format!("&cursor={next}");
        for change in changes {
            leads.change(change).await;
        }
    }
    Ok(seen)
}

#[test]
fn no_lead_is_on_two_pages_or_on_none_whatever_others_insert_delete_and_edit() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::seeded());
    let owner = runtime.block_on(world.owner());
    let property = async |reading: Reading| {
        owner.batch_execute("truncate leads cascade").await.unwrap();
        let mut leads = Leads { owner: &owner, all: BTreeMap::new() };
        for row in &reading.before {
            leads.insert(*row, true).await;
        }
        let seen = read(&world, &mut leads, &reading).await?;

        let keys: Vec<(Timestamp, Uuid)> = seen.iter().map(|id| (leads.all[id].0, *id)).collect();
        let is_sorted = match reading.sort {
            "created_at" => keys.is_sorted_by(|a, b| a < b),
            _ => keys.is_sorted_by(|a, b| a > b),
        };
        prop_assert!(is_sorted, "no lead twice, and all in order: {keys:?}");
        for (id, (_, all_the_time)) in &leads.all {
            prop_assert!(!all_the_time || seen.contains(id), "{id} was skipped");
        }
        Ok(())
    };
    TestRunner::new(cases(32)).run(&reading(), |reading| runtime.block_on(property(reading))).unwrap();
}
