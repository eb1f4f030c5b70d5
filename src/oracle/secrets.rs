//! S13: the value of a secret stands in no trace, log, screen, report or answer of the API server that should not hold it.
//!
//! Whoever has the texts searches them with [`Needles`] and records what was found, never the value: the record itself would
//! be the next place that leaks. A value is looked for as it is and in the forms that programs give it on its way: JSON's
//! escapes, a URL's percent signs, base64 at any offset (a `data` map, a `Basic` header), hexadecimal, a list of numbers (how
//! Rust prints bytes). Values shorter than six bytes are not looked for: they would be found everywhere.

use std::fmt::Write as _;

use super::cluster::{Exposure, SecretSearch};
use super::judge::Finding;
use super::record::RunRecord;
use super::violation::Violation;

/// The shortest value that can be told from chance.
const SHORTEST: usize = 6;
/// How much of the surroundings is shown, in characters on each side.
const SHOWN: usize = 24;
/// How much of the surroundings is searched for other values before it is shown, in bytes on each side.
const MASKED: usize = 1 << 16;

/// Checks one run.
pub fn check(record: &RunRecord) -> Finding {
    let mut finding = Finding::default();
    for search in record.cluster.iter().flat_map(|cluster| &cluster.searches) {
        if search.secrets == 0 || search.bytes == 0 {
            finding.notes.push(format!("nothing was searched in {}", search.place));
            continue;
        }
        if search.exposed.is_empty() {
            finding.check(None);
        }
        for found in &search.exposed {
            finding.check(Some(Violation::SecretExposed {
                secret: found.secret.clone(),
                place: search.place.clone(),
                form: found.form.clone(),
                around: found.around.clone(),
            }));
        }
    }
    finding
}

/// One way to write one value.
struct Needle {
    secret: String,
    form: &'static str,
    text: String,
}

/// The values to look for.
#[derive(Default)]
pub struct Needles {
    needles: Vec<Needle>,
    secrets: u64,
}

impl Needles {
    /// Adds a value under the name that a report may show, `namespace/name key`. Gives whether it is long enough to be
    /// looked for.
    pub fn add(&mut self, name: &str, value: &[u8]) -> bool {
        if value.len() < SHORTEST {
            return false;
        }
        self.secrets += 1;
        for (form, text) in forms(value) {
            if !self.needles.iter().any(|needle| needle.secret == name && needle.text == text) {
                self.needles.push(Needle { secret: name.into(), form, text });
            }
        }
        true
    }

    /// Searches one text. Each secret is told once.
    pub fn search(&self, place: &str, text: &str) -> SecretSearch {
        let mut search = SecretSearch { place: place.into(), secrets: self.secrets, ..SecretSearch::default() };
        self.search_more(&mut search, text);
        search
    }

    /// Searches another text of the same place. A value that is cut between two texts is not found.
    pub fn search_more(&self, search: &mut SecretSearch, text: &str) {
        search.bytes += text.len() as u64;
        for needle in &self.needles {
            if search.exposed.iter().any(|found| found.secret == needle.secret) {
                continue;
            }
            if let Some(at) = text.find(&needle.text) {
                let around = self.around(text, at, needle.text.len());
                search.exposed.push(Exposure { secret: needle.secret.clone(), form: needle.form.into(), around });
            }
        }
    }

    /// What stands before and after, without any value in it: masked first and cut then, so that no value is shown in part.
    fn around(&self, text: &str, at: usize, length: usize) -> String {
        let (from, to) = (text.floor_char_boundary(at.saturating_sub(MASKED)), at + length);
        let end = text.floor_char_boundary(text.len().min(to + MASKED));
        let mask =
            |part: &str| self.needles.iter().fold(part.to_owned(), |part, needle| part.replace(&needle.text, "***"));
        let (before, after) = (mask(&text[from..at]), mask(&text[to..end]));
        let skipped = before.chars().count().saturating_sub(SHOWN);
        let before: String = before.chars().skip(skipped).collect();
        let after: String = after.chars().take(SHOWN).collect();
        format!("{before}***{after}").escape_debug().to_string()
    }
}

/// All ways to write a value.
fn forms(value: &[u8]) -> Vec<(&'static str, String)> {
    let mut forms = Vec::new();
    if let Ok(text) = std::str::from_utf8(value) {
        forms.push(("plain", text.to_owned()));
        let json = serde_json::Value::from(text).to_string();
        forms.push(("JSON", json[1..json.len() - 1].to_owned()));
        forms.push(("percent", percent(text)));
    }
    forms.extend((0..3).map(|shift| ("base64", base64(value, shift))));
    forms.push(("hexadecimal", list(value, "", |byte| format!("{byte:02x}"))));
    forms.push(("numbers", list(value, ", ", |byte| byte.to_string())));
    forms
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn list(value: &[u8], between: &str, one: impl Fn(&u8) -> String) -> String {
    value.iter().map(one).collect::<Vec<_>>().join(between)
}

/// The characters of base64 that depend on the value alone if `shift` other bytes stand before it and any after it.
fn base64(value: &[u8], shift: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let first = (shift * 8).div_ceil(6);
    let last = (shift + value.len()) * 8 / 6;
    let bit = |at: usize| at.checked_sub(shift * 8).and_then(|at| Some(value.get(at / 8)? >> (7 - at % 8) & 1));
    let digit = |at: usize| (0..6).fold(0usize, |digit, i| digit << 1 | usize::from(bit(at * 6 + i).unwrap_or(0)));
    (first..last).map(|at| char::from(DIGITS[digit(at)])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::cluster::ClusterRecord;

    fn needles() -> Needles {
        let mut needles = Needles::default();
        assert!(needles.add("default/access-key secret", b"hush/\"hush\"+1"));
        assert!(!needles.add("default/access-key id", b"short"));
        needles
    }

    fn names(searches: Vec<SecretSearch>) -> Vec<String> {
        let cluster = ClusterRecord { searches, ..ClusterRecord::default() };
        let record = RunRecord { cluster: Some(cluster), ..RunRecord::default() };
        check(&record).violations.iter().map(|found| found.name().to_string()).collect()
    }

    #[test]
    fn a_value_is_found_in_every_form_and_is_not_repeated() {
        for (form, text) in [
            ("plain", "key hush/\"hush\"+1 end"),
            ("JSON", r#"{"key":"hush/\"hush\"+1"}"#),
            ("percent", "?key=hush%2F%22hush%22%2B1&x"),
            // `hush/"hush"+1`, `a:` before it, `ab:` before it.
            ("base64", "aHVzaC8iaHVzaCIrMQ=="),
            ("base64", "YTpodXNoLyJodXNoIisx"),
            ("base64", "YWI6aHVzaC8iaHVzaCIrMXg="),
            ("hexadecimal", "0x687573682f2268757368222b31"),
            ("numbers", "ByteString([104, 117, 115, 104, 47, 34, 104, 117, 115, 104, 34, 43, 49])"),
        ] {
            let search = needles().search("the trace", text);
            let [found] = &search.exposed[..] else { panic!("{form}: {text}: {search:?}") };
            assert_eq!((found.form.as_str(), found.secret.as_str()), (form, "default/access-key secret"));
            assert!(!found.around.contains("hush"), "{}", found.around);
            assert_eq!(names(vec![search]), ["SecretExposed"]);
        }
    }

    #[test]
    fn other_texts_are_no_exposure() {
        let search = needles().search("logs", "hush, hush/\"hush and an id: short");
        assert_eq!((search.exposed.len(), search.secrets), (0, 1));
        assert_eq!(names(vec![search]), [""; 0]);
    }

    #[test]
    fn a_place_that_was_not_searched_proves_nothing() {
        let cluster = ClusterRecord { searches: vec![needles().search("logs", "")], ..ClusterRecord::default() };
        let finding = check(&RunRecord { cluster: Some(cluster), ..RunRecord::default() });
        assert_eq!((finding.checks, finding.notes.len()), (0, 1));
    }

    #[test]
    fn two_values_side_by_side_hide_each_other() {
        let mut needles = Needles::default();
        needles.add("a", b"first-value");
        needles.add("b", b"other-value");
        let search = needles.search("screen", "first-value other-value");
        assert_eq!(search.exposed.len(), 2);
        assert!(search.exposed.iter().all(|found| !found.around.contains("value")), "{search:?}");
    }
}
