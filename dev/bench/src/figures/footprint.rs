//! The memory that a function needs, and the size of its package.
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use crate::bench::Bench;
use crate::event::{self, FUNCTIONS};
use crate::process::peak_memory_mb;
use crate::report::{Goal, Row, Section, table};
use crate::statistics::short;

/// Megabytes of 10^6 bytes.
const MEMORY_GOAL: f64 = 24.0;
const SIZE_GOAL: f64 = 4.0;

pub(crate) async fn measure(bench: &Bench) -> Result<Section> {
    let (mut cells, mut memory, mut size) = (Vec::new(), Vec::new(), Vec::new());
    for function in FUNCTIONS {
        let peak = peak(bench, function).await.context(function)?;
        let zipped = zipped_mb(&bench.binary(function))?;
        cells.push(vec![function.to_owned(), short(peak), short(zipped)]);
        memory.push(peak);
        size.push(zipped);
    }
    let largest = |values: &[f64]| values.iter().copied().fold(f64::NAN, f64::max);
    let rows = vec![
        Row::once("the largest function: peak memory", Goal::AtMost(MEMORY_GOAL), "MB", largest(&memory)),
        Row::once("the largest function: zipped size", Goal::AtMost(SIZE_GOAL), "MB", largest(&size))
            .because("phone numbers bring regular expressions, and import-leads a reader of spreadsheets beside them"),
    ];
    let text = format!(
        "{}\nPeak memory is `VmHWM` after {} requests to one sandbox; the size is that of the stripped binary, deflated as \
         cargo-lambda's zip is. A megabyte is 10^6 bytes. Measured on {}; on arm64 the sizes differ a little.\n",
        table(&["", "peak memory MB", "zipped MB"], &cells),
        bench.effort.requests,
        std::env::consts::ARCH,
    );
    Ok(Section { title: "Memory and size", rows, text, ..Section::default() })
}

async fn peak(bench: &Bench, function: &str) -> Result<f64> {
    let events = event::of(function, &bench.callers)?;
    let mut sandbox = bench.sandbox(function).await?;
    for number in 0..bench.effort.requests {
        sandbox.invoke(events(number)).await?;
    }
    peak_memory_mb(sandbox.pid()?)
}

fn zipped_mb(binary: &Path) -> Result<f64> {
    let mut deflated = DeflateEncoder::new(Vec::new(), Compression::default());
    deflated.write_all(&fs::read(binary).with_context(|| format!("read {}", binary.display()))?)?;
    Ok(deflated.finish()?.len() as f64 / 1e6)
}
