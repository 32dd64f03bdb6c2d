//! A CSV file as programs really write them: its encoding, its delimiter, its columns and its rows.
use std::borrow::Cow;
use std::io::Read;

use csv::{Reader, ReaderBuilder, StringRecord};
use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use leads::spreadsheet::unguarded;
use leads::{LeadField, lead_field};
use schemars::JsonSchema;
use serde::Serialize;
use shared::ApiError;
use shared::error::StatusCode;

/// Rows of a file, without the header and blank ones.
const MAX_ROWS: usize = 10_000;
/// Columns of a file.
const MAX_COLUMNS: usize = 100;
/// Characters of a header that an answer repeats.
const MAX_HEADER_CHARS: usize = 200;
/// Norwegian Excel writes semicolons, for it needs the comma in numbers.
const DELIMITERS: [u8; 3] = *b",;\t";
/// A record of its own behind the last one, unless a quotation mark was never closed.
const END: &str = "\n\u{1}";

/// The codes of a file that cannot be read.
pub(crate) const REFUSALS: [&str; 6] = [
    "empty_file",
    "too_many_columns",
    "too_many_rows",
    "unclosed_header",
    "unknown_columns",
    "unreadable_text",
];

/// A file, read.
#[derive(Debug)]
pub(crate) struct CsvFile {
    /// As the WHATWG calls it.
    pub(crate) encoding: &'static str,
    pub(crate) delimiter: char,
    pub(crate) columns: Vec<Column>,
    pub(crate) records: Vec<Record>,
}

/// How a header was understood: not at all when there is no field.
#[derive(Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub(crate) struct Column {
    pub(crate) header: String,
    pub(crate) field: Option<LeadField>,
}

/// A row that is not blank.
#[derive(Debug)]
pub(crate) struct Record {
    /// As a spreadsheet numbers it.
    pub(crate) row: u32,
    /// What its cells say, blank ones left out; of several columns for one field the first that is not blank.
    pub(crate) fields: Vec<(LeadField, String)>,
    /// Why its cells cannot be trusted.
    pub(crate) damage: Option<&'static str>,
}

impl CsvFile {
    /// Reads a whole file.
    ///
    /// # Errors
    /// 422 when it is empty, too long, too wide, no text, or has no column that we know.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ApiError> {
        let (text, encoding) = decode(bytes)?;
        let delimiter = delimiter(&text);
        let mut rows = Rows::new(&text, delimiter);
        let Some((_, header)) = rows.next_row().filter(|(_, header)| !header.iter().eq([&END[1..]])) else {
            return Err(unreadable("empty_file", "The file has no rows."));
        };
        if header.iter().any(|name| name.ends_with(END)) {
            return Err(unreadable("unclosed_header", "A quotation mark in the first row is never closed."));
        }
        if header.len() > MAX_COLUMNS {
            return Err(unreadable("too_many_columns", "The file has more than 100 columns."));
        }
        let columns: Vec<Column> = header.iter().map(Column::of).collect();
        if columns.iter().all(|column| column.field.is_none()) {
            let detail = "No column has a name that we know. The first row must name the columns, such as Navn and E-post.";
            return Err(unreadable("unknown_columns", detail));
        }

        let mut records = Vec::new();
        let mut last = None;
        while let Some(row) = rows.next_row() {
            records.extend(last.replace(row).and_then(|(row, cells)| Record::of(row, &cells, &columns)));
            if records.len() > MAX_ROWS {
                return Err(unreadable("too_many_rows", "The file has more than 10,000 rows. Divide it."));
            }
        }
        if let Some((row, cells)) = last.filter(|(_, cells)| !cells.iter().eq([&END[1..]])) {
            let damage =
                Some("a quotation mark is never closed, so the rows below were read as part of this one");
            records.extend(Record::of(row, &cells, &columns).map(|record| Record { damage, ..record }));
        }
        Ok(Self { encoding, delimiter: delimiter.into(), columns, records })
    }
}

impl Column {
    fn of(header: &str) -> Self {
        Self { header: header.trim().chars().take(MAX_HEADER_CHARS).collect(), field: lead_field(header) }
    }
}

impl Record {
    /// None for a blank row.
    fn of(row: u32, cells: &StringRecord, columns: &[Column]) -> Option<Self> {
        if cells.iter().all(|cell| cell.trim().is_empty()) {
            return None;
        }
        let surplus = cells.iter().skip(columns.len()).any(|cell| !cell.trim().is_empty());
        let mut fields: Vec<(LeadField, String)> = Vec::new();
        for (column, cell) in columns.iter().zip(cells) {
            let cell = unguarded(cell.trim());
            match column.field {
                Some(field) if !cell.is_empty() && fields.iter().all(|(known, _)| *known != field) => {
                    fields.push((field, cell.into_owned()));
                }
                _ => {}
            }
        }
        Some(Self { row, fields, damage: surplus.then_some("has more cells than the header") })
    }
}

/// One encoding for the whole file: what its byte order mark says, or UTF-8 if it is, or Windows-1252, which Excel
/// writes and which contains the letters of ISO 8859-1.
fn decode(bytes: &[u8]) -> Result<(Cow<'_, str>, &'static str), ApiError> {
    let marked = Encoding::for_bom(bytes)
        .map(|(encoding, length)| (encoding, bytes.get(length..).unwrap_or_default()));
    let (encoding, bytes) = marked.unwrap_or_else(|| {
        let is_utf8 = std::str::from_utf8(bytes).is_ok();
        (if is_utf8 { UTF_8 } else { WINDOWS_1252 }, bytes)
    });
    let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
    let text = text
        .ok_or_else(|| unreadable("unreadable_text", "The file is not the text that its first bytes say."))?;
    Ok((text, encoding.name()))
}

/// The delimiter whose header has the most columns that we know, or else the most columns.
fn delimiter(text: &str) -> u8 {
    let columns = |delimiter: &u8| {
        let header = Rows::new(text, *delimiter).next_row();
        let known = |header: &StringRecord| header.iter().filter(|name| lead_field(name).is_some()).count();
        header.map(|(_, header)| (known(&header), header.len()))
    };
    // Of equals the last is the greatest, and a comma is the rule.
    DELIMITERS.into_iter().rev().max_by_key(columns).unwrap_or(b',')
}

/// The records of a text, each with the number that a spreadsheet gives it.
struct Rows<'t> {
    text: &'t str,
    reader: Reader<std::io::Chain<&'t [u8], &'t [u8]>>,
    row: u32,
}

impl<'t> Rows<'t> {
    fn new(text: &'t str, delimiter: u8) -> Self {
        let reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .flexible(true)
            .has_headers(false)
            .from_reader(text.as_bytes().chain(END.as_bytes()));
        Self { text, reader, row: 0 }
    }

    /// The next record; blank lines are none, but count.
    fn next_row(&mut self) -> Option<(u32, StringRecord)> {
        let at = self.reader.position().byte();
        let mut record = StringRecord::new();
        // Text in memory is neither unreadable nor no UTF-8.
        self.reader.read_record(&mut record).ok().filter(|more| *more)?;
        self.row += 1 + self.blank_lines(usize::try_from(at).ok()?);
        Some((self.row, record))
    }

    /// How many lines before the next record have nothing in them.
    fn blank_lines(&self, at: usize) -> u32 {
        let (before, mut rest) =
            (self.text.get(..at).unwrap_or_default(), self.text.get(at..).unwrap_or_default());
        // The rest of the last record's end.
        if before.ends_with('\r') {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
        let mut lines = 0;
        while let Some(next) = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\r', '\n'])) {
            (rest, lines) = (next, lines + 1);
        }
        lines
    }
}

fn unreadable(code: &'static str, detail: &'static str) -> ApiError {
    ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}
