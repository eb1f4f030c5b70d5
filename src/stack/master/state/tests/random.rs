//! Random histories: the state against the naive model, against its own snapshot, and against hostile input.

use proptest::prelude::*;
use proptest::sample::select;

use super::model::Model;
use super::*;

/// One step of a history. Names and sizes are few, so that steps meet.
#[derive(Debug, Clone)]
enum Step {
    Change(Change),
    /// Makes, writes and completes a file: several steps.
    File(String, u64),
    /// Completes whatever is at the path.
    Complete(String, u64),
    /// Commits a block of whatever is at the path.
    Commit(String, u64, u64),
    /// Lists the under-store that the directory at the path stands for.
    Load(String, Vec<(String, bool, u64)>),
    /// Sends the command of so many steps ago again.
    Again(usize),
    /// Goes through a snapshot.
    Snapshot,
}

const RETRIES: usize = 4;

fn path() -> impl Strategy<Value = String> {
    let name = || select(vec!["a", "b", "c"]);
    prop_oneof![
        3 => name().prop_map(|a| format!("/{a}")),
        5 => (name(), name()).prop_map(|(a, b)| format!("/{a}/{b}")),
        3 => (name(), name(), name()).prop_map(|(a, b, c)| format!("/{a}/{b}/{c}")),
        1 => select(vec!["/", "", "a", "/a/", "/a/../b"]).prop_map(String::from),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let flag = any::<bool>;
    let url = || select(vec!["https://m", "https://n", ""]).prop_map(String::from);
    prop_oneof![
        4 => (path(), flag()).prop_map(|(path, recursive)| Change::Mkdir { path, recursive }),
        4 => (path(), 0u64..4).prop_map(|(path, block_size)| Change::Create { path, block_size }),
        4 => (path(), path()).prop_map(|(from, to)| Change::Rename { from, to }),
        2 => (path(), flag()).prop_map(|(path, recursive)| Change::Delete { path, recursive }),
        1 => (path(), url(), prop::bool::weighted(0.2)).prop_map(|(path, url, read_only)| Change::Mount { path, url, read_only, options: MountOptions::default() }),
        1 => path().prop_map(|path| Change::Unmount { path }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let entry = || (select(vec!["a", "b", "c"]).prop_map(String::from), any::<bool>(), 0u64..6);
    prop_oneof![
        16 => change().prop_map(Step::Change),
        6 => (path(), 0u64..7).prop_map(|(path, length)| Step::File(path, length)),
        4 => (path(), 0u64..7).prop_map(|(path, length)| Step::Complete(path, length)),
        6 => (path(), 0u64..4, 0u64..4).prop_map(|(path, sequence, length)| Step::Commit(path, sequence, length)),
        4 => (path(), prop::collection::vec(entry(), 0..4)).prop_map(|(path, entries)| Step::Load(path, entries)),
        3 => (1usize..8).prop_map(Step::Again),
        1 => Just(Step::Snapshot),
    ]
}

/// The command that a step means in this state.
fn command(state: &State, index: u64, step: &Step, sent: &[Command]) -> Option<Command> {
    let change = |change| {
        let op = OpId { client: 1, seq: index };
        Some(Command::Change { op, wall_ms: index * 10, change })
    };
    let id = |path: &String| state.stat(path).map_or(InodeId(500), |info| info.id);
    match step {
        Step::Change(c) => change(c.clone()),
        Step::Complete(path, length) => change(Change::Complete { file: id(path), length: *length }),
        Step::Commit(path, sequence, length) => {
            Some(Command::CommitBlock { block: BlockId::new(id(path), *sequence), length: *length })
        }
        Step::Load(path, entries) => {
            let url = state.stat(path).ok().and_then(|info| info.ufs).map_or(s("https://?"), |ufs| ufs.url);
            let entry = |(name, dir, length): &(String, bool, u64)| UfsEntry {
                name: name.clone(),
                dir: *dir,
                length: if *dir { 0 } else { *length },
                ufs: UfsRef { url: format!("{url}/{name}"), fingerprint: format!("v{length}") },
                mtime_ms: (length % 2 == 0).then_some(*length),
            };
            let entries = entries.iter().map(entry).collect();
            Some(Command::LoadUfs(UfsListing { dir: path.clone(), url, wall_ms: index, block_size: 2, entries }))
        }
        Step::Again(ago) => sent.len().checked_sub(*ago).map(|at| sent[at].clone()),
        Step::Snapshot | Step::File(..) => None,
    }
}

/// The steps that a step stands for.
fn expand(step: &Step) -> Vec<Step> {
    let Step::File(path, length) = step else {
        return vec![step.clone()];
    };
    let mut steps = vec![Step::Change(Change::Create { path: path.clone(), block_size: 2 })];
    steps.extend((0..length.div_ceil(2)).map(|n| Step::Commit(path.clone(), n, (length - n * 2).min(2))));
    steps.push(Step::Complete(path.clone(), *length));
    steps
}

fn agree(state: &State, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(state.inode_count(), model.nodes.len());
    for (path, node) in &model.nodes {
        prop_assert_eq!(&state.stat(path), &Ok(node.info.clone()), "{}", path);
        let waits = node.info.dir && !node.loaded && node.info.ufs.is_some();
        prop_assert_eq!(state.unloaded(path, true).unwrap().is_some(), waits, "{}", path);
        let parent = if path == "/" { "" } else { path };
        let children = model.nodes.iter().filter(|(other, _)| {
            other
                .strip_prefix(parent)
                .and_then(|rest| rest.strip_prefix('/'))
                .is_some_and(|n| !n.is_empty() && !n.contains('/'))
        });
        let children: Vec<_> = children.map(|(_, node)| node.info.clone()).collect();
        prop_assert_eq!(state.list(path).unwrap_or_default(), children, "{}", path);
    }
    prop_assert_eq!(state.blocks.iter().collect::<Vec<_>>(), model.blocks.clone().into_iter().collect::<Vec<_>>());
    let mounts: Vec<_> = state.mounts().map(|(p, m)| (s(p), (m.url.clone(), m.read_only))).collect();
    prop_assert_eq!(mounts, model.mounts.clone().into_iter().collect::<Vec<_>>());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_history_goes_as_the_model_says(steps in prop::collection::vec(step(), 1..60)) {
        let (mut state, mut model) = (State::new(RETRIES), Model::new(RETRIES));
        let mut twin = state.clone();
        let mut sent = Vec::new();
        for (index, step) in (1u64..).zip(steps.iter().flat_map(expand)) {
            let Some(command) = command(&state, index, &step, &sent) else {
                let bytes = state.encode();
                state = State::decode(&bytes).unwrap();
                prop_assert_eq!(state.encode(), bytes);
                prop_assert_eq!(state.state_hash(), twin.state_hash());
                continue;
            };
            let (got, mut want) = (state.apply(index, &command), model.apply(index, &command));
            let mut freed = got.clone();
            freed.freed.sort_unstable();
            want.freed.sort_unstable();
            prop_assert_eq!(freed, want, "{}", command);
            prop_assert_eq!(state.check(), Ok(()), "after {}", command);
            prop_assert_eq!(twin.apply(index, &command), got);
            prop_assert_eq!(twin.state_hash(), state.state_hash());
            agree(&state, &model)?;
            sent.push(command);
        }
    }

    #[test]
    fn hostile_commands_are_answered_and_do_no_harm(commands in prop::collection::vec(hostile(), 1..20)) {
        let mut state = State::new(2);
        for (index, command) in (1u64..).zip(commands) {
            let reply = state.apply(index, &command);
            prop_assert!(reply.index <= index);
            prop_assert_eq!(state.check(), Ok(()), "after {}", command);
        }
    }

    #[test]
    fn damaged_snapshots_are_refused_or_whole(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = small().encode();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(state) = State::decode(&bytes) {
            prop_assert_eq!(state.check(), Ok(()));
        }
    }
}

/// Texts, ids and sizes that no honest client sends.
fn hostile() -> impl Strategy<Value = Command> {
    let text =
        || prop_oneof![".{0,12}", "(/[ab.]{0,2}){0,4}", Just("/x".repeat(3000)), Just(format!("/{}", "y".repeat(300)))];
    let number = || prop_oneof![0u64..4, Just(u64::MAX), Just(1 << 40), Just((1 << 24) - 1), any::<u64>()];
    let change = prop_oneof![
        (text(), any::<bool>()).prop_map(|(path, recursive)| Change::Mkdir { path, recursive }),
        (text(), number()).prop_map(|(path, block_size)| Change::Create { path, block_size }),
        (number(), number()).prop_map(|(file, length)| Change::Complete { file: InodeId(file), length }),
        (text(), text()).prop_map(|(from, to)| Change::Rename { from, to }),
        (text(), any::<bool>()).prop_map(|(path, recursive)| Change::Delete { path, recursive }),
        (text(), text(), any::<bool>()).prop_map(|(path, url, read_only)| Change::Mount {
            path,
            url,
            read_only,
            options: MountOptions::default()
        }),
        text().prop_map(|path| Change::Unmount { path }),
    ];
    let entry = (text(), any::<bool>(), number(), text()).prop_map(|(name, dir, length, url)| UfsEntry {
        name: name.replace('/', ""),
        dir,
        length,
        ufs: UfsRef { url, fingerprint: String::new() },
        mtime_ms: None,
    });
    let listing = (text(), text(), number(), prop::collection::vec(entry, 0..3));
    prop_oneof![
        6 => (number(), change).prop_map(|(seq, change)| Command::Change { op: OpId { client: 0, seq }, wall_ms: seq, change }),
        1 => (number(), number()).prop_map(|(block, length)| Command::CommitBlock { block: BlockId(block), length }),
        2 => listing.prop_map(|(dir, url, block_size, entries)| Command::LoadUfs(UfsListing { dir, url, wall_ms: 0, block_size, entries })),
    ]
}

/// A state with something of everything.
fn small() -> State {
    let mut bench = Bench::new();
    bench.mkdir("/d").unwrap();
    bench.file("/d/f", 25);
    bench.mount("/m", true).unwrap();
    bench.command(&listing("/m", "https://m/m", vec![entry("d", true, ""), entry("f", false, "v1")]));
    bench.create("/open").unwrap();
    bench.state
}

#[test]
fn foreign_bytes_are_no_snapshot() {
    let bytes = small().encode();
    assert!(State::decode(&bytes).is_ok());
    assert_eq!(State::decode(b"").unwrap_err(), DecodeError::Foreign);
    assert_eq!(State::decode(b"SGst").unwrap_err(), DecodeError::Foreign);
    let mut newer = bytes.clone();
    newer[4] = 9;
    assert_eq!(State::decode(&newer).unwrap_err(), DecodeError::Version(9));
    let mut longer = bytes;
    longer.push(0);
    assert!(matches!(State::decode(&longer), Err(DecodeError::Malformed(_))));
}
