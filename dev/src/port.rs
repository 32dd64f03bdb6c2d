//! Who holds a port.
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Fails with the holder's name, where it can be found out, when the port is taken.
pub fn check_free(port: u16) -> Result<()> {
    match TcpListener::bind(("127.0.0.1", port)) {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let holder = holder(port).unwrap_or_else(|| "another program".to_owned());
            bail!("port {port} is held by {holder}: stop it, or take another port with --port")
        }
        listener => listener.map(drop).with_context(|| format!("listen on port {port}")),
    }
}

fn holder(port: u16) -> Option<String> {
    let pid = holder_by_proc(port).or_else(|| holder_by_lsof(port))?;
    let name = Command::new("ps").args(["-o", "comm=", "-p", &pid]).stderr(Stdio::null()).output().ok();
    let name = name.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok().or(name).unwrap_or_default();
    Some(format!("{} (process {pid})", name.trim()))
}

/// Linux: the socket's number from the table of listeners, then the process that has it open.
fn holder_by_proc(port: u16) -> Option<String> {
    let tables =
        ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    let socket = tables.iter().flat_map(|table| table.lines()).find_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let listens = words.get(3) == Some(&"0A") && words.get(1)?.ends_with(&format!(":{port:04X}"));
        listens.then(|| format!("socket:[{}]", words.get(9).unwrap_or(&"")))
    })?;
    let mut processes = fs::read_dir("/proc").ok()?.flatten();
    let process = processes.find(|process| has_open(&process.path(), socket.as_ref()))?;
    process.file_name().into_string().ok()
}

fn has_open(process: &Path, socket: &OsStr) -> bool {
    let files = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
    files.filter_map(|file| fs::read_link(file.path()).ok()).any(|target| target == socket)
}

fn holder_by_lsof(port: u16) -> Option<String> {
    let listening = format!("-iTCP:{port}");
    let lsof = Command::new("lsof")
        .args(["-nPt", &listening, "-sTCP:LISTEN"])
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8_lossy(&lsof.stdout).lines().next().map(str::to_owned)
}
