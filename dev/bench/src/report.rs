//! What was measured, for people and for programs.
use std::fmt::Write;

use serde_json::{Value, json};

use crate::plot::Bars;
use crate::statistics::Summary;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
    /// Told for information.
    None,
}

impl Goal {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::AtMost(most) => Some(value <= most),
            Self::AtLeast(least) => Some(value >= least),
            Self::None => None,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most}"),
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::None => "–".to_owned(),
        }
    }
}

/// One figure beside its goal.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) goal: Goal,
    pub(crate) unit: &'static str,
    pub(crate) value: Summary,
    /// What holds it back, should it be missed.
    because: Option<String>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>, goal: Goal, unit: &'static str, value: Summary) -> Self {
        Self { name: name.into(), goal, unit, value, because: None }
    }

    /// A figure that was measured once.
    pub(crate) fn once(name: impl Into<String>, goal: Goal, unit: &'static str, value: f64) -> Self {
        Self::new(name, goal, unit, Summary::of(&[value]))
    }

    /// With what holds it back, should it be missed.
    pub(crate) fn because(mut self, reason: impl Into<String>) -> Self {
        self.because = Some(reason.into());
        self
    }

    /// Judged by the median. What is not a number meets no goal.
    pub(crate) fn is_met(&self) -> Option<bool> {
        self.goal.is_met(self.value.median)
    }

    fn json(&self) -> Value {
        let Summary { median, lowest, highest } = self.value;
        json!({
            "name": self.name, "goal": self.goal.text(), "value": rounded(median), "unit": self.unit,
            "met": self.is_met(), "lowest": rounded(lowest), "highest": rounded(highest),
        })
    }

    fn cells(&self) -> [String; 5] {
        let Summary { median, lowest, highest } = self.value;
        let spread = if lowest == highest {
            String::new()
        } else {
            format!("{} to {}", short(lowest), short(highest))
        };
        let met = match self.is_met() {
            Some(true) => "met",
            Some(false) => "**missed**",
            None => "",
        };
        [
            self.name.clone(),
            self.goal.text(),
            format!("{} {}", short(median), self.unit).trim_end().to_owned(),
            spread,
            met.to_owned(),
        ]
    }
}

/// What belongs together: some rows, how they were measured, and pictures of it.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) title: &'static str,
    pub(crate) rows: Vec<Row>,
    /// In Markdown.
    pub(crate) text: String,
    pub(crate) plots: Vec<Bars>,
    /// What was to be measured and was not, and why.
    pub(crate) skipped: Vec<String>,
}

/// The report for people.
pub(crate) fn markdown(preamble: &str, sections: &[Section]) -> String {
    let rows: Vec<&Row> = sections.iter().flat_map(|section| &section.rows).collect();
    let missed: Vec<&Row> = rows.iter().copied().filter(|row| row.is_met() == Some(false)).collect();
    let judged = rows.iter().filter(|row| row.is_met().is_some()).count();
    let mut text = format!("# Performance\n\n{preamble}\n");
    let _ = writeln!(text, "{} of {judged} goals are met.", judged - missed.len());
    for row in missed {
        let reason = row.because.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let _ = writeln!(text, "* Missed: {}{reason}.", row.name);
    }
    for skipped in sections.iter().flat_map(|section| &section.skipped) {
        let _ = writeln!(text, "* Not measured: {skipped}.");
    }
    text.push('\n');
    text.push_str(&table(
        &["figure", "goal", "median", "spread", ""],
        &rows.iter().map(|row| row.cells().to_vec()).collect::<Vec<_>>(),
    ));
    for section in sections {
        let _ = write!(text, "\n## {}\n\n{}\n", section.title, section.text.trim_end());
        for plot in &section.plots {
            let _ = write!(text, "\n![{}]({})\n", plot.title, plot.file);
        }
    }
    text
}

/// The report for programs.
pub(crate) fn json(sections: &[Section]) -> Value {
    let rows: Vec<Value> = sections.iter().flat_map(|section| &section.rows).map(Row::json).collect();
    let skipped: Vec<&String> = sections.iter().flat_map(|section| &section.skipped).collect();
    json!({ "rows": rows, "skipped": skipped })
}

/// The rows for a terminal.
pub(crate) fn lines(sections: &[Section]) -> String {
    let rows = sections.iter().flat_map(|section| &section.rows);
    let lines: Vec<[String; 3]> = rows
        .map(|row| {
            let [name, goal, value, _, met] = row.cells();
            [name, value, format!("{goal:<7} {}", met.replace("**", ""))]
        })
        .collect();
    dev::table::aligned(&lines)
}

/// A table in Markdown.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    [head, rule].iter().chain(rows).map(|cells| line(cells)).collect()
}

/// Three digits that count, and every digit of what is larger.
pub(crate) fn short(value: f64) -> String {
    let decimals = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        1.0.. => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Section {
        let spread = Summary { median: 3.5, lowest: 3.0, highest: 4.0 };
        Section {
            title: "Speed",
            rows: vec![
                Row::new("rate", Goal::AtLeast(3.0), "×", spread),
                Row::once("memory", Goal::AtMost(24.0), "MB", 24.5).because("it is full"),
                Row::once("pages", Goal::None, "", 1234.0),
            ],
            text: "As fast as it is.".to_owned(),
            plots: vec![Bars { file: "speed.svg", title: "Speed", axis: "km/h", bars: Vec::new() }],
            skipped: vec!["a peer: it is not there".to_owned()],
        }
    }

    #[test]
    fn a_goal_is_met_at_its_limit_and_never_by_what_is_no_number() {
        assert_eq!(Goal::AtMost(2.0).is_met(2.0), Some(true));
        assert_eq!(Goal::AtMost(2.0).is_met(2.01), Some(false));
        assert_eq!(Goal::AtLeast(3.0).is_met(3.0), Some(true));
        assert_eq!(Goal::AtLeast(3.0).is_met(2.99), Some(false));
        for goal in [Goal::AtMost(1.0), Goal::AtLeast(1.0)] {
            assert_eq!(goal.is_met(f64::NAN), Some(false));
        }
        assert_eq!(Goal::None.is_met(1.0), None);
    }

    #[test]
    fn the_report_says_what_is_met_what_is_missed_and_what_is_missing() {
        let expected = "\
# Performance

On a machine.
1 of 2 goals are met.
* Missed: memory: it is full.
* Not measured: a peer: it is not there.

| figure | goal | median | spread |  |
| --- | --- | --- | --- | --- |
| rate | ≥ 3 | 3.50 × | 3.00 to 4.00 | met |
| memory | ≤ 24 | 24.5 MB |  | **missed** |
| pages | – | 1234 |  |  |

## Speed

As fast as it is.

![Speed](speed.svg)
";
        assert_eq!(markdown("On a machine.", &[section()]), expected);
    }

    #[test]
    fn the_rows_for_programs_have_what_they_ask_for() {
        let rate = json!({
            "name": "rate", "goal": "≥ 3", "value": 3.5, "unit": "×", "met": true, "lowest": 3.0, "highest": 4.0,
        });
        let json = json(&[section()]);
        assert_eq!(json["rows"][0], rate);
        assert_eq!((&json["rows"][1]["met"], &json["rows"][2]["met"]), (&false.into(), &Value::Null));
        assert_eq!(json["skipped"][0], "a peer: it is not there");
    }

    #[test]
    fn a_number_has_three_digits_that_count() {
        assert_eq!([0.0512, 1.234, 12.34, 1234.5].map(short), ["0.051", "1.23", "12.3", "1234"]);
    }
}
