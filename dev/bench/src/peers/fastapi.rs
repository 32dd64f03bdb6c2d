//! FastAPI with SQLAlchemy and asyncpg: as a server under uvicorn, and as a function under AWS's Python runtime client.
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{Bench, Plan, environment, fetched, free_port, get, put};
use crate::sandbox::Sandbox;

const PACKAGES: [&str; 9] = [
    "fastapi==0.165.0",
    "uvicorn==0.54.0",
    "uvloop==0.23.0",
    "httptools==0.9.0",
    "sqlalchemy[asyncio]==2.1.9",
    "asyncpg==0.32.0",
    "pyjwt[crypto]==2.15.1",
    "mangum==0.22.0",
    "awslambdaric==4.2.2",
];

pub(super) fn plan(bench: &Bench) -> Result<Plan> {
    let folder = folder(bench)?;
    let port = free_port()?;
    let mut command: Vec<PathBuf> = vec![folder.join("python/bin/uvicorn")];
    command.extend(["app:app", "--host", "127.0.0.1", "--no-access-log", "--port"].map(PathBuf::from));
    command.push(port.to_string().into());
    Ok(Plan {
        name: "FastAPI",
        note: "FastAPI with SQLAlchemy 2 (ORM), asyncpg, Pydantic and PyJWT under uvicorn with uvloop, one worker",
        target: get(port, "/api/v1/leads"),
        rows: "/items",
        command,
        environment: settings(bench, port),
        folder,
    })
}

/// The same application on Lambda: Mangum, started by AWS's runtime client.
pub(crate) async fn function(bench: &Bench) -> Result<Sandbox> {
    let folder = folder(bench)?;
    let python = folder.join("python/bin/python");
    let mut settings = settings(bench, 0);
    settings.extend([
        ("PYTHONPATH".to_owned(), folder.display().to_string()),
        ("LAMBDA_TASK_ROOT".to_owned(), folder.display().to_string()),
    ]);
    let command = [&python, Path::new("-m"), Path::new("awslambdaric"), Path::new("app.handler")];
    Sandbox::start("fastapi-mangum", &command, &settings, &bench.logs()).await
}

fn folder(bench: &Bench) -> Result<PathBuf> {
    let folder = fetched(bench, "fastapi", |folder| {
        let mut venv = Command::new("python3");
        venv.args(["-m", "venv"]).arg(folder.join("python"));
        let mut pip = Command::new(folder.join("python/bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PACKAGES);
        vec![venv, pip]
    })?;
    put(&folder, "app.py", include_str!("../../peers/app.py"))?;
    Ok(folder)
}

/// SQLAlchemy names the driver in the URL, and knows no `sslmode`.
fn settings(bench: &Bench, port: u16) -> Vec<(String, String)> {
    let mut settings = environment(bench, port);
    for (name, value) in &mut settings {
        if name == "DATABASE_URL" {
            *value = value.replace("postgres://", "postgresql+asyncpg://").replace("?sslmode=disable", "");
        }
    }
    settings
}
