//! Whatever was merged and whatever happened in between, the undo leaves the leads as if they had never been merged.
use std::collections::BTreeMap;

use dev::people::{KARI, NINA, TESLA_OSLO};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{TestCaseError, TestRunner};
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{dump, undo};
use crate::support::leads::merge;
use crate::support::{World, cases, event, kari, vehicle};

const INSERT_LEAD: &str = "
    insert into leads (dealership_id, id, source, first_name, last_name, email, phone, phone_e164, company, message,
                       vehicle_id, vehicle_of_interest, assigned_to, attribution, consent)
    select $1, $2, 'api', r.first_name, 'Vik', r.email, r.phone, r.phone_e164, r.company, r.message, r.vehicle_id,
           r.vehicle_of_interest, r.assigned_to, coalesce(r.attribution, '{}'), coalesce(r.consent, '{}')
      from jsonb_populate_record(null::leads, $3) r";
const INSERT_MESSAGE: &str = "
    insert into conversations (dealership_id, lead_id, direction, channel, author_kind, auto_reply, body, created_at)
    select $1, $2, r.direction, r.channel, r.author_kind, r.auto_reply, 'Hei', now() - $4 * interval '1 hour'
      from jsonb_populate_record(null::conversations, $3) r";

#[derive(Clone, Debug)]
struct History {
    leads: Vec<Value>,
    messages: Vec<(Index, Value, u8)>,
    steps: Vec<Step>,
    /// In which order the merges are undone: the last first, or as these say.
    order: Option<Vec<Index>>,
}

#[derive(Clone, Debug)]
enum Step {
    Merge(Index, Index),
    Patch(Index, &'static str, Value),
    Write(Index, Value),
}

/// Two values of each field, so that leads agree now and then.
fn lead() -> impl Strategy<Value = Value> {
    let text = |values: [&'static str; 2]| option::of(select(values.map(Value::from).to_vec()));
    let attribution = option::of(select(vec![json!({"gclid": "a"}), json!({"utm_id": "b", "gclid": "c"})]));
    let fields = (
        text(["Kari", "Ola"]),
        text(["kari@post.example", "ola@post.example"]),
        option::of(select(vec![("400 00 201", Some("+4740000201")), ("1234", None)])),
        text(["Vik AS", "Ås AS"]),
        text(["Hei", "Hallo \"du\"\n"]),
        option::of(select(vec![vehicle(1), vehicle(2)])),
        text(["Golf", "Polo"]),
        option::of(select(vec![KARI.id, NINA.id])),
        attribution,
        option::of(Just(json!({"marketing": true, "text_version": "1"}))),
    );
    fields.prop_map(
        |(
            first_name,
            email,
            phone,
            company,
            message,
            vehicle_id,
            interest,
            assigned_to,
            attribution,
            consent,
        )| {
            json!({"first_name": first_name, "email": email, "phone": phone.map(|phone| phone.0),
               "phone_e164": phone.and_then(|phone| phone.1), "company": company, "message": message,
               "vehicle_id": vehicle_id, "vehicle_of_interest": interest, "assigned_to": assigned_to,
               "attribution": attribution, "consent": consent})
        },
    )
}

fn message() -> impl Strategy<Value = Value> {
    let kind = select(vec![
        ("inbound", "customer"),
        ("outbound", "human"),
        ("outbound", "ai"),
        ("outbound", "system"),
    ]);
    (kind, any::<bool>(), select(vec!["email", "note"])).prop_map(|((direction, author_kind), auto_reply, channel)| {
        let channel = if direction == "inbound" { "email" } else { channel };
        json!({"direction": direction, "author_kind": author_kind, "auto_reply": auto_reply, "channel": channel})
    })
}

fn history() -> impl Strategy<Value = History> {
    let change = select(vec![
        ("email", json!("{n}@post.example")),
        ("email", Value::Null),
        ("email", json!("kari@post.example")),
        ("company", json!("{n} AS")),
        ("company", Value::Null),
        ("phone", json!("912 34 567")),
        ("phone", Value::Null),
        ("message", json!("{n}")),
        ("assigned_to", json!(NINA.id)),
        ("assigned_to", Value::Null),
        ("attribution", json!({"fbclid": "f"})),
        ("attribution", Value::Null),
        ("status", json!("lost")),
    ]);
    let step = prop_oneof![
        4 => (any::<Index>(), any::<Index>()).prop_map(|(survivor, other)| Step::Merge(survivor, other)),
        2 => (any::<Index>(), change).prop_map(|(lead, (field, value))| Step::Patch(lead, field, value)),
        1 => (any::<Index>(), message()).prop_map(|(lead, message)| Step::Write(lead, message)),
    ];
    let messages = vec((any::<Index>(), message(), 1..90u8), 0..8);
    let order = option::of(vec(any::<Index>(), 10));
    (vec(lead(), 2..6), messages, vec(step, 1..12), order)
        .prop_map(|(leads, messages, steps, order)| History { leads, messages, steps, order })
}

/// What somebody did to a lead beside merging it.
#[derive(Default)]
struct Touched {
    /// What each field was set to last.
    fields: BTreeMap<&'static str, Value>,
    messages: u32,
}

struct Run<'a> {
    world: &'a World,
    owner: &'a Client,
    leads: Vec<Uuid>,
    touched: BTreeMap<Uuid, Touched>,
    merges: Vec<String>,
    patches: u32,
}

impl Run<'_> {
    async fn fill(&mut self, history: &History) {
        self.owner.batch_execute("truncate leads cascade").await.unwrap();
        for lead in &history.leads {
            let id = Uuid::now_v7();
            self.owner.execute(INSERT_LEAD, &[&TESLA_OSLO.id, &id, lead]).await.unwrap();
            self.leads.push(id);
        }
        for (lead, message, age) in &history.messages {
            let lead = self.leads[lead.index(self.leads.len())];
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 4] =
                [&TESLA_OSLO.id, &lead, message, &f64::from(*age)];
            self.owner.execute(INSERT_MESSAGE, &params).await.unwrap();
        }
    }

    fn lead(&self, index: &Index) -> Uuid {
        self.leads[index.index(self.leads.len())]
    }

    async fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Merge(survivor, other) => {
                let (survivor, other) = (self.lead(survivor), self.lead(other));
                if survivor == other {
                    return Ok(());
                }
                let reply = self.world.send(merge(survivor, other).by(&kari())).await;
                prop_assert!([201, 409].contains(&reply.status), "{}", reply.json);
                self.merges.extend(reply.json["id"].as_str().map(str::to_owned));
            }
            Step::Patch(lead, field, value) => {
                let (lead, mut value) = (self.lead(lead), value.clone());
                if let Some(text) = value.as_str() {
                    // Nobody else has said it, a merge neither.
                    value = json!(text.replace("{n}", &format!("ny{}", self.patches)));
                    self.patches += 1;
                }
                let mut body = json!({*field: value});
                if *field == "status" {
                    body["lost_reason"] = json!("For dyrt");
                }
                let reply = self.world.send(event("patch-lead").id(lead).json(body).by(&kari())).await;
                prop_assert!([200, 404].contains(&reply.status), "{}", reply.json);
                if reply.status == 200 {
                    self.touched.entry(lead).or_default().fields.insert(field, value);
                }
            }
            Step::Write(lead, message) => {
                let lead = self.lead(lead);
                let mut body = message.clone();
                (body["lead_id"], body["body"]) = (json!(lead), json!("Ny"));
                let new = event("create-conversation").without_header("idempotency-key").json(body);
                let reply = self.world.send(new.by(&kari())).await;
                prop_assert!([201, 404].contains(&reply.status), "{}", reply.json);
                if reply.status == 201 {
                    self.touched.entry(lead).or_default().messages += 1;
                }
            }
        }
        Ok(())
    }

    /// Undoes every merge; one whose survivor is merged itself has to wait.
    async fn undo(&mut self, order: Option<&[Index]>) -> Result<(), TestCaseError> {
        let mut refused = 0;
        while !self.merges.is_empty() {
            let last = self.merges.len() - 1;
            // After as many refusals as there are merges the last is tried, whose survivor is there.
            let next = order.filter(|_| refused <= last).map_or(last, |order| order[refused].index(last + 1));
            let reply = self.world.send(undo(&self.merges[next])).await;
            if reply.status == 200 {
                self.merges.remove(next);
                refused = 0;
            } else {
                prop_assert_eq!((reply.code(), next == last), ("survivor_gone", false));
                refused += 1;
            }
        }
        Ok(())
    }

    /// Each lead as an object of its columns.
    async fn rows(&self) -> BTreeMap<Uuid, Map<String, Value>> {
        let rows = self.owner.query("select id, to_jsonb(l) from leads l", &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get::<_, Value>(1).as_object().unwrap().clone())).collect()
    }
}

/// What each lead's messages say of it.
const DERIVED: &str = "
    select l.id, l.conversation_count = count(c.id)
                 and l.first_human_response_at is not distinct from min(c.created_at) filter (where responds and c.author_kind = 'human')
                 and l.first_ai_response_at is not distinct from min(c.created_at) filter (where responds and c.author_kind = 'ai')
      from leads l left join conversations c on c.lead_id = l.id
     cross join lateral (select c.direction = 'outbound' and c.channel <> 'note' and not c.auto_reply as responds) r
     group by l.dealership_id, l.id";

async fn check(world: &World, owner: &Client, history: History) -> Result<(), TestCaseError> {
    let mut run =
        Run { world, owner, leads: Vec::new(), touched: BTreeMap::new(), merges: Vec::new(), patches: 0 };
    run.fill(&history).await;
    let (whole, before) = (dump(world).await, run.rows().await);
    let old_messages = "select lead_id, array_agg(id order by id) from conversations where body = 'Hei' group by 1 order by 1";
    let of_leads = async || {
        let rows = owner.query(old_messages, &[]).await.unwrap();
        rows.iter().map(|row| (row.get(0), row.get(1))).collect::<Vec<(Uuid, Vec<Uuid>)>>()
    };
    let messages = of_leads().await;
    for step in &history.steps {
        run.step(step).await?;
    }
    run.undo(history.order.as_deref()).await?;

    if run.touched.is_empty() && history.order.is_none() {
        prop_assert_eq!(dump(world).await, whole);
    }
    prop_assert_eq!(of_leads().await, messages, "a message that moved is back");
    let after = run.rows().await;
    let untouched = Touched::default();
    for (id, before) in &before {
        let touched = run.touched.get(id).unwrap_or(&untouched);
        for (column, value) in before {
            let is_touched = touched.fields.keys().any(|field| match *field {
                "phone" => column.starts_with("phone"),
                "status" => column == "status" || column == "lost_reason",
                "email" | "company" => column.starts_with(field),
                field => column == field,
            });
            let follows = ["conversation_count", "first_human_response_at", "first_ai_response_at"];
            let counts = ["version", "updated_at"].contains(&column.as_str());
            let changed = !touched.fields.is_empty() || touched.messages > 0;
            if is_touched
                || touched.messages > 0 && follows.contains(&column.as_str())
                || counts && (changed || history.order.is_some())
            {
                continue;
            }
            prop_assert_eq!(&after[id][column], value, "{} of {}", column, id);
        }
    }
    for (id, touched) in &run.touched {
        for field in ["email", "company", "message"] {
            if let Some(written) = touched.fields.get(field).filter(|value| **value != "kari@post.example") {
                prop_assert_eq!(&after[id][field], written, "{} of {}", field, id);
            }
        }
    }
    for row in owner.query(DERIVED, &[]).await.unwrap() {
        prop_assert!(row.get::<_, bool>(1), "{} says other than its messages", row.get::<_, Uuid>(0));
    }
    Ok(())
}

#[test]
fn the_undo_of_any_merges_leaves_what_no_edit_touched_as_it_was() {
    let runtime = Runtime::new().unwrap();
    let world = runtime.block_on(World::seeded());
    let owner = runtime.block_on(world.owner());
    let property = |history| runtime.block_on(check(&world, &owner, history));
    TestRunner::new(cases(48)).run(&history(), property).unwrap();
}
