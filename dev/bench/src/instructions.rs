//! Instructions per warm request, compared with the committed counts: time depends on the machine, these hardly do.
//!
//! Callgrind counts a process's instructions from its start to its end. Two processes, one with few requests and one
//! with many, differ by the requests alone. Only the seeds of hash maps, ids and times are left to chance.
use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use dev::progress::Step;
use dev::proxy::{Pass, Proxy};
use serde::{Deserialize, Serialize};

use crate::bench::{Bench, INSTRUCTIONS};
use crate::database;
use crate::event::{self, Events};
use crate::report::table;

/// Requests of the first process. After them everything is warm.
const FEW: u64 = 10;
/// Requests of the second process.
const MANY: u64 = 130;
/// Percent by which a function's count may grow.
const TOLERATED_GROWTH: f64 = 5.0;
/// The exit code where the machine cannot count; EX_UNAVAILABLE of sysexits.h.
const UNAVAILABLE: u8 = 69;

/// The committed counts.
#[derive(Deserialize, Serialize)]
struct Baseline {
    /// The processor's: counts of another one cannot be compared.
    architecture: String,
    /// Per request.
    instructions: BTreeMap<String, u64>,
}

impl Baseline {
    fn path() -> PathBuf {
        dev::workspace().join("docs/performance/instructions.json")
    }

    fn read() -> Result<Self> {
        let path = Self::path();
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("understand {}", path.display()))
    }

    fn write(&self) -> Result<()> {
        let path = Self::path();
        fs::create_dir_all(path.parent().context("a file has a folder")?)?;
        Ok(fs::write(path, serde_json::to_string_pretty(self)? + "\n")?)
    }
}

/// Counts, and compares with the committed counts or replaces them.
pub(crate) async fn count(accept: bool) -> Result<ExitCode> {
    let on_path = dev::environment::path().into_iter().map(|folder| folder.join("valgrind"));
    let Some(valgrind) = on_path.into_iter().find(|program| program.is_file()) else {
        return Ok(unavailable("there is no valgrind to count with"));
    };
    if !accept && Baseline::read()?.architecture != ARCH {
        return Ok(unavailable("the committed counts are another processor's"));
    }
    let bench = Bench::set_up(INSTRUCTIONS).await?;
    database::put_in_for_counting(&bench.cluster, bench.size(), (FEW + MANY) as i64).await?;
    let proxy = Proxy::before(bench.cluster.port(), Pass::Gathered).await?;
    let mut instructions = BTreeMap::new();
    for function in event::counted() {
        let step = Step::begin(function);
        let events = event::of(function, &bench.callers)?;
        let few = total(&bench, &valgrind, function, proxy.port(), &events, 0..FEW).await?;
        // Other requests than the first process's: a row can be deleted once.
        let many = total(&bench, &valgrind, function, proxy.port(), &events, FEW..FEW + MANY).await?;
        let each = many.saturating_sub(few) / (MANY - FEW);
        step.done(&format!("{function}: {each}"));
        instructions.insert(function.to_owned(), each);
    }
    if accept {
        Baseline { architecture: ARCH.to_owned(), instructions }.write()?;
        println!("Written to {}.", Baseline::path().display());
        return Ok(ExitCode::SUCCESS);
    }
    let (text, is_within) = compare(&Baseline::read()?.instructions, &instructions);
    println!("\n{text}");
    Ok(if is_within { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unavailable(why: &str) -> ExitCode {
    eprintln!("cargo dev bench: no instructions are counted here: {why}");
    ExitCode::from(UNAVAILABLE)
}

/// The instructions of a process that answers these requests, from its start to its end.
async fn total(
    bench: &Bench,
    valgrind: &Path,
    function: &str,
    port: u16,
    events: &Events,
    numbers: Range<u64>,
) -> Result<u64> {
    let counts = bench.folder.join(format!("{function}.callgrind"));
    let to_file = PathBuf::from(format!("--callgrind-out-file={}", counts.display()));
    let tool = [valgrind, "--quiet".as_ref(), "--tool=callgrind".as_ref(), &to_file];
    let mut sandbox = bench.sandbox_under(&tool, function, port).await?;
    for number in numbers {
        sandbox.invoke(events(number)).await?;
    }
    sandbox.terminate().await?;
    let text = fs::read_to_string(&counts).with_context(|| format!("read {}", counts.display()))?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok());
    total.context("callgrind wrote no total")
}

/// A table of both, and whether every count has stayed within its limit.
fn compare(baseline: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> (String, bool) {
    let mut is_within = true;
    let rows = now.iter().map(|(function, now)| {
        let (before, change) = match baseline.get(function) {
            Some(&before) => {
                let percent = (*now as f64 - before as f64) * 100.0 / before as f64;
                let grown = percent > TOLERATED_GROWTH;
                is_within &= !grown;
                (before.to_string(), format!("{percent:+.1} %{}", if grown { " too many" } else { "" }))
            }
            None => {
                is_within = false;
                ("–".to_owned(), "not in the baseline".to_owned())
            }
        };
        vec![function.clone(), before, now.to_string(), change]
    });
    let text = table(&["function", "baseline", "now", "change"], &rows.collect::<Vec<_>>());
    (text, is_within)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_of_functions_that_are_counted() {
        let counted = event::counted();
        for function in Baseline::read().unwrap().instructions.keys() {
            assert!(counted.contains(&function.as_str()), "there is no {function} any more: count again");
        }
    }

    fn counts(count: u64) -> BTreeMap<String, u64> {
        [("health".to_owned(), count)].into()
    }

    #[test]
    fn growth_above_the_tolerance_fails_and_a_new_function_has_to_be_accepted() {
        for (now, is_within) in [(900, true), (1_000, true), (1_050, true), (1_051, false)] {
            assert_eq!(compare(&counts(1_000), &counts(now)).1, is_within, "{now}");
        }
        assert!(!compare(&BTreeMap::new(), &counts(1)).1);
        let (text, _) = compare(&counts(1_000), &counts(1_100));
        assert!(text.contains("| health | 1000 | 1100 | +10.0 % too many |"), "{text}");
    }
}
