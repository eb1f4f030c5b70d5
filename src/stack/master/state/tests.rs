//! The state's rules in tables, and the state against a naive model.

use super::*;
use crate::stack::wire::FsError::*;
use crate::stack::wire::InodeId;
use crate::stack::wire::master::Change;

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
        self.change(Change::Mount { path: path.into(), url: format!("https://m{path}"), read_only }).result
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
