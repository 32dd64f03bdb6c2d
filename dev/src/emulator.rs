//! `cargo dev --emulator`: the functions' own binaries, under cargo-lambda.
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::progress::Step;
use crate::stack::{Up, functions_log};
use crate::state::{State, folder};
use crate::supervised::{Program, Supervised};
use crate::{database, environment, tools};

/// How often a build is looked after.
const BUILD_INTERVAL: Duration = Duration::from_millis(20);

/// Builds every function and starts the emulator, which starts each at its first request.
pub(crate) async fn start(options: &Up, state: &State) -> Result<Supervised> {
    let cargo_lambda = find_cargo_lambda().await?;
    build(options).await?;
    let mut watch = Program::new(cargo_lambda, &crate::workspace()).args(["lambda", "watch"]);
    watch = watch.args(["--invoke-address", "127.0.0.1", "--invoke-port", &options.port.to_string()]);
    watch = watch.args(["--env-file".into(), write_environment(state)?.into_os_string()]);
    watch = watch.args(["--global".into(), write_configuration()?.into_os_string()]);
    watch = watch.args((!options.watch).then_some("--ignore-changes"));
    watch = watch.args(options.release.then_some("--release"));
    watch.log = Some(File::create(functions_log()).context("create the functions' log")?);
    watch.start()
}

async fn find_cargo_lambda() -> Result<PathBuf> {
    let step = Step::begin("cargo-lambda");
    let found = spawn_blocking(|| {
        let program = tools::cargo_lambda(&database::tools())?;
        let version = tools::version(&program).unwrap_or_default();
        anyhow::Ok((program, version))
    });
    let (program, version) = found.await??;
    step.done(&format!("cargo-lambda {version}"));
    Ok(program)
}

/// Every function's binary before the emulator starts, which would else compile it at its first request; with the
/// features that `cargo run --bin` will ask for.
async fn build(options: &Up) -> Result<()> {
    let step = Step::begin_talkative("cargo build of each function");
    let cargo = environment::variable("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Program::new(cargo, &crate::workspace()).args(["build"]);
    build = build.args(registry::functions().flat_map(|(_, function)| ["--bin", function.name()]));
    build = build.args(options.release.then_some("--release"));
    build.group = true;
    let mut build = build.start()?;
    let status = loop {
        match build.ended()? {
            Some(status) => break status,
            None => sleep(BUILD_INTERVAL).await,
        }
    };
    ensure!(status.success(), "the functions do not compile; cargo says why above");
    step.done("functions built");
    Ok(())
}

/// The file that the emulator gives to every function; it holds passwords.
fn write_environment(state: &State) -> Result<PathBuf> {
    let path = folder().join("functions.env");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    for (name, value) in state.functions_environment() {
        // The emulator's parser refuses a bare value with `=` in it.
        writeln!(file, "{name}=\"{value}\"")?;
    }
    Ok(path)
}

/// The file that the emulator reads its routes from.
fn write_configuration() -> Result<PathBuf> {
    let path = folder().join("CargoLambda.toml");
    fs::write(&path, router_table()).with_context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// Every route and file of the registry, as cargo-lambda's configuration names them.
#[must_use]
pub fn router_table() -> String {
    let routes = registry::endpoints().map(|endpoint| endpoint.route);
    let routes = routes.map(|route| (route.path, route.method, route.name));
    let files =
        registry::files().flat_map(|files| files.files.iter().map(|file| (file.path, "GET", files.name)));
    let mut targets = BTreeMap::<&str, Vec<String>>::new();
    for (path, method, function) in routes.chain(files) {
        let target = format!("{{ method = \"{method}\", function = \"{function}\" }}");
        targets.entry(path).or_default().push(target);
    }
    let mut table = "[watch.router]\n".to_owned();
    for (path, targets) in targets {
        let _ = writeln!(table, "\"{path}\" = [{}]", targets.join(", "));
    }
    table
}
