//! Index pages as Apache's mod_autoindex makes them (`FancyIndexing`), and the dates of HTTP and of such pages.

use std::fmt::Write as _;

use super::tree::{WebEntry, WebTree};
use crate::base::percent;
use crate::base::time::civil;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

/// Marks that stand for themselves in a link.
const KEPT: &[u8] = b"/-_.~+";

/// Width of the name column, mod_autoindex's default `NameWidth`.
const NAME_WIDTH: usize = 23;

/// The index page of a directory (`dir` ends with a slash); none if there is no such directory.
pub fn render(tree: &WebTree, dir: &str) -> Option<String> {
    let entries = tree.entries(dir)?;
    let title = escape(dir.strip_suffix('/').filter(|d| !d.is_empty()).unwrap_or("/"));
    let mut page = format!(
        "<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 3.2 Final//EN\">\n<html>\n <head>\n  <title>Index of {title}</title>\n \
         </head>\n <body>\n<h1>Index of {title}</h1>\n<pre><img src=\"/icons/blank.gif\" alt=\"Icon \"> \
         <a href=\"?C=N;O=D\">Name</a>                    <a href=\"?C=M;O=A\">Last modified</a>      \
         <a href=\"?C=S;O=A\">Size</a>  <a href=\"?C=D;O=A\">Description</a><hr>"
    );
    if let Some(above) = dir.strip_suffix('/').and_then(|d| d.rfind('/')).map(|at| &dir[..=at]) {
        let href = percent::encode(above, KEPT);
        let _ = writeln!(
            page,
            "<img src=\"/icons/back.gif\" alt=\"[PARENTDIR]\"> <a href=\"{href}\">Parent Directory</a>                             -   "
        );
    }
    for (name, entry) in entries {
        let (icon, slash, time, size) = match entry {
            WebEntry::Dir => ("folder.gif\" alt=\"[DIR]", "/", "                ".to_owned(), "  - ".to_owned()),
            WebEntry::File(file) => ("unknown.gif\" alt=\"[   ]", "", page_date(file.mtime_s), rounded(file.length)),
        };
        let pad = NAME_WIDTH.saturating_sub(name.chars().count() + slash.len());
        let (href, name) = (percent::encode(name, KEPT), escape(name));
        let _ = writeln!(
            page,
            "<img src=\"/icons/{icon}\"> <a href=\"{href}{slash}\">{name}{slash}</a>{:pad$} {time}  {size}  ",
            ""
        );
    }
    page.push_str("<hr></pre>\n</body></html>\n");
    Some(page)
}

/// RFC 9110's date, such as `Mon, 19 Apr 2021 20:33:00 GMT`.
pub fn http_date(epoch_s: u64) -> String {
    let (year, month, day) = civil(epoch_s / 86_400);
    let (hour, minute, second) = (epoch_s / 3600 % 24, epoch_s / 60 % 60, epoch_s % 60);
    let weekday = DAYS[(epoch_s / 86_400 % 7) as usize];
    let month = MONTHS[month as usize - 1];
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
}

fn page_date(epoch_s: u64) -> String {
    let (year, month, day) = civil(epoch_s / 86_400);
    format!("{year}-{month:02}-{day:02} {:02}:{:02}", epoch_s / 3600 % 24, epoch_s / 60 % 60)
}

/// Sizes as `apr_strfsize` shortens them: four columns, base 1024.
fn rounded(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = ' ';
    for next in ['K', 'M', 'G', 'T'] {
        if value < 973.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    match unit {
        ' ' => format!("{bytes:>3} "),
        _ if value < 9.95 => format!("{value:>3.1}{unit}"),
        _ => format!("{value:>3.0}{unit}"),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_http() {
        for (epoch_s, want) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_618_864_380, "Mon, 19 Apr 2021 20:33:00 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(http_date(epoch_s), want);
        }
    }

    #[test]
    fn sizes_are_rounded_as_apache_does() {
        for (bytes, want) in
            [(5, "  5 "), (1_120_000, "1.1M"), (667_000, "651K"), (29_300, " 29K"), (275_200_000, "262M")]
        {
            assert_eq!(rounded(bytes), want);
        }
    }

    #[test]
    fn a_page_shows_each_entry_once_and_quotes_names() {
        let mut tree = WebTree::hbase_stable("/hbase/stable");
        tree.put("/hbase/stable/a & \"b\"", 7);
        tree.put("/hbase/stable/sub/x", 7);
        let page = render(&tree, "/hbase/stable/").unwrap();
        assert!(page.contains("<title>Index of /hbase/stable</title>"), "{page}");
        assert_eq!(page.matches("CHANGES.md</a>").count(), 1);
        assert!(page.contains("href=\"a%20%26%20%22b%22\">a &amp; &quot;b&quot;</a>"), "{page}");
        assert!(
            page.contains("href=\"sub/\">sub/</a>") && page.contains("href=\"/hbase/\">Parent Directory"),
            "{page}"
        );
        assert!(page.contains("2021-04-19 20:33"), "{page}");
        assert_eq!(render(&tree, "/nowhere/"), None);
        assert!(!render(&tree, "/").unwrap().contains("Parent Directory"));
    }
}
