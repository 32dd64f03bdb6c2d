//! What plays AWS Lambda and API Gateway here: cargo-lambda, and in containers the SAM CLI.
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{environment, pip};

/// The version that is fetched.
pub const VERSION: &str = "1.9.2";

/// What an installed one has to be: the router's table is read alike by every 1.9.
const COMPATIBLE: &str = "1.9.";

/// The installed cargo-lambda, else one of our own under `tools`.
pub fn cargo_lambda(tools: &Path) -> Result<PathBuf> {
    let installed = PathBuf::from("cargo-lambda");
    if version(&installed).is_some_and(|version| version.starts_with(COMPATIBLE)) {
        return Ok(installed);
    }
    let folder = tools.join(format!("cargo-lambda-{VERSION}"));
    let program = folder.join(format!("cargo_lambda-{VERSION}.data/scripts/cargo-lambda"));
    if version(&program).is_none() {
        fetch(&folder, &program)?;
    }
    Ok(program)
}

/// The version that a cargo-lambda says it is: `cargo-lambda 1.9.2 (67129fc 2026-08-21Z)`.
pub fn version(program: &Path) -> Option<String> {
    let said = Command::new(program).args(["lambda", "--version"]).stdin(Stdio::null()).output().ok()?;
    let said = String::from_utf8(said.stdout).ok()?;
    said.split_whitespace().nth(1).map(str::to_owned)
}

/// The SAM CLI that is fetched.
const SAM_VERSION: &str = "1.170.0";

/// The SAM CLI that `NORVALT_SAM` names or the machine has, else one of our own under `tools`.
pub fn sam(tools: &Path) -> Result<PathBuf> {
    if let Some(named) = environment::variable("NORVALT_SAM") {
        return Ok(named.into());
    }
    let runs = |program: &Path| {
        let mut version = Command::new(program);
        version.arg("--version").env("SAM_CLI_TELEMETRY", "0").stdin(Stdio::null());
        version.output().is_ok_and(|output| output.status.success())
    };
    if runs(Path::new("sam")) {
        return Ok("sam".into());
    }
    let folder = tools.join(format!("aws-sam-cli-{SAM_VERSION}"));
    let program = folder.join("bin/sam");
    if !runs(&program) {
        eprintln!("  ↓ aws-sam-cli {SAM_VERSION} from the Python package registry");
        let _ = std::fs::remove_dir_all(&folder);
        let requirement = format!("aws-sam-cli=={SAM_VERSION}");
        let own_pip = folder.join("bin/python").into_os_string();
        for command in [
            vec!["python3".into(), "-m".into(), "venv".into(), folder.clone().into_os_string()],
            vec![
                own_pip,
                "-m".into(),
                "pip".into(),
                "install".into(),
                "--quiet".into(),
                requirement.as_str().into(),
            ],
        ] {
            let (python, arguments) = command.split_first().context("no command")?;
            let status = Command::new(python).args(arguments).stdout(std::io::stderr()).status();
            ensure!(
                status.is_ok_and(|status| status.success()),
                "no SAM CLI here, and none could be fetched: install it (pip install {requirement})"
            );
        }
    }
    Ok(program)
}

fn fetch(folder: &Path, program: &Path) -> Result<()> {
    // What does not run is no better than nothing.
    let _ = std::fs::remove_dir_all(folder);
    // Its only dependency, zig, is for cross-compiling and thirty times as big.
    pip::fetch(&format!("cargo-lambda=={VERSION}"), true, folder).context(
        "no cargo-lambda 1.9 here, and none could be fetched: install it (pip install cargo-lambda==1.9.2)",
    )?;
    pip::make_executable(program.parent().unwrap_or(folder))?;
    version(program).map(drop).with_context(|| format!("{} does not run", program.display()))
}
