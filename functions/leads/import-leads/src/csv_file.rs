//! Reads a CSV file as spreadsheets and other programs write it: encoding, delimiter, columns and rows.
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

/// Rows of a file, without its header and blank rows.
const MAX_ROWS: usize = 10_000;
/// Columns of a file.
const MAX_COLUMNS: usize = 100;
/// Characters of a header in the answer.
const MAX_HEADER_CHARS: usize = 200;
/// Norwegian Excel writes semicolons, since its numbers have commas.
const DELIMITERS: [u8; 3] = *b",;\t";
/// Added behind the file. It becomes a record of its own, unless a quotation mark was never closed.
const END: &str = "\n\u{1}";

/// The codes of the refusals of a file.
pub(crate) const REFUSALS: [&str; 6] = [
    "empty_file",
    "too_many_columns",
    "too_many_rows",
    "unclosed_header",
    "unknown_columns",
    "unreadable_text",
];

/// A file that was read.
#[derive(Debug)]
pub(crate) struct CsvFile {
    /// The WHATWG's name of the encoding.
    pub(crate) encoding: &'static str,
    pub(crate) delimiter: char,
    pub(crate) columns: Vec<Column>,
    pub(crate) records: Vec<Record>,
}

/// A header, and the field that it means, if any.
#[derive(Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub(crate) struct Column {
    pub(crate) header: String,
    pub(crate) field: Option<LeadField>,
}

/// A row that is not blank.
#[derive(Debug)]
pub(crate) struct Record {
    /// The row's number in a spreadsheet.
    pub(crate) row: u32,
    /// The cells that are not blank. Of several columns for one field the first such cell counts.
    pub(crate) fields: Vec<(LeadField, String)>,
    /// Why the cells cannot be trusted, if so.
    pub(crate) damage: Option<&'static str>,
}

impl CsvFile {
    /// Reads a file.
    ///
    /// # Errors
    /// 422 when the file is empty, too long or too wide, is not text, or has no known column.
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
    /// `None` for a blank row.
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

/// Decodes the whole file in one encoding: that of its byte order mark, else UTF-8 if the bytes are valid, else
/// Windows-1252. Excel writes Windows-1252, and it contains the letters of ISO 8859-1.
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

/// The delimiter by which the header has the most known columns; of equals, the most columns.
fn delimiter(text: &str) -> u8 {
    let columns = |delimiter: &u8| {
        let header = Rows::new(text, *delimiter).next_row();
        let known = |header: &StringRecord| header.iter().filter(|name| lead_field(name).is_some()).count();
        header.map(|(_, header)| (known(&header), header.len()))
    };
    // `max_by_key` takes the last of equals: the comma.
    DELIMITERS.into_iter().rev().max_by_key(columns).unwrap_or(b',')
}

/// The records of a text, with their row numbers in a spreadsheet.
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

    /// The next record. A blank line is no record, but counts as a row.
    fn next_row(&mut self) -> Option<(u32, StringRecord)> {
        let at = self.reader.position().byte();
        let mut record = StringRecord::new();
        // Text in memory can be read and is UTF-8.
        self.reader.read_record(&mut record).ok().filter(|more| *more)?;
        self.row += 1 + self.blank_lines(usize::try_from(at).ok()?);
        Some((self.row, record))
    }

    /// The number of blank lines before the next record.
    fn blank_lines(&self, at: usize) -> u32 {
        let (before, mut rest) =
            (self.text.get(..at).unwrap_or_default(), self.text.get(at..).unwrap_or_default());
        // The second half of the last record's line end.
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
