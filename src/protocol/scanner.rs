//! Goes over JSON text and finds a member in it, without a tree of values and without a parser's
//! own numbers.

use std::collections::HashSet;
use std::sync::Arc;

use serde::de::IgnoredAny;

use crate::problem::{Code, Problem};

/// Longest object, in bytes of compact JSON.
pub(crate) const OBJECT_BYTES_MAX: usize = 4_096;
/// Deepest nesting of an object, itself included.
pub(super) const OBJECT_DEPTH_MAX: usize = 64;

/// Nesting of a body or frame around an object: as deep as the parser of requests goes.
const BODY_DEPTH_MAX: usize = 128;

/// The member of this name in JSON text, as compact text of an object. The outer `None`: there is
/// none; the inner: it is null.
pub(super) fn member(body: &[u8], name: &str) -> Result<Option<Option<Arc<str>>>, Problem> {
    let text = std::str::from_utf8(body).map_err(|_wrong| invalid(name, "is not UTF-8"))?;
    let mut scanner = Scanner {
        text,
        at: 0,
        name,
        compact: String::new(),
    };
    let mut found = None;
    scanner.expect('{')?;

    while !scanner.comes('}') {
        let of = scanner.string()?;
        scanner.expect(':')?;
        let is_wanted = of == name;
        if is_wanted && found.is_some() {
            return Err(invalid(name, "is given twice"));
        }
        scanner.compact.clear();
        if is_wanted {
            found = Some(scanner.object_or_null()?);
        } else {
            scanner.skip()?;
        }
        scanner.comes(',');
    }

    Ok(found)
}

fn invalid(name: &str, why: &str) -> Problem {
    Problem::new(Code::Invalid, format!("{name} {why}"))
}

/// Goes over JSON text and writes what it passes as compact text.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// What is told of.
    name: &'a str,
    compact: String,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn malformed(&self) -> Problem {
        invalid(self.name, "is no well-formed JSON")
    }

    fn skip_space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    /// Whether this is next; passes it.
    fn comes(&mut self, wanted: char) -> bool {
        self.skip_space();
        let comes = self.rest().starts_with(wanted);
        self.at += if comes { wanted.len_utf8() } else { 0 };
        comes
    }

    fn expect(&mut self, wanted: char) -> Result<(), Problem> {
        if self.comes(wanted) {
            Ok(())
        } else {
            Err(self.malformed())
        }
    }

    /// A string, its escapes resolved.
    fn string(&mut self) -> Result<String, Problem> {
        self.skip_space();
        let rest = self.rest();
        let mut escaped = false;
        let mut inner = rest.char_indices().skip(1);
        let end = inner.find(|(_, c)| {
            let ends = *c == '"' && !escaped;
            escaped = *c == '\\' && !escaped;
            ends
        });
        let token = end
            .and_then(|(end, _)| rest.get(..=end))
            .ok_or_else(|| self.malformed())?;
        self.at += token.len();
        serde_json::from_str(token).map_err(|_wrong| self.malformed())
    }

    /// Passes any value.
    fn skip(&mut self) -> Result<(), Problem> {
        self.skip_space();
        let (value, _) = first_of(self.rest(), BODY_DEPTH_MAX).ok_or_else(|| self.malformed())?;
        self.at += value.len();
        Ok(())
    }

    fn object_or_null(&mut self) -> Result<Option<Arc<str>>, Problem> {
        self.skip_space();
        if let Some(_after) = self.rest().strip_prefix("null") {
            self.at += "null".len();
            return Ok(None);
        }

        if !self.rest().starts_with('{') {
            return Err(invalid(self.name, "is a JSON object or null"));
        }

        self.value(OBJECT_DEPTH_MAX)?;
        if self.compact.len() > OBJECT_BYTES_MAX {
            let detail = format!(
                "{} has at most {OBJECT_BYTES_MAX} bytes as compact JSON",
                self.name
            );
            return Err(Problem::new(Code::TooLarge, detail));
        }

        Ok(Some(Arc::from(std::mem::take(&mut self.compact))))
    }

    fn value(&mut self, depth: usize) -> Result<(), Problem> {
        self.skip_space();
        match self.rest().as_bytes().first() {
            Some(b'{' | b'[') if depth == 0 => Err(invalid(
                self.name,
                &format!("is nested at most {OBJECT_DEPTH_MAX} deep"),
            )),
            Some(b'{') => self.members(depth - 1),
            Some(b'[') => self.items(depth - 1),
            Some(b'"') => {
                let text = self.string()?;
                self.write_string(&text)
            }
            _ => self.scalar(),
        }
    }

    fn members(&mut self, depth: usize) -> Result<(), Problem> {
        self.expect('{')?;
        self.compact.push('{');
        let mut names = HashSet::new();

        while !self.comes('}') {
            if !names.is_empty() {
                self.expect(',')?;
                self.compact.push(',');
            }
            let name = self.string()?;
            self.write_string(&name)?;
            if names.contains(&name) {
                return Err(invalid(self.name, "has a name twice"));
            }
            names.insert(name);
            self.expect(':')?;
            self.compact.push(':');
            self.value(depth)?;
        }

        self.compact.push('}');
        Ok(())
    }

    fn items(&mut self, depth: usize) -> Result<(), Problem> {
        self.expect('[')?;
        self.compact.push('[');
        let mut is_first = true;
        while !self.comes(']') {
            if !is_first {
                self.expect(',')?;
                self.compact.push(',');
            }
            is_first = false;
            self.value(depth)?;
        }
        self.compact.push(']');
        Ok(())
    }

    fn write_string(&mut self, text: &str) -> Result<(), Problem> {
        // Escapes what has to be escaped, and nothing else.
        let written = serde_json::to_string(text).map_err(|_wrong| self.malformed())?;
        self.compact.push_str(&written);
        Ok(())
    }

    /// A number or a word.
    fn scalar(&mut self) -> Result<(), Problem> {
        let (token, _) = first_of(self.rest(), 0).ok_or_else(|| self.malformed())?;
        if serde_json::from_str::<IgnoredAny>(token).is_err() {
            return Err(self.malformed());
        }
        let is_number = token.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        if is_number && !is_held(token) {
            let why = "has a number that is neither an integer of 64 bits nor a double";
            return Err(invalid(self.name, why));
        }
        self.compact.push_str(token);
        self.at += token.len();
        Ok(())
    }
}

/// Whether a number keeps its value: as an integer of 64 bits, or as a double.
fn is_held(number: &str) -> bool {
    let is_whole = !number.contains(['.', 'e', 'E']);
    if is_whole {
        return number.parse::<i64>().is_ok() || number.parse::<u64>().is_ok();
    }
    number.parse::<f64>().is_ok_and(f64::is_finite)
}

/// The first value of a text, which begins with it, and what follows; `None` when there is none, or
/// it is nested deeper.
pub(super) fn first_of(text: &str, depth_max: usize) -> Option<(&str, &str)> {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in text.bytes().enumerate() {
        if quoted {
            quoted = byte != b'"' || escaped;
            escaped = byte == b'\\' && !escaped;
            if !quoted && depth == 0 {
                return text.split_at_checked(at + 1);
            }
            continue;
        }
        match byte {
            b'"' => quoted = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => {
                return text
                    .split_at_checked(at)
                    .filter(|(value, _)| !value.is_empty());
            }
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return text.split_at_checked(at + 1);
                }
            }
            _ => {}
        }
        if depth > depth_max {
            return None;
        }
    }

    (depth == 0 && !quoted && !text.is_empty()).then_some((text, ""))
}
