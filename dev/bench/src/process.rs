//! What the kernel counts of a process.
use std::fs;

use anyhow::{Context, Result};
use dev::process::children;

/// The unit in which the kernel counts CPU time, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// The CPU time of a process and of all that descend from it, living or waited for, in seconds.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} has ended"))?;
    let of_children: f64 = children(pid).into_iter().filter_map(|child| cpu_seconds(child).ok()).sum();
    Ok(ticks(&stat, 4) / TICKS_PER_SECOND + of_children)
}

/// The CPU time of this process alone, in seconds.
pub(crate) fn own_cpu_seconds() -> Result<f64> {
    Ok(ticks(&fs::read_to_string("/proc/self/stat")?, 2) / TICKS_PER_SECOND)
}

/// utime, stime, cutime and cstime are the fields 14 to 17; the caller says how many of them it wants.
fn ticks(stat: &str, fields: usize) -> f64 {
    // The name before it, in brackets, may have spaces and brackets.
    let after_name = stat.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
    after_name.split_whitespace().skip(11).take(fields).filter_map(|field| field.parse::<f64>().ok()).sum()
}

/// The most memory that a process has had in use at once, in megabytes of 10^6 bytes.
pub(crate) fn peak_memory_mb(pid: u32) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(kilobytes.context("the kernel has no VmHWM of it")? * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_any_name() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 100 20 3 4 20 0";
        assert_eq!((ticks(stat, 2), ticks(stat, 4)), (120.0, 127.0));
    }
}
