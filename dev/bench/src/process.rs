//! What the kernel counts of a process.
use std::fs;

use anyhow::{Context, Result};

/// How finely the kernel tells CPU time, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time of a process and of all that descend from it, living or waited for, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    // The name in brackets may hold anything; utime, stime, cutime and cstime are the fields 14 to 17.
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    let ticks: f64 =
        after_name.split_whitespace().skip(11).take(4).filter_map(|field| field.parse::<f64>().ok()).sum();
    let of_children: f64 = children(pid).into_iter().filter_map(|child| cpu_seconds(child).ok()).sum();
    Ok(ticks / TICKS_PER_SECOND + of_children)
}

/// The most memory that a process has had in use at once, in megabytes of 10^6 bytes.
pub(crate) fn peak_memory_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.context("the kernel tells no VmHWM")? * 1024.0 / 1e6)
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}
