//! The process's environment, as far as the developer's tool reads it.
use std::ffi::OsString;

/// The value of an environment variable; an empty one counts as unset.
#[must_use]
pub fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The value of an environment variable that has to be text.
#[must_use]
pub fn text(name: &str) -> Option<String> {
    variable(name).and_then(|value| value.into_string().ok())
}

/// The folders on the search path for programs.
#[must_use]
pub fn path() -> Vec<std::path::PathBuf> {
    variable("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}
