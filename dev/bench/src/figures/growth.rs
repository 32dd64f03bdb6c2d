//! Growth: whether a page takes longer where the database has more leads of other dealerships.
use anyhow::{Context, Result};
use jiff::Timestamp;
use shared::db::connect_as_owner;
use shared::page::{Cursor, Order};
use uuid::Uuid;

use crate::bench::{Bench, drive};
use crate::callers::Callers;
use crate::database::{Kind, Size};
use crate::event::{self, Events};
use crate::plot::{Bar, Bars};
use crate::report::{Goal, Row, Section, table};
use crate::sandbox::Sandbox;
use crate::statistics::{Summary, short};

/// The largest database's latency, in times the smallest database's.
const GOAL: f64 = 1.3;

/// The deep page: with pages of five, the last page of a dealership with 5,000 leads.
const DEEP_PAGE: i64 = 1_000;
const DEEP_LIMIT: i64 = 5;

const KINDS: [&str; 4] = ["page 1", "page 1,000 of 5 leads", "status filter", "prefix search"];

struct Database {
    size: Size,
    sandbox: [Sandbox; 1],
    events: [Events; 4],
    /// The p50 of each round, per kind.
    p50s: [Vec<f64>; 4],
}

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let mut databases = Vec::new();
    for size in bench.effort.sizes {
        databases.push(Database::open(bench, *size).await.with_context(|| format!("open {}", size.name))?);
    }
    for round in 0..bench.effort.rounds {
        for kind in 0..KINDS.len() {
            for database in &mut databases {
                let Database { sandbox, events, p50s, .. } = database;
                if round == 0 {
                    drive(sandbox, &events[kind], bench.effort.warm_up / 2).await?;
                }
                p50s[kind].push(drive(sandbox, &events[kind], bench.effort.round / 4).await?.quantile(0.5));
            }
        }
    }
    Ok(section(&databases))
}

impl Database {
    async fn open(bench: &Bench, size: Size) -> Result<Self> {
        // The same number of dealerships take turns in each database, so that the caches are alike.
        let callers =
            Callers::new(&bench.clerk, &bench.issuer, bench.effort.sizes[0].dealerships.unsigned_abs());
        let cursor = deep_cursor(bench, size).await?;
        let queries = ["", &format!("limit={DEEP_LIMIT}&cursor={cursor}"), "status=qualified", "q=kunde123"]
            .map(str::to_owned);
        let [first, deep, status, search] = queries.map(|query| event::list(&query, &callers));
        let sandbox = [bench.sandbox_at("list-leads", size, bench.cluster.port()).await?];
        Ok(Self { size, sandbox, events: [first?, deep?, status?, search?], p50s: Default::default() })
    }
}

/// The cursor after the page before the deep one, in the first dealership. In the others it is about as deep.
async fn deep_cursor(bench: &Bench, size: Size) -> Result<String> {
    let (owner, _) = connect_as_owner(&bench.cluster.owner_url(size.name)).await?;
    let last = "select created_at, id from leads where dealership_id = $1 and deleted_at is null
                 order by created_at desc, id desc offset $2 limit 1";
    let skipped = ((DEEP_PAGE - 1) * DEEP_LIMIT).min(size.leads / size.dealerships - DEEP_LIMIT - 1);
    let row = owner.query_one(last, &[&Kind::Dealership.id(0), &skipped]).await?;
    let (at, id): (Timestamp, Uuid) = (row.try_get(0)?, row.try_get(1)?);
    let route = registry::endpoint("list-leads").context("find list-leads")?.route;
    Ok(Cursor { order: Order::of(route, "-created_at"), at, id }.encode())
}

fn section(databases: &[Database]) -> Section {
    let (mut rows, mut cells, mut bars) = (Vec::new(), Vec::new(), Vec::new());
    let thousands = |size: Size| {
        if size.leads < 1_000_000 {
            format!("{} k", size.leads / 1_000)
        } else {
            format!("{} M", size.leads / 1_000_000)
        }
    };
    for (kind, name) in KINDS.iter().enumerate() {
        let medians: Vec<Summary> =
            databases.iter().map(|database| Summary::of(&database.p50s[kind])).collect();
        let (Some(smallest), Some(largest)) = (medians.first(), medians.last()) else { continue };
        let growth = largest.times(1.0 / smallest.median);
        rows.push(Row::new(
            format!("{name}: growth from the smallest to the largest database"),
            Goal::AtMost(GOAL),
            "×",
            growth,
        ));
        cells.push(
            std::iter::once((*name).to_owned())
                .chain(medians.iter().map(|median| short(median.median)))
                .chain([short(growth.median)])
                .collect(),
        );
        for (database, median) in databases.iter().zip(&medians) {
            let label = format!("{name}, {}", thousands(database.size));
            bars.push(Bar { label, value: median.median, is_ours: true });
        }
    }
    let heads: Vec<String> = databases
        .iter()
        .map(|database| {
            format!("p50 ms, {} leads, {} dealerships", thousands(database.size), database.size.dealerships)
        })
        .collect();
    let heads: Vec<&str> =
        std::iter::once("").chain(heads.iter().map(String::as_str)).chain(["growth"]).collect();
    let text = format!(
        "{}\nThe leads are those of all dealerships together; each dealership has 5,000, whatever the size, and its leads lie \
         between those of the others as time brought them. Page 1,000 has pages of {DEEP_LIMIT}: it is the last of its \
         dealership. One sandbox, the p50 of whole invocations.\n",
        table(&heads, &cells)
    );
    let plots = vec![Bars {
        file: "growth.svg",
        title: "A page among few leads and among many",
        axis: "p50 in milliseconds (alike is better)",
        bars,
    }];
    Section { title: "Growth", rows, text, plots, ..Section::default() }
}
