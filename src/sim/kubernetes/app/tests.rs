//! The shell and its programs over files in memory.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use super::memory::Memory;
use super::{Captured, Io, Out, Shell};
use crate::stack::fuse::Errno;

const ENOTCONN: Errno = Errno(libc::ENOTCONN);

fn files() -> Memory {
    Memory::with(&[
        ("/data/hbase/CHANGES.md", &[b'c'; 3000]),
        ("/data/hbase/RELEASENOTES.md", b"notes\n"),
        ("/data/hbase/sub/deep.txt", b"deep"),
        ("/data/hbase/.hidden", b""),
        ("/etc/words", b"one\ntwo\nthree\n"),
        ("/script.sh", b"echo $1 $#\nexit 3\n"),
        ("/tmp/x y", b"spaced"),
    ])
}

fn block<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(future)
}

/// Code, output and errors of a script.
fn sh(files: &Memory, script: &str) -> (i32, String, String) {
    let (out, err) = (Captured::default(), Captured::default());
    let io = Io { out: Out::Captured(out.clone()), err: Out::Captured(err.clone()) };
    let env = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
    let mut shell = Shell::new(Arc::new(files.clone()), env);
    let words = ["sh", "-c", script].map(str::to_owned);
    let code = block(shell.run(&words, &io));
    assert_eq!(files.open_files(), 0, "{script} leaves files open");
    (code, out.text(), err.text())
}

fn table(rows: &[(&str, i32, &str, &str)]) {
    for (script, code, out, err) in rows {
        assert_eq!(sh(&files(), script), (*code, (*out).to_owned(), (*err).to_owned()), "{script}");
    }
}

#[test]
fn the_shell_runs_what_it_is_told() {
    table(&[
        ("", 0, "", ""),
        ("echo a b; echo -n c", 0, "a b\nc", ""),
        ("false || echo no; true && echo yes; false && echo never", 1, "no\nyes\n", ""),
        ("X='a  b'; echo $X \"$X\" '$X' $HOME ${X}c", 0, "a b a  b $X /root a bc\n", ""),
        ("X=1 true; echo [$X]", 0, "[]\n", ""),
        ("false; echo $?", 0, "1\n", ""),
        ("if [ 1 -lt 2 ]; then echo a; else echo b; fi", 0, "a\n", ""),
        ("if false; then echo a; elif true; then echo b; fi", 0, "b\n", ""),
        ("for f in a 'b c'; do echo \"<$f>\"; done", 0, "<a>\n<b c>\n", ""),
        ("while test ! -e /f; do echo > /f; echo once; done", 0, "once\n", ""),
        ("! false && echo ok", 0, "ok\n", ""),
        ("set -e; false; echo never", 1, "", ""),
        ("set -e; false || echo on; if false; then :; fi; echo end", 0, "on\nend\n", ""),
        ("echo a; exit 4; echo b", 4, "a\n", ""),
        ("sh -c 'exit 5'; echo $?", 0, "5\n", ""),
        ("sh -c 'echo $0 $1 $#' name one; sh; bash", 0, "name one 1\n", ""),
        ("sh /script.sh arg", 3, "arg 1\n", ""),
        ("nothere -x", 127, "", "sh: nothere: not found\n"),
        ("cd /data/hbase && pwd && cat RELEASENOTES.md", 0, "/data/hbase\nnotes\n", ""),
        ("cd /nowhere", 2, "", "sh: cd: can't cd to /nowhere: No such file or directory\n"),
        ("set -x; echo 'a b' c", 0, "a b c\n", "+ echo 'a b' c\n"),
        ("exec echo a; echo never", 0, "a\n", ""),
        ("a | b", 2, "", "sh: `|` is not supported by the simulated shell\n"),
    ]);
}

#[test]
fn output_goes_where_it_is_sent() {
    table(&[
        ("echo a > /tmp/f; echo b >> /tmp/f; cat /tmp/f; echo c > /tmp/f; cat /tmp/f", 0, "a\nb\nc\n", ""),
        ("ls /none > /tmp/f 2>&1; cat /tmp/f", 0, "ls: cannot access '/none': No such file or directory\n", ""),
        ("ls /none 2> /dev/null; echo gone > /dev/null", 0, "", ""),
        ("echo to-err >&2", 0, "", "to-err\n"),
        ("echo a > /none/f", 1, "", "sh: can't create /none/f: No such file or directory\n"),
    ]);
}

#[test]
fn patterns_become_names() {
    table(&[
        ("echo /data/hbase/*", 0, "/data/hbase/CHANGES.md /data/hbase/RELEASENOTES.md /data/hbase/sub\n", ""),
        ("echo /data/*/*.md '/data/*'", 0, "/data/hbase/CHANGES.md /data/hbase/RELEASENOTES.md /data/*\n", ""),
        ("cd /data/hbase; echo R* s?b/* none*", 0, "RELEASENOTES.md sub/deep.txt none*\n", ""),
        ("echo /data/*/sub /data/*/nothing", 0, "/data/hbase/sub /data/*/nothing\n", ""),
    ]);
}

#[test]
fn programs_print_what_coreutils_print() {
    let long = "total 4\n-rw-r--r-- 1 root root 3000 Jan  1  1970 CHANGES.md\n\
                -rw-r--r-- 1 root root    6 Jan  1  1970 RELEASENOTES.md\ndrwxr-xr-x 2 root root    0 Jan  1  1970 sub\n";
    table(&[
        ("ls -1 /data/hbase", 0, "CHANGES.md\nRELEASENOTES.md\nsub\n", ""),
        ("ls -a /data/hbase/sub", 0, ".\n..\ndeep.txt\n", ""),
        ("ls -l /data/hbase", 0, long, ""),
        ("ls /etc /data/hbase/sub /script.sh", 0, "/script.sh\n\n/data/hbase/sub:\ndeep.txt\n\n/etc:\nwords\n", ""),
        ("ls /none /etc", 2, "/etc:\nwords\n", "ls: cannot access '/none': No such file or directory\n"),
        ("ls -Z /", 2, "", "ls: invalid option -- 'Z'\n"),
        (
            "du -h /data/hbase/*",
            0,
            "3.0K\t/data/hbase/CHANGES.md\n512\t/data/hbase/RELEASENOTES.md\n512\t/data/hbase/sub\n",
            "",
        ),
        ("du -s /data; du -sc /etc /data", 0, "4\t/data\n1\t/etc\n4\t/data\n5\ttotal\n", ""),
        ("du /none", 1, "", "du: cannot access '/none': No such file or directory\n"),
        ("cat /etc/words '/tmp/x y'", 0, "one\ntwo\nthree\nspaced", ""),
        ("cat /etc", 1, "", "cat: /etc: Is a directory\n"),
        (
            "md5sum /etc/words /dev/null",
            0,
            "deed54b823522e0525693b090363f9df  /etc/words\nd41d8cd98f00b204e9800998ecf8427e  /dev/null\n",
            "",
        ),
        ("tail -n 2 /etc/words", 0, "two\nthree\n", ""),
        ("mkdir /a/b", 1, "", "mkdir: cannot create directory '/a/b': No such file or directory\n"),
        ("mkdir -p /a/b/c; mkdir /a; ls /a", 0, "b\n", "mkdir: cannot create directory '/a': File exists\n"),
        ("rm /etc", 1, "", "rm: cannot remove '/etc': Is a directory\n"),
        ("rm -r /etc /data; rm -f /none; ls /", 0, "script.sh\ntmp\n", ""),
        ("rm /none", 1, "", "rm: cannot remove '/none': No such file or directory\n"),
        ("stat -c '%n %s %F' /etc /etc/words", 0, "/etc 0 directory\n/etc/words 14 regular file\n", ""),
        ("stat /none", 1, "", "stat: cannot statx '/none': No such file or directory\n"),
        ("touch /tmp/t; ls /tmp; rmdir /tmp", 1, "t\nx y\n", "rmdir: failed to remove '/tmp': Directory not empty\n"),
        ("mv /etc/words /tmp; ls /etc /tmp", 0, "/etc:\n\n/tmp:\nwords\nx y\n", ""),
        ("cp /data /copy", 1, "", "cp: -r not specified; omitting directory '/data'\n"),
        ("cp /a", 1, "", "cp: missing destination file operand after '/a'\n"),
        (
            "cp -r /data /data/hbase/sub",
            1,
            "",
            "cp: cannot copy a directory, '/data', into itself, '/data/hbase/sub/data'\n",
        ),
    ]);
}

#[test]
fn a_tree_is_copied_byte_by_byte() {
    let files = files();
    assert_eq!(sh(&files, "cp -r /data/hbase ./").0, 0);
    for name in ["CHANGES.md", "RELEASENOTES.md", "sub/deep.txt", ".hidden"] {
        let (from, to) = (files.content(&format!("/data/hbase/{name}")), files.content(&format!("/hbase/{name}")));
        assert!(from.is_some() && from == to, "{name}");
    }
    assert_eq!(sh(&files, "cp /etc/words /new && md5sum /new").1.len(), 32 + 2 + 5);
}

#[test]
fn a_dead_fuse_is_said_once_per_operand() {
    let files = files();
    files.break_at("/data", ENOTCONN);
    for (script, code, err) in [
        ("ls /data", 2, "ls: cannot access '/data': Transport endpoint is not connected\n"),
        ("cat /data/x", 1, "cat: /data/x: Transport endpoint is not connected\n"),
        ("du -h /data/hbase/*", 1, "du: cannot access '/data/hbase/*': Transport endpoint is not connected\n"),
        ("cp -r /data/hbase ./", 1, "cp: cannot stat '/data/hbase': Transport endpoint is not connected\n"),
    ] {
        assert_eq!(sh(&files, script), (code, String::new(), err.to_owned()), "{script}");
    }
    files.break_at("/data", Errno::EROFS);
    assert_eq!(sh(&files, "touch /data/f").2, "touch: cannot touch '/data/f': Read-only file system\n");
}

#[test]
fn time_is_the_worlds() {
    let (code, out, err) = sh(&files(), "set -x; time sleep 41.21");
    assert_eq!((code, out.as_str()), (0, ""));
    assert!(err.starts_with("+ time sleep 41.21\nreal\t0m 41.2"), "{err}");
    assert!(err.ends_with("user\t0m 0.00s\nsys\t0m 0.00s\n"), "{err}");
}

#[test]
fn dd_counts_blocks() {
    let files = files();
    let (code, _, err) = sh(&files, "dd if=/dev/zero of=/zeros bs=1k count=3");
    assert_eq!((code, files.content("/zeros")), (0, Some(vec![0; 3072])));
    assert!(err.starts_with("3+0 records in\n3+0 records out\n3072 bytes copied"), "{err}");
}
