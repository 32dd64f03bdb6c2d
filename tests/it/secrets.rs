//! Passwords out of Secrets Manager, by the real SDK from a real server of its protocol, moto: `.ci/run` installs it
//! and runs these.
mod moto;

use std::collections::HashMap;
use std::fs;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use dev::testing::TestCluster;
use rcgen::{CertificateParams, KeyPair};
use serde_json::json;
use shared::Login;
use shared::db::connect_as_owner;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use self::moto::Moto;
use crate::support::sandbox::{Sandbox, settings};
use crate::support::{World, event, kari, until};

/// Lambda gives the start of a sandbox so long.
const START: Duration = Duration::from_secs(10);
/// Requests at once.
const CONCURRENCY: usize = 4;
const ROTATIONS: usize = 3;
/// Whoever has not been answered by then waits in vain.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of its own, for its users' passwords are the whole server's, and its secrets at Secrets Manager.
struct Bench {
    server: TestCluster,
    world: World,
    moto: Moto,
    settings: HashMap<String, String>,
}

impl Bench {
    async fn new() -> Self {
        let server = TestCluster::start().await.unwrap();
        let world = World::on(server.seeded_database().await.unwrap()).with_concurrency(CONCURRENCY);
        let moto = Moto::start().await;
        let mut settings = settings(&world).await;
        settings.extend(moto.environment());
        Self { server, world, moto, settings }
    }

    fn url(&self, password: &str) -> String {
        self.world.database.url(Login::Reader).replace(":test@", &format!(":{password}@"))
    }

    /// The reader's URL comes out of this secret from now on.
    fn read_from(&mut self, arn: &str) {
        self.settings.remove("DATABASE_URL_READER");
        self.settings.insert("DATABASE_URL_READER_SECRET_ARN".to_owned(), arn.to_owned());
    }

    async fn with_secret(mut self) -> (Self, String) {
        let arn = self.moto.create(&json!({ "SecretString": self.url("test") })).await;
        self.read_from(&arn);
        (self, arn)
    }

    /// What the database believes from now on, of those who log in anew.
    async fn set_password(&self, password: &str) {
        let sql = format!("alter role norvalt_reader password '{password}'");
        self.world.owner().await.batch_execute(&sql).await.unwrap();
    }

    async fn break_connections(&self) {
        let sql = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'norvalt_reader'";
        self.world.owner().await.batch_execute(sql).await.unwrap();
    }

    async fn sandbox(&self) -> Sandbox {
        Sandbox::start("list-leads", &self.settings).await
    }

    /// What a sandbox says that does not start, and it says so in time.
    async fn refusal(&self) -> String {
        let since = Instant::now();
        let output = self.sandbox().await.end().await;
        assert!(!output.status.success());
        assert!(since.elapsed() < START, "it took {:?}", since.elapsed());
        String::from_utf8(output.stderr).unwrap()
    }
}

async fn status(sandbox: &Sandbox) -> u64 {
    sandbox.last_invoke(&event("list-leads").by(&kari())).await["statusCode"].as_u64().unwrap()
}

#[tokio::test]
#[ignore = "needs a Python with moto, which MOTO_PYTHON names; .ci/run has one"]
async fn a_secret_is_read_once_for_each_sandbox() {
    let (bench, _) = Bench::new().await.with_secret().await;
    let sandbox = bench.sandbox().await;
    for _ in 0..5 {
        assert_eq!(status(&sandbox).await, 200);
    }
    assert_eq!(bench.moto.reads(), 1);
    // A lost connection is no reason to read it again.
    bench.break_connections().await;
    assert_eq!(status(&sandbox).await, 200);
    assert_eq!(bench.moto.reads(), 1);
}

#[tokio::test]
#[ignore = "needs a Python with moto, which MOTO_PYTHON names; .ci/run has one"]
async fn a_rotation_fails_no_request_in_flight() {
    let (bench, arn) = Bench::new().await.with_secret().await;
    let sandbox = bench.sandbox().await;
    assert_eq!(status(&sandbox).await, 200);
    let (answered, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let ask = async || {
        while !is_over.load(SeqCst) {
            assert_eq!(status(&sandbox).await, 200);
            answered.fetch_add(1, SeqCst);
        }
    };
    let rotate = async {
        for n in 1..=ROTATIONS {
            let (password, before) = (format!("rotated{n}"), answered.load(SeqCst));
            bench.set_password(&password).await;
            bench.moto.put(&arn, &bench.url(&password)).await;
            bench.break_connections().await;
            let all_anew =
                async || bench.moto.reads() > n && answered.load(SeqCst) > before + 2 * CONCURRENCY;
            until("everybody has been answered anew", all_anew).await;
        }
        is_over.store(true, SeqCst);
    };
    timeout(PATIENCE, async { tokio::join!(ask(), ask(), ask(), ask(), rotate) }).await.unwrap();
    // The first one, and one for each rotation, however many connections were refused.
    assert_eq!(bench.moto.reads(), 1 + ROTATIONS);
    let Err(old) = connect_as_owner(&bench.url("test")).await else { panic!("the old password is good") };
    assert!(format!("{old:?}").contains("28P01"), "{old:?}");
}

#[tokio::test]
#[ignore = "needs a Python with moto, which MOTO_PYTHON names; .ci/run has one"]
async fn between_the_database_and_the_secret_a_rotation_is_503s_and_then_all_is_well() {
    let (bench, arn) = Bench::new().await.with_secret().await;
    let sandbox = bench.sandbox().await;
    assert_eq!(status(&sandbox).await, 200);
    bench.set_password("rotated").await;
    assert_eq!(status(&sandbox).await, 200, "an open connection stays good");
    bench.break_connections().await;
    for _ in 0..3 {
        assert_eq!(status(&sandbox).await, 503);
    }
    bench.moto.put(&arn, &bench.url("rotated")).await;
    assert_eq!(status(&sandbox).await, 200);
}

/// As RDS keeps a user's password, for a server whose certificate is verified.
#[tokio::test]
#[ignore = "needs a Python with moto, which MOTO_PYTHON names; .ci/run has one"]
async fn a_secret_of_rds_opens_a_connection_with_tls() {
    let mut bench = Bench::new().await;
    let port = bench.server.cluster().port();
    let secret = |password: &str| {
        let database = &bench.world.database.name;
        json!({
            "engine": "postgres", "host": "127.0.0.1", "port": port, "username": "norvalt_reader",
            "password": password, "dbname": database,
        })
    };
    let odd = "p@ss:w/ord %41\"'\\æ";
    let sql = format!(
        "set standard_conforming_strings = on; alter role norvalt_reader password '{}'",
        odd.replace('\'', "''")
    );
    bench.world.owner().await.batch_execute(&sql).await.unwrap();
    let arn = bench.moto.create(&json!({ "SecretString": secret(odd).to_string() })).await;
    bench.read_from(&arn);
    let sandbox = bench.sandbox().await;
    assert_eq!(status(&sandbox).await, 503, "the server has no TLS, and nothing goes without");

    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    let owner = bench.world.owner().await;
    for (text, file) in [(certificate.pem(), "server.crt"), (key.serialize_pem(), "server.key")] {
        let write = format!(
            "copy (select unnest(string_to_array('{text}', E'\\n'))) to program 'umask 077; cat > {file}'"
        );
        owner.batch_execute(&write).await.unwrap();
    }
    owner.batch_execute("alter system set ssl = on").await.unwrap();
    owner.batch_execute("select pg_reload_conf()").await.unwrap();
    let ca = dev::target().join("tmp").join(format!("{}.pem", Uuid::new_v4()));
    fs::write(&ca, certificate.pem()).unwrap();
    bench.settings.insert("DATABASE_CA_FILE".to_owned(), ca.display().to_string());
    let sandbox = bench.sandbox().await;
    assert_eq!(status(&sandbox).await, 200);
    let tls = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid) where ssl and usename = 'norvalt_reader'";
    assert_eq!(bench.world.count(tls).await, 1);
    fs::remove_file(ca).unwrap();
}

#[tokio::test]
#[ignore = "needs a Python with moto, which MOTO_PYTHON names; .ci/run has one"]
async fn a_secret_that_cannot_be_used_stops_the_start_and_is_not_quoted() {
    let mut bench = Bench::new().await;
    let cannot = "Error: DATABASE_URL_READER cannot be used: ";
    for (value, why) in [
        (json!({ "SecretBinary": "aHVudGVyMg==" }), "its secret is not text"),
        (json!({ "SecretString": "hunter2" }), "not a PostgreSQL connection URL"),
        (json!({ "SecretString": "postgres://hunter2@@:x" }), "not a PostgreSQL connection URL"),
        (
            json!({ "SecretString": r#"{"username":"norvalt_reader","password":"hunter2"}"# }),
            "not an RDS secret",
        ),
        (json!({ "SecretString": r#"{"password": hunter2}"# }), "not an RDS secret"),
    ] {
        let arn = bench.moto.create(&value).await;
        bench.read_from(&arn);
        assert_eq!(bench.refusal().await, format!("{cannot}{why}\n"), "{value}");
    }
}

#[tokio::test]
#[ignore = "needs a Python with moto, which MOTO_PYTHON names; .ci/run has one"]
async fn a_secret_that_cannot_be_read_stops_the_start_in_time_and_says_why() {
    let (mut bench, arn) = Bench::new().await.with_secret().await;
    let cannot = "Error: the secret of DATABASE_URL_READER cannot be read: ";
    bench.read_from("arn:aws:secretsmanager:eu-north-1:123456789012:secret:nobody-AbCdEf");
    let missing = bench.refusal().await;
    assert!(missing.starts_with(cannot) && missing.contains("ResourceNotFoundException"), "{missing}");

    bench.moto.deny().await;
    bench.read_from(&arn);
    bench.settings.extend(bench.moto.environment());
    let denied = bench.refusal().await;
    // Which error it is, this server tells in another form than AWS.
    assert!(denied.starts_with(cannot) && !denied.contains(":test@"), "{denied}");

    // One that takes the connection and says nothing, and one that is not there.
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let gone = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), gone] {
        bench.settings.insert("AWS_ENDPOINT_URL".to_owned(), format!("http://{address}"));
        let unreachable = bench.refusal().await;
        assert!(unreachable.starts_with(cannot), "{unreachable}");
    }
}
