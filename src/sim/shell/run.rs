//! Running a [`Line`]: variables are put in, one simple command after the other is given to a [`Runner`].
//!
//! As in bash: an unquoted value is split at white space and disappears if it is empty; `$(…)` sees standard output only,
//! without the line feeds at its end; a pipeline's exit code is that of its last program; `name=$(…)` has that of `…`.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use super::{Join, Line, Piece, Pipeline, Simple, Word};
use crate::base::lock;

/// Variables of a user's shell. They outlive a line.
pub type Variables = Mutex<BTreeMap<String, String>>;

/// Where a piece of output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error: never in a pipe or a variable.
    Err,
}

/// Takes output as it comes.
pub type Output<'a> = &'a (dyn Fn(Stream, &str) + Send + Sync);

/// Runs one simple command.
pub trait Runner: Send + Sync {
    /// Runs it to its end and gives its exit code. The first word is the program.
    fn run<'a>(&'a self, words: Vec<String>, output: Output<'a>) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>>;
}

/// A future that may call itself.
type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs a line and gives its exit code.
pub fn run<'a>(line: &'a Line, shell: &'a dyn Runner, variables: &'a Variables, output: Output<'a>) -> Later<'a, u8> {
    Box::pin(async move {
        let mut status = 0;
        for (join, part) in &line.0 {
            let due = match join {
                Join::Always => true,
                Join::IfDone => status == 0,
                Join::IfFailed => status != 0,
            };
            if due {
                status = pipeline(part, shell, variables, output).await;
            }
        }
        status
    })
}

async fn pipeline(part: &Pipeline, shell: &dyn Runner, variables: &Variables, output: Output<'_>) -> u8 {
    if part.filters.is_empty() {
        return simple(&part.head, shell, variables, output).await;
    }
    let text = Mutex::new(String::new());
    let collect = collector(&text, output);
    let mut status = simple(&part.head, shell, variables, &collect).await;
    let mut passed = std::mem::take(&mut *lock(&text));
    for filter in &part.filters {
        (passed, status) = filter.apply(&passed);
    }
    output(Stream::Out, &passed);
    status
}

/// Keeps standard output, lets the rest through.
fn collector<'a>(text: &'a Mutex<String>, output: Output<'a>) -> impl Fn(Stream, &str) + Send + Sync + 'a {
    move |stream, piece| match stream {
        Stream::Out => lock(text).push_str(piece),
        Stream::Err => output(stream, piece),
    }
}

async fn simple(command: &Simple, shell: &dyn Runner, variables: &Variables, output: Output<'_>) -> u8 {
    match command {
        Simple::Set(set) => {
            let mut status = 0;
            for (name, word) in set {
                let (parts, ended) = expand(word, shell, variables, output).await;
                let whole: String = parts.into_iter().map(|(text, _)| text).collect();
                status = ended.unwrap_or(status);
                lock(variables).insert(name.clone(), whole);
            }
            status
        }
        Simple::Program { name, words, .. } => {
            let mut all = vec![name.clone()];
            for word in words {
                let (parts, _) = expand(word, shell, variables, output).await;
                all.extend(split(&parts));
            }
            shell.run(all, output).await
        }
    }
}

/// The pieces of a word with their values, each with whether it is to be split; and the exit code of the last `$(…)`.
async fn expand(
    word: &Word,
    shell: &dyn Runner,
    variables: &Variables,
    output: Output<'_>,
) -> (Vec<(String, bool)>, Option<u8>) {
    let (mut parts, mut status) = (Vec::new(), None);
    for piece in &word.0 {
        match piece {
            Piece::Text(text) => parts.push((text.clone(), false)),
            Piece::Variable { name, quoted } => {
                let value = lock(variables).get(name).cloned().unwrap_or_default();
                parts.push((value, !quoted));
            }
            Piece::Output { line, quoted } => {
                let text = Mutex::new(String::new());
                let collect = collector(&text, output);
                // A shell of its own: what it sets is gone with it.
                let own = Mutex::new(lock(variables).clone());
                status = Some(run(line, shell, &own, &collect).await);
                let text = lock(&text).trim_end_matches('\n').to_owned();
                parts.push((text, !quoted));
            }
        }
    }
    (parts, status)
}

/// The arguments that a word becomes.
fn split(parts: &[(String, bool)]) -> Vec<String> {
    let (mut words, mut open): (Vec<String>, Option<String>) = (Vec::new(), None);
    for (text, splits) in parts {
        if !splits {
            open.get_or_insert_default().push_str(text);
            continue;
        }
        if text.starts_with(char::is_whitespace) {
            words.extend(open.take());
        }
        for (i, word) in text.split_whitespace().enumerate() {
            if i > 0 {
                words.extend(open.take());
            }
            open.get_or_insert_default().push_str(word);
        }
        if text.ends_with(char::is_whitespace) {
            words.extend(open.take());
        }
    }
    words.extend(open);
    words
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// Prints its arguments in brackets; `fail` ends with 3, `say` prints them bare, `both` on two streams.
    struct Double;

    impl Runner for Double {
        fn run<'a>(&'a self, words: Vec<String>, output: Output<'a>) -> Pin<Box<dyn Future<Output = u8> + Send + 'a>> {
            Box::pin(async move {
                match words[0].as_str() {
                    "fail" => output(Stream::Err, "failed\n"),
                    "say" => output(Stream::Out, &format!("{}\n\n", words[1..].join(" "))),
                    "both" => {
                        output(Stream::Out, "out\n");
                        output(Stream::Err, "err\n");
                    }
                    _ => output(Stream::Out, &format!("[{}]\n", words.join("|"))),
                }
                if words[0] == "fail" { 3 } else { 0 }
            })
        }
    }

    fn type_lines(lines: &[&str]) -> (String, u8) {
        let (screen, variables) = (Mutex::new(String::new()), Variables::default());
        let mut status = 0;
        for line in lines {
            let line: Line = line.parse().unwrap_or_else(|error| panic!("{line}: {error}"));
            let print = |_, text: &str| lock(&screen).push_str(text);
            let mut running = run(&line, &Double, &variables, &print);
            let Poll::Ready(code) = running.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("the double never waits")
            };
            status = code;
        }
        let screen = lock(&screen).clone();
        (screen, status)
    }

    #[test]
    fn lines_do_what_bash_does() {
        let table: [(&[&str], &str, u8); 22] = [
            (&["a b"], "[a|b]\n", 0),
            (&["a && b"], "[a]\n[b]\n", 0),
            (&["fail && b"], "failed\n", 3),
            (&["fail; b"], "failed\n[b]\n", 0),
            (&["fail || b"], "failed\n[b]\n", 0),
            (&["fail && b || c"], "failed\n[c]\n", 0),
            (&["a || b && c"], "[a]\n[c]\n", 0),
            (&["x=1", "a $x ${x}2 '$x' \"$x\""], "[a|1|12|$x|1]\n", 0),
            (&["a $none b \"$none\""], "[a|b|]\n", 0),
            (&["x='1 2'; a $x \"$x\" p${x}q"], "[a|1|2|1 2|p1|2q]\n", 0),
            (&["x=$(say 1 2); a $x \"$x\""], "[a|1|2|1 2]\n", 0),
            (&["x=$(both)", "a $x"], "err\n[a|out]\n", 0),
            (&["x=$(fail)"], "failed\n", 3),
            (&["x=$(fail) || a no"], "failed\n[a|no]\n", 0),
            (&["x=$(fail); a \"$x\""], "failed\n[a|]\n", 0),
            (&["x=1; y=$(x=2; say $x); a $x $y"], "[a|1|2]\n", 0),
            (&["both | grep out"], "err\nout\n", 0),
            (&["both | grep err && a"], "err\n", 1),
            (&["fail | wc -l"], "failed\n0\n", 0),
            (&["n=$(say 'm-0 1/1 a' | awk '/m-0/ {print $3}'); taint node $n k=v:E"], "[taint|node|a|k=v:E]\n", 0),
            (&["x=' 1 '; a p${x}q"], "[a|p|1|q]\n", 0),
            (&["a \"$(say \"$(say in)\")\""], "[a|in]\n", 0),
        ];
        for (lines, screen, status) in table {
            assert_eq!(type_lines(lines), (screen.to_owned(), status), "{lines:?}");
        }
    }
}
