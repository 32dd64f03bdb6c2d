//! What a start is doing, one line per step, on standard error.
use std::io::{IsTerminal, stderr};
use std::time::{Duration, Instant};

/// How wide a step's name is, so that the times stand in one column.
const WIDTH: usize = 36;

/// A step under way.
#[derive(Debug)]
pub struct Step {
    started: Instant,
}

impl Step {
    /// A step that prints nothing itself: on a terminal its line is written over when it is done.
    #[must_use]
    pub fn begin(doing: &str) -> Self {
        if stderr().is_terminal() {
            eprint!("  · {doing:<WIDTH$}\r");
        }
        Self { started: Instant::now() }
    }

    /// A step whose program shows its own progress below our line.
    #[must_use]
    pub fn begin_talkative(doing: &str) -> Self {
        eprintln!("  · {doing}");
        Self { started: Instant::now() }
    }

    /// Says that the step is done and how long it took.
    pub fn done(self, what: &str) {
        eprintln!("  ✓ {what:<WIDTH$} {}", seconds(self.started.elapsed()));
    }
}

/// A duration as the lines show it: `0.6 s`, right-aligned.
#[must_use]
pub fn seconds(duration: Duration) -> String {
    format!("{:>6.1} s", duration.as_secs_f64())
}

/// Something worth knowing that does not stop us.
pub fn warn(what: &str) {
    eprintln!("  ! {what}");
}
