//! The text of a record's file.

use std::{fs, path::Path};

use serde::Serialize;
use serde_json::Value;

use super::{Catalog, rules};

/// Longest line of a list.
const LINE: usize = 110;

/// A record's file while it is being written.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// Adds a field, unless there is nothing to say.
    pub fn field(&mut self, name: &str, value: impl Serialize) {
        let value = serde_json::to_value(value).unwrap_or_default();
        let nothing = match &value {
            Value::Null => true,
            Value::Array(values) => values.is_empty(),
            Value::String(text) => text.is_empty(),
            _ => false,
        };
        if !nothing {
            let line = format!("{name} = {}", written(&value));
            match value {
                Value::Array(values) if line.len() > LINE => self.lines(name, &values),
                _ => self.text.push_str(&format!("{line}\n")),
            }
        }
    }

    /// Adds a list over several lines.
    fn lines(&mut self, name: &str, values: &[Value]) {
        self.text.push_str(&format!("{name} = [\n"));
        let mut line = String::new();
        for value in values {
            let value = format!(" {},", written(value));
            if 3 + line.len() + value.len() > LINE {
                self.text.push_str(&format!("   {line}\n"));
                line.clear();
            }
            line.push_str(&value);
        }
        self.text.push_str(&format!("   {line}\n]\n"));
    }

    /// Begins a table, for example `[parameters]` or `[[source]]`.
    pub fn table(&mut self, header: &str) {
        self.text.push_str(&format!("\n{header}\n"));
    }

    /// Adds a source.
    pub fn source(&mut self, url: &str, date: &str, covers: &[&str]) {
        self.table("[[source]]");
        self.field("url", url);
        self.field("date", date);
        self.field("covers", covers);
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }
}

/// A value as TOML writes it: JSON's form, long numbers in groups.
fn written(value: &Value) -> String {
    match value {
        Value::Number(number) if number.is_u64() || number.is_i64() => grouped(&number.to_string()),
        Value::Array(values) => format!("[{}]", values.iter().map(written).collect::<Vec<_>>().join(", ")),
        // JSON's escapes are among those of TOML's basic strings.
        _ => value.to_string(),
    }
}

fn grouped(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let mut text = sign.to_owned();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && digits.len() > 5 && (digits.len() - position).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

/// An id from a name: lower-case words joined by `-`.
#[must_use]
pub fn id_of(name: &str) -> String {
    let mut id = String::new();
    for c in name.to_lowercase().chars() {
        if c.is_ascii_alphanumeric() || c == '.' {
            id.push(c);
        } else if !id.is_empty() && !id.ends_with('-') {
            id.push('-');
        }
    }
    id.trim_end_matches('-').to_owned()
}

/// Writes a new record and says what the rules find in it.
///
/// # Errors
/// If the file exists already or cannot be written.
pub fn add(folder: &Path, path: &str, text: &str) -> Result<String, String> {
    let file = folder.join(path);
    if file.exists() {
        return Err(format!("{} exists already", file.display()));
    }
    let made = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&file, text));
    made.map_err(|error| format!("{}: {error}", file.display()))?;
    let findings = match Catalog::load(folder) {
        Ok(catalog) => rules::check(&catalog),
        Err(findings) => findings,
    };
    let own: Vec<String> = findings.iter().filter(|finding| finding.file == path).map(|finding| format!("  {finding}\n")).collect();
    let remark = if own.is_empty() { "It keeps every rule.".to_owned() } else { format!("Still to do:\n{}", own.concat()) };
    Ok(format!("wrote catalog/{path}\n{remark}\nAdd what else its sources say, then run `cargo xtask bake`."))
}
