//! `cargo dev stacks`: the nested stack of each area, and its place in `template.yaml`, made of the registry and of
//! `stacks/function.yaml`.
mod block;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use registry::AREAS;

use self::block::Block;
use crate::logical_id;

/// The text of a stack, in parts with holes.
const TEXT: &str = include_str!("../../stacks/function.yaml");

/// The lines of `template.yaml` between which the nested stacks stand.
const BEGIN: &str = "  # The areas, made by `cargo dev stacks`:\n";
const END: &str = "  # End of the areas.\n";

/// How many functions an area of a trial has.
const TRIAL_AREA: usize = 25;
/// In a trial, every so many functions one is a queue's.
const TRIAL_QUEUE: usize = 8;

/// Every generated file by its path in the checkout.
///
/// # Errors
/// A route has a setting that no stack knows, or `template.yaml` has no place for the areas.
pub fn generated() -> Result<BTreeMap<String, String>> {
    files(&areas())
}

/// The same for `count` functions: those of today again and again under other names and paths, and some queues'
/// consumers, in areas of their own.
///
/// # Errors
/// As [`generated`].
pub fn trial(count: usize) -> Result<BTreeMap<String, String>> {
    let mut areas = areas();
    let today: Vec<Block> = areas.iter().flat_map(|(_, blocks)| blocks.clone()).collect();
    let more = (today.len()..count).map(|n| today[n % today.len()].copy(n, n % TRIAL_QUEUE == 0));
    let more: Vec<Block> = more.collect();
    let more = more.chunks(TRIAL_AREA).enumerate();
    areas.extend(more.map(|(n, blocks)| (format!("trial-{n}"), blocks.to_vec())));
    files(&areas)
}

/// Writes the files below a folder.
///
/// # Errors
/// A file cannot be written.
pub fn write(files: &BTreeMap<String, String>, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder.join("stacks"))?;
    for (path, text) in files {
        fs::write(folder.join(path), text).with_context(|| format!("write {path}"))?;
    }
    Ok(())
}

/// The areas by name, with the functions that are in their stacks.
fn areas() -> Vec<(String, Vec<Block>)> {
    let blocks = |area: &registry::Area| area.functions.iter().filter_map(Block::of).collect();
    AREAS.iter().map(|area| (area.name.to_owned(), blocks(area))).collect()
}

/// The files of these areas, and the root around them.
fn files(areas: &[(String, Vec<Block>)]) -> Result<BTreeMap<String, String>> {
    let (mut files, mut nested) = (BTreeMap::new(), String::new());
    for (area, blocks) in areas {
        let (text, parameters) = stack(area, blocks)?;
        let holes = [("Area", logical_id(area)), ("area", area.clone()), ("parameters", parameters)];
        nested += &fill(part("nested")?, &holes);
        files.insert(format!("stacks/{area}.yaml"), text);
    }
    let root = fs::read_to_string(crate::workspace().join("template.yaml"))?;
    let (before, rest) = root.split_once(BEGIN).context("template.yaml has no place for the areas")?;
    let (_, after) = rest.split_once(END).context("the place of the areas in template.yaml does not end")?;
    let nested = fill("  <areas>", &[("areas", nested)]);
    files.insert("template.yaml".to_owned(), format!("{before}{BEGIN}{nested}{END}{after}"));
    Ok(files)
}

/// The stack of an area, and what the root gives it.
fn stack(area: &str, blocks: &[Block]) -> Result<(String, String)> {
    let (mut roles, mut functions, mut outputs) = (BTreeMap::new(), Vec::new(), String::new());
    for block in blocks {
        roles.insert(block.role()?, block.role_text()?);
        functions.push(block.text()?);
        outputs += &block.outputs();
    }
    let roles: String = roles.into_values().collect();
    let holes =
        [("area", area), ("roles", &roles), ("functions", &functions.join("\n")), ("outputs", &outputs)];
    let text = fill(part("stack")?, &holes);
    let conditions = part("conditions")?
        .lines()
        .filter(|line| line.split_once(':').is_some_and(|(name, _)| text.contains(&format!("!If [{name},"))));
    let conditions = conditions.collect::<Vec<_>>().join("\n");
    let text = fill(&text, &[("conditions", conditions)]);
    let (mut parameters, mut given) = (String::new(), String::new());
    for line in part("parameters")?.lines() {
        let (parameter, value) = line.split_once(" = ").context("a parameter is given nothing")?;
        let name = parameter.split(':').next().unwrap_or_default();
        if refers_to(&text, name) {
            parameters += &format!("{parameter}\n");
            given += &format!("{name}: {value}\n");
        }
    }
    Ok((fill(&text, &[("parameters", parameters)]), given))
}

/// Whether a stack uses a parameter.
fn refers_to(text: &str, name: &str) -> bool {
    let is_end = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric());
    text.contains(&format!("${{{name}}}")) || text.split(&format!("!Ref {name}")).skip(1).any(is_end)
}

/// A part of the text, without the line that names it and the empty line behind it.
fn part(name: &str) -> Result<&'static str> {
    let (_, rest) = TEXT.split_once(&format!("\n#: {name}\n")).with_context(|| format!("no part {name}"))?;
    Ok(rest.split("\n\n#: ").next().unwrap_or(rest))
}

/// A text with its holes filled. What fills a hole that is alone on its line is indented as the hole is, and may be
/// nothing.
fn fill<V: AsRef<str>>(text: &str, holes: &[(&str, V)]) -> String {
    let mut filled = String::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let indent = &line[..line.len() - bare.len()];
        if let Some((_, value)) = holes.iter().find(|(hole, _)| bare == format!("<{hole}>")) {
            for line in value.as_ref().lines() {
                filled += format!("{indent}{line}").trim_end();
                filled.push('\n');
            }
        } else {
            let fill =
                |line: String, (hole, value): &(&str, V)| line.replace(&format!("<{hole}>"), value.as_ref());
            filled += &holes.iter().fold(line.to_owned(), fill);
            filled.push('\n');
        }
    }
    filled
}
