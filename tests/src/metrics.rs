//! CloudWatch's embedded metric format, by the words of its specification:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// What the tests call the namespace, which a deployment calls by its stack.
pub const NAMESPACE: &str = "norvalt-test";

/// Bytes of one line.
const MAX_LINE: usize = 256 * 1024;
/// Characters of a namespace and of a metric's name.
const MAX_NAME: usize = 1024;
/// Metrics of one directive.
const MAX_METRICS: usize = 100;
/// Keys of one set of dimensions.
const MAX_DIMENSIONS: usize = 30;
/// Characters of a dimension's name.
const MAX_DIMENSION: usize = 250;
/// Characters of a dimension's value.
const MAX_VALUE: usize = 1024;

/// Those that need no quantity per second.
const UNITS: [&str; 16] = [
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "None",
];

/// What CloudWatch takes out of a line: the values of the metrics by their names, and each set of dimensions.
#[derive(Debug, PartialEq)]
pub struct Metrics {
    pub namespaces: BTreeSet<String>,
    pub values: BTreeMap<String, f64>,
    pub dimensions: Vec<BTreeMap<String, String>>,
}

impl Metrics {
    /// The metrics of a line, or the rule that it breaks.
    pub fn of(line: &Value) -> Result<Self, String> {
        let text = line.to_string();
        hold(text.len() <= MAX_LINE, "the line is too long")?;
        let root = line.as_object().ok_or("the line is no object")?;
        let aws = root.get("_aws").and_then(Value::as_object).ok_or("there is no _aws")?;
        only(aws, &["Timestamp", "CloudWatchMetrics"])?;
        // In milliseconds since 1970, and not in seconds: CloudWatch takes the last two weeks.
        let timestamp = aws["Timestamp"].as_i64().ok_or("the timestamp is no whole number")?;
        hold(
            (1_500_000_000_000..10_000_000_000_000).contains(&timestamp),
            "the timestamp is not in milliseconds",
        )?;
        let directives = aws["CloudWatchMetrics"].as_array().ok_or("no list of directives")?;
        let mut metrics =
            Self { namespaces: BTreeSet::new(), values: BTreeMap::new(), dimensions: Vec::new() };
        for directive in directives {
            metrics.add(directive, root)?;
        }
        Ok(metrics)
    }

    fn add(&mut self, directive: &Value, root: &Map<String, Value>) -> Result<(), String> {
        let directive = directive.as_object().ok_or("a directive is no object")?;
        only(directive, &["Namespace", "Dimensions", "Metrics"])?;
        self.namespaces.insert(name(&directive["Namespace"], MAX_NAME)?);
        let sets = directive["Dimensions"].as_array().ok_or("the dimensions are no list")?;
        hold(!sets.is_empty(), "there is no set of dimensions")?;
        for set in sets {
            let keys = set.as_array().ok_or("a set of dimensions is no list")?;
            hold(keys.len() <= MAX_DIMENSIONS, "too many dimensions")?;
            let mut dimensions = BTreeMap::new();
            for key in keys {
                let key = name(key, MAX_DIMENSION)?;
                let value =
                    root.get(&key).and_then(Value::as_str).ok_or(format!("{key} is no text in the root"))?;
                hold(
                    (1..=MAX_VALUE).contains(&value.chars().count()),
                    "a dimension's value is empty or too long",
                )?;
                dimensions.insert(key, value.to_owned());
            }
            self.dimensions.push(dimensions);
        }
        let metrics = directive["Metrics"].as_array().ok_or("the metrics are no list")?;
        hold(metrics.len() <= MAX_METRICS, "too many metrics")?;
        for metric in metrics {
            let metric = metric.as_object().ok_or("a metric is no object")?;
            hold(
                metric.keys().all(|key| ["Name", "Unit", "StorageResolution"].contains(&key.as_str())),
                "a member",
            )?;
            let unit = metric.get("Unit").map_or(Some("None"), Value::as_str);
            hold(unit.is_some_and(|unit| UNITS.contains(&unit)), "no unit of CloudWatch's")?;
            let name = name(metric.get("Name").unwrap_or(&Value::Null), MAX_NAME)?;
            let value =
                root.get(&name).and_then(Value::as_f64).ok_or(format!("{name} is no number in the root"))?;
            self.values.insert(name, value);
        }
        Ok(())
    }
}

fn hold(is_so: bool, rule: &str) -> Result<(), String> {
    if is_so { Ok(()) } else { Err(rule.to_owned()) }
}

/// Exactly these members.
fn only(object: &Map<String, Value>, names: &[&str]) -> Result<(), String> {
    let there: BTreeSet<_> = object.keys().map(String::as_str).collect();
    hold(there == names.iter().copied().collect(), &format!("the members are {there:?}"))
}

fn name(value: &Value, most: usize) -> Result<String, String> {
    let text = value.as_str().ok_or("a name is no text")?;
    hold((1..=most).contains(&text.chars().count()), "a name is empty or too long")?;
    Ok(text.to_owned())
}
