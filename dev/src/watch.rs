//! `cargo dev --watch`: a new program when a file has changed.
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use ignore::WalkBuilder;
use notify::event::EventKind;
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::process::Command;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

use crate::environment;
use crate::progress::{Step, warn};

/// An editor writes a file in several steps: they count as one when no more than this is between them.
const QUIET: Duration = Duration::from_millis(50);

/// Sees every change of a file that git does not ignore.
pub(crate) struct Watch {
    program: PathBuf,
    watcher: RecommendedWatcher,
    changes: UnboundedReceiver<()>,
    watched: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches the checkout for what `program` is built from.
    pub(crate) fn new(program: &Path) -> Result<Self> {
        let (seen, changes) = unbounded_channel();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| !matches!(event.kind, EventKind::Access(_))) {
                // The end of the stack is the end of the receiver.
                let _ = seen.send(());
            }
        });
        let watcher = watcher.context("watch the checkout for changes")?;
        let mut watch = Self { program: program.to_owned(), watcher, changes, watched: BTreeSet::new() };
        watch.look_everywhere()?;
        Ok(watch)
    }

    /// Builds after each change, and returns when there is another program than before. One that does not compile
    /// changes nothing: cargo says why, and the next change is waited for.
    pub(crate) async fn rebuilt(&mut self) -> Result<()> {
        let running = identity(&self.program)?;
        loop {
            self.changes.recv().await.context("the watch over the checkout has ended")?;
            while timeout(QUIET, self.changes.recv()).await.is_ok() {}
            self.look_everywhere()?;
            let step = Step::begin_talkative("a file has changed: cargo build");
            let is_built = self.build().await?;
            // What has changed while it was built is built first.
            if !self.changes.is_empty() {
                continue;
            }
            match is_built {
                true if identity(&self.program)? == running => step.done("nothing to do"),
                true => {
                    step.done("built");
                    return Ok(());
                }
                false => warn("it does not compile: what runs is what was there before"),
            }
        }
    }

    /// The same build that made the running program.
    async fn build(&self) -> Result<bool> {
        // target/PROFILE/dev
        let folder = self.program.parent().context("the program is in no folder")?;
        let target = folder.parent().context("the program is not in a target folder")?;
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(other) => other,
        };
        let mut cargo = Command::new(environment::variable("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--package", "dev", "--profile", profile, "--target-dir"]).arg(target);
        cargo.current_dir(crate::workspace()).stdin(Stdio::null()).kill_on_drop(true);
        Ok(cargo.status().await.context("start cargo")?.success())
    }

    /// Watches each folder by itself, for the ignored ones would be most of the work; new ones are found at each change.
    fn look_everywhere(&mut self) -> Result<()> {
        let walk = WalkBuilder::new(crate::workspace())
            .hidden(false)
            .filter_entry(|entry| entry.file_name() != ".git")
            .build();
        let folders = walk.flatten().filter(|entry| entry.file_type().is_some_and(|kind| kind.is_dir()));
        for folder in folders.map(ignore::DirEntry::into_path) {
            if !self.watched.contains(&folder) {
                let watched = self.watcher.watch(&folder, RecursiveMode::NonRecursive);
                watched.with_context(|| format!("watch {}", folder.display()))?;
                self.watched.insert(folder);
            }
        }
        Ok(())
    }
}

/// Which file it is: a build puts another one in its place.
fn identity(program: &Path) -> Result<(u64, i64, i64)> {
    let metadata = fs::metadata(program).with_context(|| format!("look at {}", program.display()))?;
    Ok((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}
