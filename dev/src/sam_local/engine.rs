//! A container engine, and in it the image that Lambda's functions run in: what the machine has, or what we can make.
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::postgres::last_lines;
use crate::progress::Step;
use crate::supervised::{Program, Supervised};
use crate::{database, environment};

/// How long our own dockerd may take until it answers.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// A registry that has not answered by then is not there.
const PULL_TIMEOUT: Duration = Duration::from_secs(180);

/// The repository of the images that AWS publishes for `provided.al2023`.
const REPOSITORY: &str = "public.ecr.aws/lambda/provided";

/// The bridge that dockerd makes, and leaves behind.
const BRIDGE: &str = "/sys/class/net/docker0";

/// Why containers cannot be run on this machine at all.
#[derive(Debug)]
pub struct NotHere(String);

impl fmt::Display for NotHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no containers can be run here: {}", self.0)
    }
}

impl std::error::Error for NotHere {}

/// The engine that is used; our own stops with us.
#[derive(Debug)]
pub(super) struct Engine {
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    dockerd: Option<Supervised>,
    /// The folder of its socket; a socket's path has to be short.
    folder: PathBuf,
    made_bridge: bool,
}

impl Engine {
    /// The machine's engine if it answers, else one of our own.
    pub(super) async fn find_or_start() -> Result<Self> {
        if cfg!(not(target_os = "linux")) {
            return Err(NotHere("it takes Linux".to_owned()).into());
        }
        let step = Step::begin("container engine");
        let mut engine = Self { own: None };
        if !engine.answers().await {
            if !is_root() {
                let why = "no engine answers (`docker info`), and only root can start one";
                return Err(NotHere(why.to_owned()).into());
            }
            install("dockerd", "docker.io").await?;
            // A machine with an init system has started it by now.
            if !engine.answers().await {
                engine.own = Some(Own::start()?);
                engine.wait_until_it_answers().await?;
            }
        }
        step.done(match engine.own {
            Some(_) => "container engine, our own",
            None => "container engine, the machine's",
        });
        Ok(engine)
    }

    /// The address of its socket, for the environment of its clients; none for the standard address.
    pub(super) fn docker_host(&self) -> Option<String> {
        self.own.as_ref().map(|own| format!("unix://{}", own.folder.join("docker.sock").display()))
    }

    /// Our address, as containers see us.
    pub(super) async fn gateway(&self) -> Result<String> {
        // An engine that finds its bridge there from an earlier one names the network alone, whose first address it is.
        let format = "{{with index .IPAM.Config 0}}{{or .Gateway .Subnet}}{{end}}";
        let address = self.docker(&["network", "inspect", "bridge", "--format", format]).await?;
        let Some((network, _)) = address.split_once('/') else { return Ok(address) };
        let network: Ipv4Addr =
            network.parse().with_context(|| format!("the engine's bridge is {address}"))?;
        Ok(Ipv4Addr::from_bits(network.to_bits() + 1).to_string())
    }

    /// The image for functions of this architecture, as `template.yaml` spells it: ours if it is there, AWS's if it can
    /// be had, else one of Debian's own packages.
    pub(super) async fn provide_image(&self, architecture: &str) -> Result<()> {
        let step = Step::begin("image");
        let image = format!("{REPOSITORY}:al2023-{architecture}");
        let how = if self.docker(&["image", "inspect", &image]).await.is_ok() {
            "there"
        } else if timeout(PULL_TIMEOUT, self.docker(&["pull", "--quiet", &image]))
            .await
            .is_ok_and(|it| it.is_ok())
        {
            "pulled"
        } else {
            self.make_image(&image).await?;
            "made of Debian's packages, for AWS's cannot be had"
        };
        // The name without the architecture is the one that the tool looks for first.
        self.docker(&["tag", &image, &format!("{REPOSITORY}:al2023")]).await?;
        step.done(&format!("image {image}: {how}"));
        Ok(())
    }

    async fn make_image(&self, image: &str) -> Result<()> {
        if !is_root() {
            let why = format!("{image} can be neither pulled nor, without root, made");
            return Err(NotHere(why).into());
        }
        install("debootstrap", "debootstrap").await?;
        let root = database::tools().join("debian-root");
        eprintln!("  ↓ a minimal Debian by debootstrap");
        let _ = fs::remove_dir_all(&root);
        let suite = suite();
        let root_text = root.display().to_string();
        // The AWS SDK wants the system's certificates.
        let minimal = ["--variant=minbase", "--include=ca-certificates", &suite, &root_text];
        run("debootstrap", minimal).await?;
        let archive = root.with_extension("tar");
        run("tar", ["-C".as_ref(), root.as_os_str(), "-cf".as_ref(), archive.as_os_str(), ".".as_ref()])
            .await?;
        self.docker(&["import", &archive.display().to_string(), image]).await?;
        fs::remove_file(archive)?;
        fs::remove_dir_all(root).context("remove what the image was made of")
    }

    async fn answers(&self) -> bool {
        self.docker(&["info"]).await.is_ok()
    }

    async fn wait_until_it_answers(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !self.answers().await {
            let ended = match self.own.as_mut().and_then(|own| own.dockerd.as_mut()) {
                Some(dockerd) => dockerd.ended()?.is_some(),
                None => true,
            };
            if ended || Instant::now() > deadline {
                return Err(NotHere(format!("dockerd does not run:\n{}", last_lines(&log()))).into());
            }
            sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// What docker prints, without the line's end.
    async fn docker(&self, arguments: &[&str]) -> Result<String> {
        let mut docker = Command::new("docker");
        docker.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
        docker.envs(self.docker_host().map(|host| ("DOCKER_HOST", host)));
        let output = docker.output().await.context("start docker")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {}: {}", arguments.join(" "), errors.trim());
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }
}

impl Own {
    /// Without rules in the machine's firewall, for which not every machine lets us have tables; the functions reach
    /// us alone.
    fn start() -> Result<Self> {
        let folder = PathBuf::from(format!("/run/norvalt-docker-{}", std::process::id()));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        fs::create_dir_all(super::folder())?;
        let made_bridge = !Path::new(BRIDGE).exists();
        let at = |name: &str, path: PathBuf| format!("--{name}={}", path.display());
        let mut dockerd = Program::new("dockerd", &folder).args([
            "--iptables=false".to_owned(),
            "--ip-masq=false".to_owned(),
            format!("--host=unix://{}", folder.join("docker.sock").display()),
            at("pidfile", folder.join("pid")),
            at("exec-root", folder.join("exec")),
            at("data-root", database::tools().join("docker")),
        ]);
        dockerd.log = Some(File::create(log()).context("create dockerd's log")?);
        Ok(Self { dockerd: Some(dockerd.start()?), folder, made_bridge })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        drop(self.dockerd.take());
        // It leaves a mount and an interface behind. Nobody uses them: nothing worth failing for.
        let quietly = |program: &str, arguments: &[&OsStr]| {
            let _ = std::process::Command::new(program).args(arguments).stderr(Stdio::null()).status();
        };
        quietly("umount", &[self.folder.join("exec/netns/default").as_os_str()]);
        let _ = fs::remove_dir_all(&self.folder);
        if self.made_bridge {
            quietly("ip", &["link", "delete", "docker0"].map(OsStr::new));
        }
    }
}

/// The kernel gives a process's folder to the user that the process runs as.
fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|us| us.uid() == 0)
}

fn log() -> PathBuf {
    super::folder().join("dockerd.log")
}

/// Installs a package of Debian's where its program is missing.
async fn install(program: &str, package: &str) -> Result<()> {
    let mut folders = environment::path();
    folders.extend(["/usr/sbin".into(), "/sbin".into()]);
    if folders.iter().any(|folder: &PathBuf| folder.join(program).is_file()) {
        return Ok(());
    }
    eprintln!("  ↓ {package} by apt, for there is no {program}");
    let installed = async {
        run("apt-get", ["update", "--quiet=2"]).await?;
        run("apt-get", ["install", "--quiet=2", "--yes", "--no-install-recommends", package]).await
    };
    installed.await.map_err(|error| NotHere(format!("{package} cannot be installed ({error:#})")).into())
}

/// Runs a program and shows its output.
async fn run<A: AsRef<OsStr>>(program: &str, arguments: impl IntoIterator<Item = A>) -> Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let output = command.kill_on_drop(true).output().await.with_context(|| format!("start {program}"))?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let last = said.trim().lines().next_back().unwrap_or_default();
    ensure!(output.status.success(), "{program}: {last}");
    Ok(())
}

/// The machine's own release of Debian, with whose C library the binaries were linked.
fn suite() -> String {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let value = |name: &str| release.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    match (value("ID="), value("VERSION_CODENAME=")) {
        (Some(id), Some(suite)) if id == "debian" => suite,
        _ => "bookworm".to_owned(),
    }
}
