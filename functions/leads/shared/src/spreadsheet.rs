//! Guards the cells of a CSV file, so that a spreadsheet computes no formula from a customer's text.
use std::borrow::Cow;

/// Characters that begin a formula: OWASP's list (CSV Injection) with the full-width forms, which Excel reads like the
/// plain ones.
const FORMULA: [char; 11] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'];

/// Characters that may divide a cell. A spreadsheet with another list separator than the file's, as Norwegian Excel
/// has, ends cells and rows at these, even between quotation marks.
const SEPARATORS: [char; 4] = [';', '\t', '\r', '\n'];

/// Puts an apostrophe before each formula: a spreadsheet then shows `'+47 912 34 567` or `'=1+1` and computes nothing.
/// [`unguarded`] removes exactly these apostrophes.
#[must_use]
pub fn guarded(text: &str) -> Cow<'_, str> {
    each_part(text, |part, safe| {
        if is_formula(part) {
            safe.push('\'');
        }
        safe.push_str(part);
    })
}

/// Restores the text of a cell that [`guarded`] wrote. In a cell of another origin it removes only an apostrophe before
/// a formula or a phone number.
#[must_use]
pub fn unguarded(cell: &str) -> Cow<'_, str> {
    each_part(cell, |part, text| match part.strip_prefix('\'') {
        Some(rest) if is_formula(rest) => text.push_str(rest),
        _ => text.push_str(part),
    })
}

/// Skips leading apostrophes, so that removing one apostrophe always restores the original text.
fn is_formula(part: &str) -> bool {
    part.trim_start_matches('\'').starts_with(FORMULA)
}

/// Passes each part of `text`, with its separator, to `put`.
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
            // Divided cells.
            ("Hei;=1+1", "Hei;'=1+1"),
            ("Hei\r\n=1+1", "Hei\r'\n'=1+1"),
            // Each gets one more.
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
