//! The statements that a function sends to PostgreSQL, read from its bytes, so that pgbench can send the same.
use std::collections::HashMap;

use anyhow::{Context, Result, bail};

/// The statements of the last transaction in what a client sent on one connection (PostgreSQL's protocol 3.0), with the
/// values of their parameters written in.
pub(crate) fn last_transaction(sent: &[u8]) -> Result<Vec<String>> {
    let mut prepared = HashMap::new();
    let mut statements: Vec<String> = Vec::new();
    // The first message has a length and no type.
    let mut rest = Reader(sent);
    let startup = rest.number::<4>()?;
    rest.bytes(usize::try_from(startup)?.saturating_sub(4))?;
    while !rest.0.is_empty() {
        let [kind] = rest.array::<1>()?;
        let length = usize::try_from(rest.number::<4>()?)?;
        let mut message = Reader(rest.bytes(length.saturating_sub(4))?);
        let said = match kind {
            b'P' => {
                let name = message.text()?;
                let sql = message.text()?;
                let types = message.repeated(|message| message.number::<4>())?;
                prepared.insert(name, (sql, types));
                continue;
            }
            b'B' => {
                message.text()?;
                let (sql, types) =
                    prepared.get(&message.text()?).context("a statement that was not prepared")?;
                message.repeated(|message| message.number::<2>())?;
                let values = message.repeated(|message| message.value())?;
                let literals = values.iter().zip(types).map(|(value, oid)| literal(*oid, *value));
                write_in(sql, &literals.collect::<Result<Vec<_>>>()?)
            }
            b'Q' => message.text()?,
            _ => continue,
        };
        if said.starts_with("begin") {
            statements.clear();
        }
        statements.push(said);
    }
    Ok(statements)
}

/// A value in SQL. It knows the types of the compared statements; another type has to be added here.
fn literal(oid: i64, value: Option<&[u8]>) -> Result<String> {
    let name = match oid {
        16 => "bool",
        20 => "int8",
        25 => "text",
        1184 => "timestamptz",
        2950 => "uuid",
        other => bail!("no literal for values of the type with the oid {other}: add it"),
    };
    let Some(value) = value else { return Ok(format!("null::{name}")) };
    let text = match (name, value) {
        ("bool", value) => (value == [1]).to_string(),
        ("int8", value) => i64::from_be_bytes(value.try_into()?).to_string(),
        ("text", value) => std::str::from_utf8(value)?.replace('\'', "''"),
        _ => bail!("no literal for a {name} that is not null: add it"),
    };
    Ok(format!("'{text}'::{name}"))
}

/// The statement with `$1` and its like replaced.
fn write_in(sql: &str, literals: &[String]) -> String {
    let mut parts = sql.split('$');
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        let literal =
            part[..digits].parse::<usize>().ok().and_then(|number| literals.get(number.checked_sub(1)?));
        written.push_str(literal.map_or("$", String::as_str));
        written.push_str(if literal.is_some() { &part[digits..] } else { part });
    }
    written
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(count).context("a message is cut off")?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.bytes(N)?.try_into()?)
    }

    /// Signed, big end first.
    fn number<const N: usize>(&mut self) -> Result<i64> {
        let bytes = self.array::<N>()?;
        let sign = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
        Ok(bytes.into_iter().fold(sign, |number, byte| number << 8 | i64::from(byte)))
    }

    fn text(&mut self) -> Result<String> {
        let end = self.0.iter().position(|byte| *byte == 0).context("a text without an end")?;
        let text = std::str::from_utf8(self.bytes(end)?)?.to_owned();
        self.bytes(1)?;
        Ok(text)
    }

    fn value(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.number::<4>()?;
        usize::try_from(length).ok().map(|length| self.bytes(length)).transpose()
    }

    fn repeated<T>(&mut self, read: impl Fn(&mut Self) -> Result<T>) -> Result<Vec<T>> {
        (0..self.number::<2>()?).map(|_| read(self)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: &[u8], body: &[u8]) -> Vec<u8> {
        [kind, &(body.len() as u32 + 4).to_be_bytes(), body].concat()
    }

    #[test]
    fn the_last_transaction_has_its_values_written_in() {
        let parse = b"\0select $1, $2, $10\0\0\x03\0\0\0\x19\0\0\0\x14\0\0\0\x10";
        let bind = b"\0\0\0\x01\0\x01\0\x03\0\0\0\x04it's\xff\xff\xff\xff\0\0\0\x01\x01\0\0";
        let sent = [
            message(b"", b"\0\x03\0\0user\0me\0\0"),
            message(b"p", b"secret\0"),
            message(b"Q", b"begin; an earlier one\0"),
            message(b"Q", b"begin read only\0"),
            message(b"P", parse),
            message(b"B", bind),
            message(b"S", b""),
            message(b"Q", b"commit\0"),
        ];
        let statements = last_transaction(&sent.concat()).unwrap();
        assert_eq!(statements, ["begin read only", "select 'it''s'::text, null::int8, $10", "commit"]);
        assert!(last_transaction(&sent.concat()[..60]).is_err(), "cut off");
    }

    #[test]
    fn a_value_of_an_unknown_type_is_not_guessed() {
        assert!(literal(1009, None).is_err());
        assert_eq!(literal(20, Some(&51i64.to_be_bytes())).unwrap(), "'51'::int8");
        assert_eq!(literal(16, Some(&[0])).unwrap(), "'false'::bool");
    }
}
