//! Processes: what the standard library has no safe call for.
use std::fs;
use std::process::{Command, Stdio};

/// Whether a process lives.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    kill("-0", &[pid])
}

/// Sends a signal (`-TERM`, `-KILL`); false when a process is not there, or not ours, to get it.
pub fn kill(signal: &str, pids: &[u32]) -> bool {
    // `kill` is a program on few machines and built into every shell.
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"kill "$@" 2>/dev/null"#, "kill", signal]).args(pids.iter().map(u32::to_string));
    shell.stdin(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// The processes that a process started and that still live.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
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
