//! Reads the index pages that Apache's mod_autoindex, nginx and their kind make of a directory.
//!
//! Only links to direct children count: relative, one path part, with a trailing slash for directories. Sort links
//! (`?C=N;O=D`), the parent, absolute links and other sites are left out. Sizes and times on such pages are rounded, so
//! they are not read; ask with HEAD. As Alluxio's WebUnderFileSystem does, a page counts as an index only by its title.
//! The page is hostile input: nothing in it can name a file outside of the directory.

use std::collections::BTreeMap;

use crate::base::percent::decode;

/// Titles that mark an index page; Alluxio's `alluxio.underfs.web.titles`.
const TITLES: [&str; 2] = ["index of", "directory listing for"];

/// Longest name that is taken over, in bytes; Linux's `NAME_MAX`.
const NAME_BYTES_MAX: usize = 255;

/// One link of an index page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Decoded name, without a slash.
    pub name: String,
    /// Whether the link ends with a slash.
    pub dir: bool,
}

/// The children that `page` links to, by name; none if it is no index page.
pub fn parse(page: &str) -> Option<Vec<Link>> {
    let mut children = BTreeMap::new();
    let mut title = None;
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.split_once("-->").map_or("", |(_, after)| after);
            continue;
        }
        let (tag, after) = Tag::read(&rest[1..]);
        rest = after;
        match &*tag.name {
            "script" | "style" => rest = &rest[find_end_tag(rest, &tag.name)..],
            "title" if title.is_none() => title = Some(&rest[..find_end_tag(rest, "title")]),
            "a" => children.extend(tag.href.as_deref().and_then(child)),
            _ => {}
        }
    }
    let title = unescape(title?).trim().to_ascii_lowercase();
    let index = TITLES.iter().any(|start| title.starts_with(start));
    index.then(|| children.into_iter().map(|(name, dir)| Link { name, dir }).collect())
}

/// Name and kind of the child that a link leads to, if it does.
fn child(href: &str) -> Option<(String, bool)> {
    let href = href.trim().strip_prefix("./").unwrap_or(href.trim());
    if href.contains(['?', '#', '\\']) || href.starts_with('/') {
        return None;
    }
    let (part, dir) = match href.strip_suffix('/') {
        Some(part) => (part, true),
        None => (href, false),
    };
    // A colon before any slash makes a scheme (RFC 3986, 4.2).
    if part.contains([':', '/']) {
        return None;
    }
    let name = decode(part)?;
    let odd = |c: char| c == '/' || c.is_control();
    let fine = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !matches!(&*name, "." | "..");
    // Names are trimmed on the way to the server, so one that starts or ends blank cannot be asked for.
    (fine && !name.contains(odd) && name.trim() == name).then_some((name, dir))
}

struct Tag {
    name: String,
    href: Option<String>,
}

impl Tag {
    /// Reads a tag from after its `<`; also gives what follows it.
    fn read(text: &str) -> (Self, &str) {
        let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        let mut href = None;
        loop {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            let end = rest.find(|c: char| c.is_ascii_whitespace() || "=>/<".contains(c)).unwrap_or(rest.len());
            let (attribute, after) = rest.split_at(end);
            rest = after.trim_start();
            if let Some(value) = rest.strip_prefix('=') {
                let (value, after) = attribute_value(value.trim_start());
                if attribute.eq_ignore_ascii_case("href") && href.is_none() {
                    href = Some(unescape(value));
                }
                rest = after;
            } else if let Some(after) = rest.strip_prefix('>') {
                rest = after;
                break;
            } else if rest.is_empty() || rest.starts_with('<') {
                break;
            }
        }
        (Self { name: name.to_ascii_lowercase(), href }, rest)
    }
}

/// Splits a quoted or bare attribute value from what follows.
fn attribute_value(text: &str) -> (&str, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            return inner.split_once(quote).unwrap_or((inner, ""));
        }
    }
    text.split_at(text.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(text.len()))
}

/// Where `</name` begins, or the end of the text.
fn find_end_tag(text: &str, name: &str) -> usize {
    let is_end = |at: &usize| {
        let tag = &text.as_bytes()[at + 2..];
        tag.len() >= name.len() && tag[..name.len()].eq_ignore_ascii_case(name.as_bytes())
    };
    text.match_indices("</").map(|(at, _)| at).find(is_end).unwrap_or(text.len())
}

/// Replaces the character references that occur in links.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let known = rest.split_once(';').and_then(|(name, after)| Some((reference(name)?, after)));
        match known {
            Some((c, after)) => {
                out.push(c);
                rest = after;
            }
            None => out.push('&'),
        }
    }
    out.push_str(rest);
    out
}

fn reference(name: &str) -> Option<char> {
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)?
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(body: &str) -> Vec<String> {
        let page = format!("<html><head><title>Index of /x</title></head><body>{body}</body></html>");
        let links = parse(&page).expect("an index page");
        links.into_iter().map(|l| if l.dir { format!("{}/", l.name) } else { l.name }).collect()
    }

    #[test]
    fn reads_links_and_leaves_out_what_is_no_child() {
        let cases: &[(&str, &[&str])] = &[
            (r#"<a href="CHANGES.md">CHANGES.md</a>"#, &["CHANGES.md"]),
            (r#"<A HREF='sub/'>sub</A><a  class=x href=b >b</a>"#, &["b", "sub/"]),
            (r#"<a href="?C=N;O=D">Name</a><a href="?C=M&amp;O=A">M</a>"#, &[]),
            (
                r##"<a href="/hbase/">Parent Directory</a><a href="../">..</a><a href="./">.</a><a href="#top">t</a>"##,
                &[],
            ),
            (r#"<a href="https://evil/x">x</a><a href="//evil/x">x</a><a href="javascript:x()">x</a>"#, &[]),
            (r#"<a href="./a">a</a><a href="a">again</a>"#, &["a"]),
            (r#"<a href="a%20b">a b</a><a href="R&amp;D">R</a><a href="&#x41;&#66;">AB</a>"#, &["AB", "R&D", "a b"]),
            ("<!-- <a href=\"hidden\"> --><script>'<a href=\"s\">'</script><a href=\"seen\">", &["seen"]),
            (r#"<img src="a.gif"/><a name="x">no link</a><abbr href="no">"#, &[]),
        ];
        for (body, want) in cases {
            assert_eq!(names(body), *want, "{body}");
        }
    }

    #[test]
    fn hostile_links_name_nothing_outside() {
        for href in [
            "..%2f..%2fetc%2fpasswd",
            "%2e%2e",
            "%2e%2e/",
            ".",
            "a/b",
            "a/../b",
            "..\\x",
            "a%00b",
            "a%0d%0aX: y",
            "%ff",
            "%zz",
            "%",
            "",
            " ",
            "%20a",
            "a%20",
            "data:text/html,x",
            "a?b",
            "a#b",
            "&#x2f;etc",
            "&#47;",
            "&#0;",
        ] {
            assert_eq!(names(&format!("<a href=\"{href}\">x</a>")), [""; 0], "{href}");
        }
        let long = "n".repeat(256);
        assert_eq!(names(&format!("<a href={long}>x</a>")), [""; 0]);
    }

    #[test]
    fn broken_html_ends() {
        for body in
            ["<", "<a", "<a href", "<a href=", "<a href=\"x", "<!-- ", "<script>", "<a href=x", "</", "<a <a href=y>"]
        {
            let got = names(body);
            assert!(got.len() <= 1, "{body}: {got:?}");
        }
    }

    #[test]
    fn a_page_without_the_title_is_no_index() {
        for page in ["", "<a href=x>x</a>", "<title>Welcome</title><a href=x>x</a>", "<title></title>", "not html"] {
            assert_eq!(parse(page), None, "{page}");
        }
        assert_eq!(parse("<TITLE> Directory listing for /</TITLE>"), Some(vec![]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Whatever the page says, a name is one safe path part.
        #[test]
        fn every_name_is_one_path_part(body in "(<a href=[\"']?|&#x?|%2[fFeE]|\\.|/|[a-z<>\"' &;=!-]|\\PC){0,40}") {
            let page = format!("<title>Index of /</title>{body}");
            for link in parse(&page).unwrap_or_default() {
                prop_assert!(!link.name.contains('/') && !matches!(&*link.name, "" | "." | ".."));
            }
        }
    }
}
