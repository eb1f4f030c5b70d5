//! `stat` and `test`.

use super::Program;
use super::ls::civil;

/// `stat [-c format] path…`; the format knows `%n`, `%s`, `%F`, `%i` and `%Y`.
pub async fn stat(own: &mut Program<'_>, args: &[String]) {
    let (format, names) = match args {
        [flag, format, names @ ..] if flag == "-c" => (Some(format), names),
        names => (None, names),
    };
    if names.is_empty() {
        return own.fail("missing operand").await;
    }
    for name in names {
        let found = match own.shell.tree.stat(&own.shell.path(name)).await {
            Ok(found) => found,
            Err(errno) => {
                own.refused(&format!("cannot statx '{name}'"), errno).await;
                continue;
            }
        };
        let kind = match (found.dir, found.size) {
            (true, _) => "directory",
            (false, 0) => "regular empty file",
            (false, _) => "regular file",
        };
        let seconds = found.mtime_ms / 1000;
        let text = match format {
            Some(format) => {
                let text = format.replace("%n", name).replace("%s", &found.size.to_string()).replace("%F", kind);
                text.replace("%i", &found.ino.to_string()).replace("%Y", &seconds.to_string()) + "\n"
            }
            None => {
                let (year, month, day) = civil(seconds / 86_400);
                let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
                let (mode, links) = if found.dir { ("0755/drwxr-xr-x", 2) } else { ("0644/-rw-r--r--", 1) };
                format!(
                    "  File: {name}\n  Size: {}\tBlocks: {}\tIO Block: 4096\t{kind}\nInode: {}\tLinks: {links}\n\
                     Access: ({mode})\tUid: (    0/    root)\tGid: (    0/    root)\n\
                     Modify: {year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{:03}000000 +0000\n",
                    found.size,
                    found.blocks(),
                    found.ino,
                    found.mtime_ms % 1000,
                )
            }
        };
        own.print(&text).await;
    }
}

/// `test` and `[`: `-e -f -d -s path`, `-n -z text`, `=`, `!=`, `-eq` and its like; `!` before any of them.
pub async fn test(own: &mut Program<'_>, args: &[String]) -> i32 {
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let words = match (own.name, words.split_last()) {
        ("[", Some((&"]", words))) => words.to_vec(),
        ("[", _) => {
            own.fail("missing ]").await;
            return 2;
        }
        _ => words,
    };
    let (negated, words) = match words.split_first() {
        Some((&"!", rest)) if !rest.is_empty() => (true, rest.to_vec()),
        _ => (false, words),
    };
    match truth(own, &words).await {
        Some(truth) => i32::from(truth == negated),
        None => {
            own.fail(&format!("{}: unknown operand", words.join(" "))).await;
            2
        }
    }
}

async fn truth(own: &Program<'_>, words: &[&str]) -> Option<bool> {
    Some(match words {
        [] => false,
        [text] => !text.is_empty(),
        ["-n", text] => !text.is_empty(),
        ["-z", text] => text.is_empty(),
        [flag @ ("-e" | "-f" | "-d" | "-s"), path] => {
            let found = own.shell.tree.stat(&own.shell.path(path)).await;
            found.is_ok_and(|found| match *flag {
                "-f" => !found.dir,
                "-d" => found.dir,
                "-s" => found.size > 0,
                _ => true,
            })
        }
        [a, "=" | "==", b] => a == b,
        [a, "!=", b] => a != b,
        [a, op, b] => {
            let (a, b): (i64, i64) = (a.parse().ok()?, b.parse().ok()?);
            match *op {
                "-eq" => a == b,
                "-ne" => a != b,
                "-lt" => a < b,
                "-le" => a <= b,
                "-gt" => a > b,
                "-ge" => a >= b,
                _ => return None,
            }
        }
        _ => return None,
    })
}
