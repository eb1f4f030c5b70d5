//! The state's rules in tables, each command checked before and after.

mod model;
mod random;

use super::*;
use crate::stack::wire::FsError::*;
use crate::stack::wire::master::Change;
use crate::stack::wire::{InodeId, MountOptions, UfsRef};

/// Applies changes one after the other, each a new operation, and checks after each.
struct Bench {
    state: State,
    index: u64,
}

impl Bench {
    fn new() -> Self {
        Self { state: State::new(8), index: 0 }
    }

    fn command(&mut self, command: &Command) -> Reply {
        self.index += 1;
        let before = self.state.clone();
        let reply = self.state.apply(self.index, command);
        assert_eq!(self.state.check(), Ok(()), "after {command}");
        if reply.result.is_err() {
            assert_eq!(self.state.tree.hash(), before.tree.hash(), "{command} failed but changed the tree");
            assert_eq!(self.state.blocks.hash(), before.blocks.hash(), "{command} failed but changed the blocks");
        }
        reply
    }

    fn change(&mut self, change: Change) -> Reply {
        let op = OpId { client: 1, seq: self.index + 1 };
        self.command(&Command::Change { op, wall_ms: 1000 + self.index, change })
    }

    fn mkdir(&mut self, path: &str) -> FsResult<Outcome> {
        self.change(Change::Mkdir { path: path.into(), recursive: false }).result
    }

    fn create(&mut self, path: &str) -> FsResult<InodeId> {
        match self.change(Change::Create { path: path.into(), block_size: 10 }).result? {
            Outcome::Info(info) => Ok(info.id),
            Outcome::Done => panic!("no info"),
        }
    }

    /// A completed file of `length` bytes in blocks of 10.
    fn file(&mut self, path: &str, length: u64) -> InodeId {
        let file = self.create(path).unwrap();
        for sequence in 0..length.div_ceil(10) {
            self.commit(file, sequence, (length - sequence * 10).min(10)).unwrap();
        }
        assert!(self.change(Change::Complete { file, length }).result.is_ok());
        file
    }

    fn commit(&mut self, file: InodeId, sequence: u64, length: u64) -> FsResult<Outcome> {
        self.command(&Command::CommitBlock { block: BlockId::new(file, sequence), length }).result
    }

    fn rename(&mut self, from: &str, to: &str) -> Reply {
        self.change(Change::Rename { from: from.into(), to: to.into() })
    }

    fn delete(&mut self, path: &str, recursive: bool) -> Reply {
        self.change(Change::Delete { path: path.into(), recursive })
    }

    fn mount(&mut self, path: &str, read_only: bool) -> FsResult<Outcome> {
        self.change(Change::Mount {
            path: path.into(),
            url: format!("https://m{path}"),
            read_only,
            options: MountOptions::default(),
        })
        .result
    }

    fn names(&self, path: &str) -> Vec<String> {
        self.state.list(path).unwrap().into_iter().map(|info| info.name).collect()
    }
}

fn s(text: &str) -> String {
    text.into()
}

#[test]
fn rename_answers_as_posix_does() {
    for (from, to, want) in [
        ("/f", "/new", Ok(Outcome::Done)),
        ("/f", "/g", Ok(Outcome::Done)),
        ("/f", "/f", Ok(Outcome::Done)),
        ("/f", "/empty", Err(IsADirectory(s("/empty")))),
        ("/d", "/f", Err(NotADirectory(s("/f")))),
        ("/d", "/empty", Ok(Outcome::Done)),
        ("/empty", "/d", Err(NotEmpty(s("/d")))),
        ("/d", "/d/e/x", Err(Invalid(s("/d/e/x lies below /d")))),
        ("/d/e", "/d", Err(NotEmpty(s("/d")))),
        ("/none", "/x", Err(NotFound(s("/none")))),
        ("/f", "/none/x", Err(NotFound(s("/none")))),
        ("/f", "/g/x", Err(NotADirectory(s("/g")))),
        ("/f/x", "/y", Err(NotADirectory(s("/f")))),
        ("/", "/x", Err(Busy(s("/")))),
        ("/f", "/", Err(Busy(s("/")))),
        ("/m", "/x", Err(Busy(s("/m")))),
        ("/empty", "/m", Err(Busy(s("/m")))),
        ("/above", "/x", Err(Busy(s("/above")))),
        ("/f", "/m/x", Err(CrossMount(s("/m/x")))),
        ("/m/f", "/x", Err(CrossMount(s("/x")))),
        ("/m/f", "/m/g", Ok(Outcome::Done)),
        ("/f", "relative", Err(Invalid(s("path \"relative\" is not absolute")))),
    ] {
        let mut bench = Bench::new();
        for dir in ["/d", "/d/e", "/empty", "/above"] {
            bench.mkdir(dir).unwrap();
        }
        bench.file("/f", 25);
        bench.file("/g", 5);
        bench.mount("/m", false).unwrap();
        bench.mount("/above/m", false).unwrap();
        bench.file("/m/f", 5);
        assert_eq!(bench.rename(from, to).result, want, "{from} -> {to}");
    }
}

#[test]
fn a_replaced_or_deleted_file_frees_its_blocks() {
    let mut bench = Bench::new();
    let old = bench.file("/old", 25);
    bench.file("/new", 5);
    let blocks: Vec<_> = (0..3).map(|n| BlockId::new(old, n)).collect();
    assert_eq!(bench.rename("/new", "/old").freed, blocks);
    bench.mkdir("/d").unwrap();
    let inner = bench.file("/d/f", 10);
    assert_eq!(bench.delete("/d", false).result, Err(NotEmpty(s("/d"))));
    let reply = bench.delete("/d", true);
    assert_eq!((reply.result, reply.freed), (Ok(Outcome::Done), vec![BlockId::new(inner, 0)]));
    assert_eq!(bench.names("/"), ["old"]);
    assert_eq!(bench.state.block_count(), 1);
}

#[test]
fn mkdir_create_and_delete_answer_as_posix_does() {
    let mkdir = |path: &str, recursive| Change::Mkdir { path: s(path), recursive };
    let create = |path: &str| Change::Create { path: s(path), block_size: 10 };
    let delete = |path: &str, recursive| Change::Delete { path: s(path), recursive };
    for (change, want) in [
        (mkdir("/new", false), None),
        (mkdir("/x/y/z", true), None),
        (mkdir("/x/y", false), Some(NotFound(s("/x")))),
        (mkdir("/d", false), Some(AlreadyExists(s("/d")))),
        (mkdir("/d", true), None),
        (mkdir("/", true), None),
        (mkdir("/", false), Some(AlreadyExists(s("/")))),
        (mkdir("/f", true), Some(AlreadyExists(s("/f")))),
        (mkdir("/f/x", true), Some(NotADirectory(s("/f")))),
        (mkdir("/ro/x", false), Some(ReadOnly(s("/ro/x")))),
        (mkdir("/ro", true), None),
        (mkdir("/ro/rw/x", false), None),
        (create("/new"), None),
        (create("/f"), Some(AlreadyExists(s("/f")))),
        (create("/d"), Some(AlreadyExists(s("/d")))),
        (create("/x/y"), Some(NotFound(s("/x")))),
        (create("/f/x"), Some(NotADirectory(s("/f")))),
        (create("/ro/x"), Some(ReadOnly(s("/ro/x")))),
        (Change::Create { path: s("/new"), block_size: 0 }, Some(Invalid(s("a block size of 0")))),
        (delete("/f", false), None),
        (delete("/d", false), Some(NotEmpty(s("/d")))),
        (delete("/d", true), None),
        (delete("/none", true), Some(NotFound(s("/none")))),
        (delete("/", true), Some(Busy(s("/")))),
        (delete("/ro", true), Some(Busy(s("/ro")))),
        (delete("/above", true), Some(Busy(s("/above")))),
        (delete("/ro/none", true), Some(NotFound(s("/ro/none")))),
    ] {
        let mut bench = Bench::new();
        for dir in ["/d", "/d/e", "/above"] {
            bench.mkdir(dir).unwrap();
        }
        bench.file("/f", 25);
        bench.mount("/ro", true).unwrap();
        bench.mount("/ro/rw", false).unwrap();
        bench.mount("/above/m", false).unwrap();
        assert_eq!(bench.change(change.clone()).result.err(), want, "{change:?}");
    }
}

#[test]
fn a_file_completes_once_and_only_with_all_its_blocks() {
    let mut bench = Bench::new();
    let file = bench.create("/f").unwrap();
    let complete = |bench: &mut Bench, file, length| bench.change(Change::Complete { file, length }).result;
    assert!(matches!(complete(&mut bench, file, 25), Err(Invalid(_))), "no block is committed");
    bench.commit(file, 0, 10).unwrap();
    bench.commit(file, 2, 5).unwrap();
    assert!(matches!(complete(&mut bench, file, 25), Err(Invalid(_))), "the middle is missing");
    bench.commit(file, 1, 9).unwrap();
    assert!(matches!(complete(&mut bench, file, 25), Err(Invalid(_))), "the middle is short");
    assert!(matches!(bench.commit(file, 1, 10), Err(Invalid(_))), "a known block cannot change its length");
    assert_eq!(bench.state.blocks("/f").unwrap().1.len(), 3, "while it is written, what is committed");
    let reply = bench.change(Change::Complete { file, length: 10 });
    assert_eq!(reply.freed, [BlockId::new(file, 1), BlockId::new(file, 2)], "blocks behind the end");
    let Ok(Outcome::Info(info)) = reply.result else { panic!("{reply:?}") };
    assert_eq!((info.length, info.completed, info.version), (10, true, bench.index));
    assert!(matches!(complete(&mut bench, file, 10), Err(Invalid(_))), "a second time");
    let empty = bench.create("/empty").unwrap();
    assert!(complete(&mut bench, empty, 0).is_ok());
    assert!(matches!(complete(&mut bench, InodeId(77), 0), Err(NotFound(_))));
    assert!(matches!(complete(&mut bench, InodeId(0), 0), Err(IsADirectory(_))));
    let huge = bench.create("/huge").unwrap();
    assert!(matches!(complete(&mut bench, huge, u64::MAX), Err(Invalid(_))));
}

#[test]
fn blocks_are_committed_where_they_fit() {
    let mut bench = Bench::new();
    let whole = bench.file("/f", 25);
    let open = bench.create("/open").unwrap();
    bench.mkdir("/d").unwrap();
    let dir = bench.state.stat("/d").unwrap().id;
    for (file, sequence, length, fits) in [
        (whole, 0, 10, true),
        (whole, 2, 5, true),
        (whole, 2, 6, false),
        (whole, 3, 1, false),
        (whole, 0, 0, false),
        (open, 0, 11, false),
        (open, 5, 10, true),
        (open, 5, 10, true),
        (open, 5, 9, false),
        (open, BlockId::SEQUENCE_MAX, 1, true),
        (open, BlockId::SEQUENCE_MAX + 1, 1, false),
        (dir, 0, 1, false),
    ] {
        assert_eq!(bench.commit(file, sequence, length).is_ok(), fits, "{file:?} {sequence} {length}");
    }
    let stray = BlockId::new(InodeId(99), 0);
    let reply = bench.command(&Command::CommitBlock { block: stray, length: 1 });
    assert!(matches!(reply.result, Err(Unknown(_))));
    assert_eq!(reply.freed, [stray], "its holder must drop it");
}

#[test]
fn a_retry_is_told_and_not_applied() {
    let mut bench = Bench::new();
    let op = OpId { client: 7, seq: 1 };
    let create = Command::Change { op, wall_ms: 5, change: Change::Create { path: s("/f"), block_size: 1 } };
    let first = bench.command(&create);
    assert_eq!(bench.state.recall(op).as_ref(), Some(&first));
    bench.rename("/f", "/g").result.unwrap();
    let again = bench.command(&create);
    assert_eq!(again, first, "index and answer of the first time");
    assert_eq!(bench.names("/"), ["g"]);
    let refused =
        Command::Change { op: OpId { client: 7, seq: 2 }, wall_ms: 5, change: Change::Unmount { path: s("/x") } };
    let first = bench.command(&refused);
    bench.mount("/x", false).unwrap();
    assert_eq!(bench.command(&refused), first, "a refusal too");
    for n in 0..8 {
        bench.mkdir(&format!("/d{n}")).unwrap();
    }
    assert_eq!(bench.state.recall(op), None, "the cache holds eight");
    assert_ne!(bench.command(&create).index, first.index);
}

#[test]
fn mounts_come_and_go() {
    let mut bench = Bench::new();
    bench.mkdir("/d").unwrap();
    bench.mkdir("/full").unwrap();
    bench.file("/full/f", 5);
    let unmount = |bench: &mut Bench, path: &str| bench.change(Change::Unmount { path: s(path) });
    for (path, want) in [
        ("/full", Err(NotEmpty(s("/full")))),
        ("/full/f", Err(NotADirectory(s("/full/f")))),
        ("/none/x", Err(NotFound(s("/none")))),
        ("/d", Ok(Outcome::Done)),
        ("/d", Err(AlreadyExists(s("/d")))),
        ("/d/inner", Ok(Outcome::Done)),
        ("/", Ok(Outcome::Done)),
        ("/", Err(AlreadyExists(s("/")))),
    ] {
        assert_eq!(bench.mount(path, false), want, "{path}");
    }
    let empty = Change::Mount { path: s("/e"), url: String::new(), read_only: true, options: MountOptions::default() };
    assert!(matches!(bench.change(empty).result, Err(Invalid(_))));
    assert_eq!(bench.state.mount_of("/d/x").unwrap().unwrap().0, "/d");
    let file = bench.file("/d/f", 10);
    assert_eq!(unmount(&mut bench, "/d").result, Err(Busy(s("/d"))));
    assert!(unmount(&mut bench, "/d/inner").result.is_ok());
    assert_eq!(unmount(&mut bench, "/d").freed, [BlockId::new(file, 0)]);
    assert!(matches!(unmount(&mut bench, "/d").result, Err(Invalid(_))));
    assert!(matches!(unmount(&mut bench, "/").result, Err(Invalid(_))));
    assert_eq!(bench.names("/"), ["full"]);
    assert_eq!(bench.state.mounts().count(), 1);
}

/// An under-store's file of 25 bytes, or its directory.
fn entry(name: &str, dir: bool, fingerprint: &str) -> UfsEntry {
    let ufs = UfsRef { url: format!("https://m/m/{name}"), fingerprint: fingerprint.into() };
    UfsEntry { name: name.into(), dir, length: 25, ufs, mtime_ms: Some(9) }
}

fn listing(dir: &str, url: &str, entries: Vec<UfsEntry>) -> Command {
    Command::LoadUfs(UfsListing { dir: dir.into(), url: url.into(), wall_ms: 5, block_size: 10, entries })
}

#[test]
fn a_listing_comes_in_once_and_a_new_version_is_a_new_file() {
    let mut bench = Bench::new();
    bench.mount("/m", true).unwrap();
    let next =
        |bench: &Bench, path: &str, listing| bench.state.unloaded(path, listing).unwrap().map(|u| (u.dir, u.url));
    assert_eq!(next(&bench, "/m", false), None);
    assert_eq!(next(&bench, "/m", true), Some((s("/m"), s("https://m/m"))));
    assert_eq!(next(&bench, "/m/d/f", false), Some((s("/m"), s("https://m/m"))));
    let load =
        listing("/m", "https://m/m", vec![entry("d", true, ""), entry("f", false, "v1"), entry("../x", false, "")]);
    assert_eq!(bench.command(&load).result, Ok(Outcome::Done));
    assert_eq!(bench.names("/m"), ["d", "f"], "what cannot be a name is passed over");
    assert_eq!(next(&bench, "/m/d/f", false), Some((s("/m/d"), s("https://m/m/d"))));
    assert_eq!(next(&bench, "/m/none", false), None);
    let old = bench.state.stat("/m/f").unwrap();
    assert_eq!((old.length, old.completed, old.mtime_ms), (25, true, 9));
    bench.commit(old.id, 2, 5).unwrap();
    let tree = bench.state.tree.hash();
    assert_eq!(bench.command(&load).freed, []);
    assert_eq!(bench.state.tree.hash(), tree, "again changes nothing");
    let changed = listing("/m", "https://m/m", vec![entry("f", false, "v2")]);
    assert_eq!(bench.command(&changed).freed, [BlockId::new(old.id, 2)]);
    assert_ne!(bench.state.stat("/m/f").unwrap().id, old.id, "an old block cannot be taken for a new one");
    assert_eq!(bench.names("/m"), ["d", "f"], "what the listing lacks stays");
}

#[test]
fn a_listing_never_overwrites_what_clients_wrote() {
    let mut bench = Bench::new();
    bench.mount("/m", false).unwrap();
    let mine = bench.file("/m/f", 3);
    let open = bench.create("/m/open").unwrap();
    bench.mkdir("/m/d").unwrap();
    bench.mkdir("/m/x").unwrap();
    bench.mount("/m/inner", true).unwrap();
    let entries = vec![
        entry("f", false, "v1"),
        entry("open", true, ""),
        entry("d", true, ""),
        entry("x", false, "v1"),
        entry("inner", true, ""),
        entry("inner", false, "v1"),
    ];
    let reply = bench.command(&listing("/m", "https://m/m", entries));
    assert_eq!((reply.result, reply.freed), (Ok(Outcome::Done), vec![]));
    assert_eq!(bench.state.stat("/m/f").unwrap().id, mine);
    assert_eq!(bench.state.stat("/m/open").unwrap().id, open);
    assert!(bench.state.stat("/m/x").unwrap().dir);
    assert_eq!(bench.state.stat("/m/inner").unwrap().ufs.unwrap().url, "https://m/m/inner");
    assert_eq!(bench.state.unloaded("/m/d", true).unwrap().unwrap().url, "https://m/m/d", "directories are merged");
    for (dir, url) in [("/m", "https://other"), ("/", "https://m/m"), ("/m/f", "https://m/m/f"), ("/none", "")] {
        assert!(bench.command(&listing(dir, url, vec![entry("n", false, "")])).result.is_err(), "{dir} {url}");
    }
}

#[test]
fn an_index_counts_once() {
    let mut bench = Bench::new();
    bench.mkdir("/d").unwrap();
    let hash = bench.state.state_hash();
    let delete = Change::Delete { path: s("/d"), recursive: false };
    let command = Command::Change { op: OpId { client: 9, seq: 9 }, wall_ms: 0, change: delete };
    for index in [0, 1] {
        assert!(bench.state.apply(index, &command).result.is_err());
    }
    assert_eq!(bench.state.state_hash(), hash);
    assert!(bench.state.apply(7, &command).result.is_ok());
}

#[test]
fn every_part_of_the_state_shows_in_its_hash() {
    let after = |op: u64, wall_ms, change: Change| {
        let mut bench = Bench::new();
        bench.file("/f", 25);
        bench.create("/open").unwrap();
        let op = OpId { client: 2, seq: op };
        bench.command(&Command::Change { op, wall_ms, change });
        bench.state
    };
    let mkdir = |path: &str| Change::Mkdir { path: s(path), recursive: false };
    let mount = |url: &str, read_only| Change::Mount {
        path: s("/m"),
        url: s(url),
        read_only,
        options: MountOptions::default(),
    };
    let block = |length| {
        let mut state = after(1, 1, mkdir("/d"));
        let file = state.stat("/open").unwrap().id;
        state.apply(state.applied() + 1, &Command::CommitBlock { block: BlockId::new(file, 0), length });
        state
    };
    let states = [
        after(1, 1, mkdir("/d")),
        after(1, 1, mkdir("/e")),
        after(2, 1, mkdir("/d")),
        after(1, 2, mkdir("/d")),
        after(1, 1, mkdir("/f")),
        after(2, 1, mkdir("/f")),
        after(1, 1, mount("https://m", true)),
        after(1, 1, mount("https://m", false)),
        after(1, 1, mount("https://n", false)),
        block(1),
        block(2),
        block(99),
    ];
    let mut hashes: Vec<_> = states.iter().map(State::state_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), states.len());
    assert_eq!(after(1, 1, mkdir("/d")).state_hash(), states[0].state_hash());
}
