//! Text in a cell of a CSV file that a spreadsheet will open: what would be a formula there stays text.
use std::borrow::Cow;

/// What makes a formula of a cell that it begins: OWASP's list (CSV Injection), the full-width forms, which Excel takes
/// for the plain ones, included.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// What may begin a cell inside of a cell: a spreadsheet whose list separator is another than the file's, as Norwegian
/// Excel's, ends cells and rows at these and minds no quotation mark on the way.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

/// Puts an apostrophe before whatever would begin a formula, so that a spreadsheet shows `'+47 912 34 567` or
/// `'=1+1` and computes nothing. [`unguarded`] takes exactly these away again.
#[must_use]
pub fn guarded(text: &str) -> Cow<'_, str> {
    each_part(text, |part, safe| {
        if is_formula(part) {
            safe.push('\'');
        }
        safe.push_str(part);
    })
}

/// The text of a cell that [`guarded`] wrote. A cell of another origin loses the apostrophe that people put before a
/// formula or a phone number themselves, and nothing else.
#[must_use]
pub fn unguarded(cell: &str) -> Cow<'_, str> {
    each_part(cell, |part, text| match part.strip_prefix('\'') {
        Some(rest) if is_formula(rest) => text.push_str(rest),
        _ => text.push_str(part),
    })
}

/// Apostrophes do not count, or one that was there before could not be told from one of ours.
fn is_formula(part: &str) -> bool {
    part.trim_start_matches('\'').starts_with(FORMULA)
}

/// Hands each part of `text` to `put`, up to and with its separator.
fn each_part(text: &str, put: impl Fn(&str, &mut String)) -> Cow<'_, str> {
    if !text.contains(FORMULA) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 1);
    for part in text.split_inclusive(SEPARATORS) {
        put(part, &mut out);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_be_a_formula_is_text() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("+47 912 34 567", "'+47 912 34 567"),
            ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
            ("@SUM(1+1)*cmd|' /C calc'!A0", "'@SUM(1+1)*cmd|' /C calc'!A0"),
            ("\t=1+1", "'\t'=1+1"),
            ("\r=1+1", "'\r'=1+1"),
            ("\n=1+1", "'\n'=1+1"),
            ("＝1+1", "'＝1+1"),
            ("＋1", "'＋1"),
            ("－1", "'－1"),
            ("＠SUM(1)", "'＠SUM(1)"),
            // Cells inside of a cell.
            ("Hei;=1+1", "Hei;'=1+1"),
            ("Hei\r\n=1+1", "Hei\r'\n'=1+1"),
            // One more than before.
            ("'=1+1", "''=1+1"),
            // Nothing to guard.
            ("912 34 567", "912 34 567"),
            ("Ole-Jørgen", "Ole-Jørgen"),
            ("1+1=2", "1+1=2"),
            ("'sitat'", "'sitat'"),
            ("a@b.no; c@d.no", "a@b.no; c@d.no"),
            ("", ""),
        ] {
            assert_eq!(guarded(text), cell);
            assert_eq!(unguarded(cell), text);
        }
    }

    #[test]
    fn an_apostrophe_of_somebody_elses_goes_only_before_a_formula() {
        assert_eq!(unguarded("'+4791234567"), "+4791234567");
        assert_eq!(unguarded("'s-Hertogenbosch"), "'s-Hertogenbosch");
        assert_eq!(unguarded("+4791234567"), "+4791234567");
    }

    proptest! {
        #[test]
        fn a_guarded_cell_begins_no_formula_anywhere_and_reads_back_the_same(
            text in prop_oneof!["(?s).{0,40}", "['=+@;\t\r\n＝－a -]{0,12}"],
        ) {
            let cell = guarded(&text);
            prop_assert!(cell.split(SEPARATORS).all(|part| !part.starts_with(FORMULA)), "{cell:?}");
            prop_assert_eq!(unguarded(&cell), text.as_str());
        }
    }
}
