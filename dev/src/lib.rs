//! The local stack behind `cargo dev`, and the PostgreSQL that the tests bring up.
pub mod clerk;
pub mod clerk_event;
pub mod database;
pub mod emulator;
pub mod environment;
pub mod gateway;
mod http;
pub mod invocations;
pub mod logins;
pub mod people;
pub mod pip;
pub mod port;
pub mod postgres;
pub mod process;
pub mod progress;
pub mod proxy;
pub mod replay;
pub mod runtime_api;
pub mod sam_local;
pub mod seed;
pub mod sql;
pub mod stack;
pub mod stacks;
pub mod state;
pub mod supervised;
pub mod svix;
pub mod sync_clerk;
pub mod table;
pub mod tables;
pub mod testing;
pub mod token;
pub mod tools;
pub mod watch;

use std::path::{Path, PathBuf};

/// The logical id of a function in the template: `ListLeads` of `list-leads`.
#[must_use]
pub fn logical_id(function: &str) -> String {
    let words = function.split('-').filter_map(|word| {
        let (first, rest) = word.split_at_checked(1)?;
        Some(first.to_uppercase() + rest)
    });
    words.collect()
}

/// The checkout that this program was built from, so that it works from any directory.
#[must_use]
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder that everything made here goes to; git ignores it and `cargo clean` empties it.
#[must_use]
pub fn target() -> PathBuf {
    workspace().join("target")
}

/// The event of `events/` that `name` names: a function's own, or one of its others (`clerk-webhook/user.created`).
#[must_use]
pub fn event_file(name: &str) -> PathBuf {
    let function = name.split('/').next().unwrap_or_default();
    let area = registry::area_of(function).unwrap_or("of-no-area");
    workspace().join(format!("events/{area}/{name}.json"))
}
