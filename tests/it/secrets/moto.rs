//! The server that speaks Secrets Manager's protocol, in a process of its own.
use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use uuid::Uuid;

use crate::support::until;

const REGION: &str = "eu-north-1";

pub struct Moto {
    url: String,
    client: Client,
    /// An access key and what it signs with; the server believes anybody until [`Moto::deny`].
    key: [String; 2],
    recording: PathBuf,
    #[expect(dead_code, reason = "it ends with the test")]
    process: Child,
}

impl Moto {
    pub async fn start() -> Self {
        let python = dev::environment::text("MOTO_PYTHON").unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
        let folder = dev::target().join("tmp");
        fs::create_dir_all(&folder).unwrap();
        let recording = folder.join(format!("moto-{}", Uuid::new_v4()));
        let process = Command::new(python)
            .args(["-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", &port.to_string()])
            .env("MOTO_RECORDER_FILEPATH", &recording)
            .env("MOTO_ENABLE_RECORDING", "true")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let client = Client::builder().no_proxy().build().unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let data = format!("{url}/moto-api/data.json");
        until("moto answers", async || client.get(&data).send().await.is_ok()).await;
        Self { url, client, key: ["none", "none"].map(str::to_owned), recording, process }
    }

    /// For a function's process.
    pub fn environment(&self) -> Vec<(String, String)> {
        let [id, secret] = &self.key;
        let variables = [
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_REGION", REGION),
            ("AWS_ACCESS_KEY_ID", id),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ];
        variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// How often a secret has been read.
    pub fn reads(&self) -> usize {
        let recording = fs::read_to_string(&self.recording).unwrap_or_default();
        recording.matches("secretsmanager.GetSecretValue").count()
    }

    /// Makes a secret and returns its ARN.
    pub async fn create(&self, value: &Value) -> String {
        let mut request = value.clone();
        request["Name"] = format!("norvalt-{}", Uuid::new_v4()).into();
        self.call("CreateSecret", &request).await["ARN"].as_str().unwrap().to_owned()
    }

    /// Gives a secret another value.
    pub async fn put(&self, arn: &str, text: &str) {
        self.call("PutSecretValue", &json!({ "SecretId": arn, "SecretString": text })).await;
    }

    /// From here on only a user's key is good, and only for what a policy allows. There is one user, and no policy.
    pub async fn deny(&mut self) {
        self.iam("CreateUser").await;
        let key = self.iam("CreateAccessKey").await;
        let value = |name: &str| {
            let (_, rest) = key.split_once(&format!("<{name}>")).unwrap();
            rest.split_once('<').unwrap().0.to_owned()
        };
        self.key = [value("AccessKeyId"), value("SecretAccessKey")];
        let reset = self.client.post(format!("{}/moto-api/reset-auth", self.url)).body("0");
        assert!(reset.send().await.unwrap().status().is_success());
    }

    async fn iam(&self, action: &str) -> String {
        let body = format!("Action={action}&UserName=function&Version=2010-05-08");
        let request = self.client.post(&self.url).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.header("authorization", authorization("iam")).body(body).send().await.unwrap();
        assert!(answer.status().is_success());
        answer.text().await.unwrap()
    }

    async fn call(&self, operation: &str, request: &Value) -> Value {
        let answer = self
            .client
            .post(&self.url)
            .header("authorization", authorization("secretsmanager"))
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("secretsmanager.{operation}"))
            .body(request.to_string());
        let answer = answer.send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{body}");
        serde_json::from_str(&body).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.recording);
    }
}

/// Says whom a request is for; the signature is looked at by nobody yet.
fn authorization(service: &str) -> String {
    let scope = format!("none/20261120/{REGION}/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none")
}
