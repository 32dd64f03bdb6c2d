//! A process of a function, started as AWS Lambda starts one.
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use dev::process::kill;
use dev::runtime_api::{Answer, RuntimeApi};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One running process of a function, which has one event at a time.
#[derive(Debug)]
pub(crate) struct Sandbox {
    process: Child,
    started_at: Instant,
    api: RuntimeApi,
    log: String,
}

impl Sandbox {
    /// Starts a program as Lambda starts a function; its standard error goes to a file in `logs`.
    pub(crate) async fn start(
        name: &str,
        command: &[&Path],
        environment: &[(String, String)],
        logs: &Path,
    ) -> Result<Self> {
        let api = RuntimeApi::start().await?;
        let log = logs.join(format!("{name}.log"));
        let errors = File::options().create(true).append(true).open(&log)?;
        let (program, arguments) = command.split_first().context("no program")?;
        let mut process = Command::new(program);
        process.args(arguments).env_clear().envs(environment.iter().cloned());
        process.envs(api.environment(name)).env("AWS_REGION", "eu-north-1");
        process.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).kill_on_drop(true);
        let started_at = Instant::now();
        let process = process.spawn().with_context(|| format!("start {name}"))?;
        Ok(Self { process, started_at, api, log: format!("target/bench/logs/{name}.log") })
    }

    /// The time from its start until it first asked for an event.
    pub(crate) async fn ready_after(&mut self) -> Result<Duration> {
        let asked_at = self.unless_ended(async |api| api.first_request().await).await?;
        Ok(asked_at.duration_since(self.started_at))
    }

    /// Gives it an event, at once or when it asks for one, and waits for its answer, which has to be a success.
    pub(crate) async fn invoke(&mut self, event: Bytes) -> Result<Answer> {
        let answer = self.unless_ended(async |api| api.invoke(event).await).await?;
        ensure!(is_success(&answer.body), "it answered {}", String::from_utf8_lossy(&answer.body));
        Ok(answer)
    }

    /// Asks it to end, as Lambda does, and waits until it has ended.
    pub(crate) async fn terminate(mut self) -> Result<()> {
        ensure!(kill("-TERM", &[self.pid()?]), "the process takes no signal");
        let ended = timeout(PATIENCE, self.process.wait()).await;
        ended.with_context(|| format!("it goes on after {PATIENCE:?}; see {}", self.log))??;
        Ok(())
    }

    pub(crate) fn started_at(&self) -> Instant {
        self.started_at
    }

    pub(crate) fn pid(&self) -> Result<u32> {
        self.process.id().context("the process has ended")
    }

    /// The result of waiting for the process, which fails when the process ends first.
    async fn unless_ended<T>(&mut self, wait: impl AsyncFnOnce(&RuntimeApi) -> Result<T>) -> Result<T> {
        let Self { process, api, log, .. } = self;
        tokio::select! {
            done = timeout(PATIENCE, wait(api)) => {
                done.with_context(|| format!("no answer within {PATIENCE:?}; see {log}"))?
            }
            ended = process.wait() => bail!("the process has ended with {}; see {log}", ended?),
        }
    }
}

/// Reads the status, with which an API Gateway answer begins; parsing the rest would take CPU time from what is measured.
fn is_success(answer: &[u8]) -> bool {
    let head = String::from_utf8_lossy(&answer[..answer.len().min(64)]);
    let status = head.split("\"statusCode\":").nth(1).unwrap_or_default();
    status.trim_start().starts_with('2')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_counts() {
        assert!(is_success(br#"{"statusCode":200,"headers":{}}"#));
        assert!(is_success(br#"{"isBase64Encoded": false, "statusCode": 202}"#));
        for refused in [r#"{"statusCode":401}"#, r#"{"errorType":"x"}"#, ""] {
            assert!(!is_success(refused.as_bytes()), "{refused}");
        }
    }
}
