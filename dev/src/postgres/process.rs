//! Processes, for what the standard library has no safe call for.
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

/// The user and group `nobody`, whom PostgreSQL accepts where it refuses root.
pub(super) const NOBODY: u32 = 65534;

/// Gives root away but for the right to pass through folders: the checkout may lie under /root, which only root enters.
const AS_NOBODY: [&str; 6] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
];

/// Lets that right count for `access`, too, by which fetched programs look for each other. Not every container allows it.
const EVEN_FOR_ACCESS: &str = "--securebits=+no_setuid_fixup";

/// Whether we are root. A process's own folder under /proc, or else a file just made, tells whose we are.
pub(super) fn is_root(ours: &Path) -> bool {
    fs::metadata("/proc/self").or_else(|_| fs::metadata(ours)).is_ok_and(|metadata| metadata.uid() == 0)
}

/// What has to stand before a PostgreSQL program's command line: nothing, unless we are root.
pub(super) fn unprivileged(root: bool) -> Result<Vec<&'static str>> {
    if !root {
        return Ok(Vec::new());
    }
    let with_access = [&AS_NOBODY[..], &[EVEN_FOR_ACCESS]].concat();
    match probe(&with_access) {
        Ok(()) => Ok(with_access),
        Err(_) => probe(&AS_NOBODY).map(|()| AS_NOBODY.to_vec()),
    }
}

fn probe(prefix: &[&str]) -> Result<()> {
    let probe =
        Command::new("env").args(prefix).arg("true").stdin(Stdio::null()).output().context("start env")?;
    let said = String::from_utf8_lossy(&probe.stderr);
    ensure!(
        probe.status.success(),
        "PostgreSQL does not run as root, and setpriv cannot give root away ({}): install it \
         (Debian: apt install util-linux; Alpine: apk add setpriv) or work as a normal user",
        said.trim()
    );
    Ok(())
}

/// Whether a process lives.
pub(crate) fn is_alive(pid: u32) -> bool {
    kill("-0", &[pid])
}

/// Sends a signal; false when nobody was there to get it.
pub(super) fn kill(signal: &str, pids: &[u32]) -> bool {
    // `kill` is a program on few machines and built into every shell.
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"kill "$@" 2>/dev/null"#, "kill", signal]).args(pids.iter().map(u32::to_string));
    shell.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The processes that a process started and that still live.
pub(super) fn children(parent: u32) -> Vec<u32> {
    let listing = match fs::read_dir("/proc/self") {
        Ok(_) => stats(),
        Err(_) => Command::new("ps")
            .args(["-A", "-o", "pid=,ppid="])
            .output()
            .map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned()),
    };
    let pairs = listing.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    pairs.filter(|(_, its_parent)| *its_parent == parent).map(|(pid, _)| pid).collect()
}

/// One line "pid parent" per process. In /proc/PID/stat the parent is the second word after the name's last bracket.
fn stats() -> String {
    let folders = fs::read_dir("/proc").into_iter().flatten().flatten();
    let stats = folders.filter_map(|folder| fs::read_to_string(folder.path().join("stat")).ok());
    let line = |stat: String| {
        let (start, rest) = stat.rsplit_once(") ")?;
        Some(format!("{} {}\n", start.split_once(' ')?.0, rest.split(' ').nth(1)?))
    };
    stats.filter_map(line).collect()
}
