//! A table for people: what, who, and what became of it.

/// The lines, with the first two columns as wide as they have to be.
#[must_use]
pub fn aligned(lines: &[[String; 3]]) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let (first, second) = (width(0), width(1));
    lines.iter().map(|[a, b, c]| format!("{a:<first$}  {b:<second$}  {c}\n")).collect()
}
