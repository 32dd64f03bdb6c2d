//! The binaries themselves, each a process that knows nothing but its environment and the Runtime API.
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dev::clerk::Clerk;
use dev::clerk::backend::SECRET_KEY;
use dev::process::kill;
use dev::runtime_api::{Answer, RuntimeApi};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{CLERK, Event, World, log, until};

/// The longest that a process may take for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The folder of the binaries. `cargo test` does not build them, so the first test that calls this does.
pub fn binaries() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        // target/PROFILE/deps/it-HASH
        let test = std::env::current_exe().unwrap();
        let folder = test.parent().unwrap().parent().unwrap();
        let profile = match folder.file_name().unwrap().to_str().unwrap() {
            "debug" => "dev",
            other => other,
        };
        // With the tests' features, as they are already compiled: only the binaries are left to link.
        let built = std::process::Command::new(env!("CARGO"))
            .args(["build", "--workspace", "--bins", "--tests", "--profile", profile, "--target-dir"])
            .arg(folder.parent().unwrap())
            .current_dir(dev::workspace())
            .status();
        assert!(built.unwrap().success());
        folder.to_owned()
    })
}

/// The settings of a function in this world, with an endpoint that serves Clerk's keys.
pub async fn settings(world: &World) -> HashMap<String, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let clerk: &Arc<Clerk> = &CLERK;
    tokio::spawn(clerk.clone().serve(listener));
    let mut settings: HashMap<_, _> = world.variables().into_iter().collect();
    settings.remove("CLERK_JWT_KEY").unwrap();
    settings.insert("CLERK_JWKS_URL".to_owned(), format!("{url}/.well-known/jwks.json"));
    settings.insert("CLERK_API_URL".to_owned(), url);
    settings.insert("CLERK_SECRET_KEY".to_owned(), SECRET_KEY.to_owned());
    settings
}

/// A function's process, as Lambda runs it.
pub struct Sandbox {
    api: RuntimeApi,
    process: Child,
}

impl Sandbox {
    pub async fn start(name: &str, settings: &HashMap<String, String>) -> Self {
        let binary = tokio::task::spawn_blocking(binaries).await.unwrap().join(name);
        let api = RuntimeApi::start().await.unwrap();
        let process = Command::new(binary)
            .env_clear()
            .envs(settings)
            .envs(api.environment(name))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self { api, process }
    }

    /// The answer to an event, as API Gateway gets it.
    pub async fn invoke(&mut self, event: &Event) -> Value {
        tokio::select! {
            answer = timeout(PATIENCE, invoke(&self.api, event)) => answer.unwrap(),
            ended = self.process.wait() => panic!("{} ended: {ended:?}", event.function),
        }
    }

    /// The answer to an event that the process may not survive.
    pub async fn last_invoke(&self, event: &Event) -> Value {
        timeout(PATIENCE, invoke(&self.api, event)).await.unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.process.id().unwrap()
    }

    /// What it has written, once it has ended by itself.
    pub async fn end(self) -> Output {
        let output = timeout(PATIENCE, self.process.wait_with_output()).await.unwrap().unwrap();
        for text in [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)) {
            assert_eq!(log::found_in(&text), None, "{text}");
        }
        output
    }

    /// The same after the signal that Lambda sends before it takes the sandbox away.
    pub async fn terminate(self) -> Output {
        assert!(kill("-TERM", &[self.pid()]));
        self.end().await
    }
}

/// Starts the function of an event, gives it the event, and kills it without warning as soon as `now` returns true.
pub async fn kill_when(world: &World, event: &Event, now: impl AsyncFn() -> bool) {
    let settings = settings(world).await;
    let mut sandbox = Sandbox::start(event.function, &settings).await;
    tokio::select! {
        answer = invoke(&sandbox.api, event) => panic!("it has answered: {answer}"),
        () = until("it is time to kill the function", now) => {}
    }
    sandbox.process.kill().await.unwrap();
}

/// The answer to an event, as API Gateway gets it from Lambda.
async fn invoke(api: &RuntimeApi, event: &Event) -> Value {
    let answer = api.invoke(event.value().to_string().into()).await.unwrap();
    if answer.is_stream { streamed(&answer) } else { serde_json::from_slice(&answer.body).unwrap() }
}

/// A streamed answer as a caller gets it, from its prelude in JSON, eight NULs and its body.
fn streamed(answer: &Answer) -> Value {
    let end = answer.body.windows(8).position(|eight| eight == [0; 8]).unwrap();
    let mut json: Value = serde_json::from_slice(&answer.body[..end]).unwrap();
    json["body"] = String::from_utf8_lossy(&answer.body[end + 8..]).into();
    json["isWhole"] = answer.is_whole.into();
    json
}
