//! A program that cannot outlive us, however we end.
use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

/// The supervisor: a shell whose standard input is a pipe that only we hold.
///
/// The kernel closes that pipe whichever way we end, `kill -9` included, and the end of the pipe is the order to stop.
/// The directory goes only after a clean end, so that a program that crashed can be started again on it.
const SUPERVISOR: &str = r#"
signal=$1 whom=$2 remove=$3
shift 3
trap '' HUP INT
exec 3<&0 </dev/null
"$@" 3<&- &
program=$!
if [ "$whom" = group ]; then target=0; else target=$program; fi
( while read -r _; do :; done <&3; kill -"$signal" "$target" ) 2>/dev/null &
watcher=$!
wait "$program"
code=$?
kill "$watcher" 2>/dev/null
if [ "$code" = 0 ] && [ -n "$remove" ]; then rm -rf -- "$remove"; fi
exit "$code"
"#;

/// What to run, and how it ends.
#[derive(Debug)]
pub struct Program {
    /// The executable and its arguments.
    pub command: Vec<OsString>,
    /// The directory it starts in.
    pub directory: PathBuf,
    /// The signal that stops it, as `kill` names it: `INT`, `TERM`.
    pub signal: &'static str,
    /// Whether the signal goes to all that the program started, too.
    pub group: bool,
    /// Where its output goes; without a file it shares our standard error.
    pub log: Option<File>,
    /// A directory that goes once the program has ended cleanly.
    pub remove: Option<PathBuf>,
}

impl Program {
    /// A program that is stopped by SIGTERM and shares our standard error.
    #[must_use]
    pub fn new(executable: impl Into<OsString>, directory: &Path) -> Self {
        let (command, directory) = (vec![executable.into()], directory.to_owned());
        Self { command, directory, signal: "TERM", group: false, log: None, remove: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: Into<OsString>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.command.extend(args.into_iter().map(Into::into));
        self
    }

    /// Starts the program under its supervisor, out of reach of the terminal's Ctrl-C: we decide the order of the end.
    pub fn start(self) -> Result<Supervised> {
        let name = self.command.first().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let (output, errors) = match &self.log {
            Some(log) => (Stdio::from(log.try_clone()?), Stdio::from(log.try_clone()?)),
            None => (Stdio::from(std::io::stderr()), Stdio::inherit()),
        };
        let child = Command::new("sh")
            .args(["-c", SUPERVISOR, "supervisor", self.signal, if self.group { "group" } else { "program" }])
            .arg(self.remove.unwrap_or_default())
            .args(&self.command)
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        Ok(Supervised { child })
    }
}

/// A running program; dropping it stops the program and waits for its end.
#[derive(Debug)]
pub struct Supervised {
    child: Child,
}

impl Supervised {
    /// The process that the program is a child of.
    #[must_use]
    pub fn supervisor(&self) -> u32 {
        self.child.id()
    }

    /// How the program ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("look after a program")
    }

    /// Waits for the program's own end.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        // `Child::wait` would close the pipe first, which is the order to stop.
        let pipe = self.child.stdin.take();
        let status = self.child.wait().context("wait for a program");
        drop(pipe);
        status
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // Nothing can be done about a failure here, and the supervisor works without us.
        let _ = self.child.wait();
    }
}
