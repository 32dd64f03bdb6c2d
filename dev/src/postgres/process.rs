//! Programs of PostgreSQL, which do not run as root.
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

/// Whether we are root. A process's own folder under /proc, or else a file just made, shows the user.
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
