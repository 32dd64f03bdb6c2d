//! The log tells what went wrong, and nothing about the customer.
use std::io::Write;
use std::sync::{Arc, Mutex};

use dev::people::{KARI, TESLA_OSLO};
use serde_json::Value;
use shared::{Answer, Permission};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{World, endpoint, event, token};

/// What is logged while [`Log::listen`]'s guard lives.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn listen(&self) -> DefaultGuard {
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(self.clone()).finish();
        tracing::subscriber::set_default(subscriber)
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    /// The lines with this message.
    pub fn lines(&self, message: &str) -> Vec<Value> {
        let lines =
            self.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>();
        lines.into_iter().filter(|line| line["message"] == message).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What is logged of a request that runs `sql` as a writer of Tesla Oslo.
async fn logged(sql: &str) -> (u16, Log) {
    let world = World::seeded().await;
    let log = Log::default();
    let app = world.app(endpoint("create-lead")).await;
    let request = event("create-lead").by(&token(&TESLA_OSLO, &KARI, "admin")).request();
    let guard = log.listen();
    let response = app.respond(request, async |ctx| {
        ctx.member(&[Permission::LeadsEdit]).await?.query(sql, &[]).await?;
        Ok(Answer::no_content())
    });
    let status = response.await.unwrap().status().as_u16();
    drop(guard);
    (status, log)
}

#[tokio::test]
async fn a_refused_row_is_not_in_the_log() {
    for (sql, told) in [
        ("insert into leads (source, first_name) values ('nowhere', 'Sigurd')", "leads_source_check"),
        ("insert into leads (source, first_name, vehicle_id) values ('api', 'Sigurd', 'Sigurd')", "22P02"),
        (
            "insert into leads (source, first_name) values ('api', repeat('Sigurd', 99))",
            "leads_first_name_check",
        ),
        ("select first_name, 'Sigurd'::text::int from leads", "22P02"),
        // What was wrong with it stands in the DETAIL.
        ("select first_name, '{Sigurd'::text::json from leads", "22P02"),
    ] {
        let (status, log) = logged(sql).await;
        assert_eq!(status, 500, "{sql}: no request can do this, so it is our mistake");
        let line = &log.lines("request")[0];
        assert!(line["cause"].as_str().unwrap().contains(told), "{line}");
        assert_eq!((&line["outcome"], &line["level"]), (&"internal".into(), &"ERROR".into()));
        assert!(!log.text().contains("Sigurd"), "{}", log.text());
    }
}
