//! Metadata from a backup, as a group of masters that has none yet begins with it.

use super::State;
use super::command::Outcome;
use super::tree::Tree;
use crate::stack::wire::{FsError, FsResult};

impl State {
    /// Whether nothing was ever made or mounted here.
    pub fn is_fresh(&self) -> bool {
        self.tree.next() == Tree::new().next() && self.mounts.iter().next().is_none()
    }

    /// Takes over what an image of another state holds. Offices and retries stay: they are this group's own. Every inode
    /// counts as changed now, since the index of its last change means nothing here.
    ///
    /// # Errors
    /// `Invalid` if there is anything here already, or the image is no state. Nothing is changed then.
    pub(super) fn restore(&mut self, index: u64, image: &[u8]) -> FsResult<Outcome> {
        if !self.is_fresh() {
            return Err(FsError::Invalid("a backup can be taken over by masters without metadata only".into()));
        }
        let Self { mut tree, mounts, blocks, wanted, .. } =
            Self::decode(image).map_err(|error| FsError::Invalid(error.to_string()))?;
        tree.stamp_all(index);
        (self.tree, self.mounts, self.blocks, self.wanted) = (tree, mounts, blocks, wanted);
        Ok(Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::master::state::Command;
    use crate::stack::wire::master::Change;
    use crate::stack::wire::{HiddenBytes, MountOptions, OpId};

    fn command(seq: u64, change: Change) -> Command {
        Command::Change { op: OpId { client: 1, seq }, wall_ms: 5, change }
    }

    fn lived() -> State {
        let mut state = State::new(10);
        let mount = Change::Mount {
            path: "/hbase".into(),
            url: "https://mirrors.example/hbase/".into(),
            read_only: true,
            options: MountOptions::default(),
        };
        let mkdir = Change::Mkdir { path: "/a/b".into(), recursive: true };
        for (index, change) in [(20, mount), (21, mkdir)] {
            assert!(state.apply(index, &command(index, change)).result.is_ok());
        }
        state
    }

    #[test]
    fn masters_without_metadata_begin_where_the_backup_ends() {
        let old = lived();
        let mut new = State::new(10);
        new.apply(1, &Command::Office { name: 7 });
        assert!(new.is_fresh());
        let restored = new.apply(2, &Command::Restore { image: HiddenBytes(old.encode()) });
        assert_eq!(restored.result, Ok(Outcome::Done));
        assert_eq!(new.check(), Ok(()));
        let paths = |state: &State| state.list("/").unwrap().into_iter().map(|info| info.name).collect::<Vec<_>>();
        assert_eq!(paths(&new), paths(&old));
        assert!(new.mounts().eq(old.mounts()));
        assert_eq!(new.stat("/a/b").unwrap().version, 2, "21 would be met again");
        assert_eq!(new.recall(OpId { client: 1, seq: 21 }), None, "operations are of a group of masters");
        assert_eq!(new.offices(), 1);
    }

    #[test]
    fn nothing_is_taken_over_in_place_of_something_else() {
        let mut state = lived();
        let before = state.state_hash();
        assert!(matches!(state.restore(30, &lived().encode()), Err(FsError::Invalid(_))));
        assert_eq!(state.state_hash(), before);
        let mut fresh = State::new(10);
        let image = lived().encode();
        for cut in [0, 3, 6, image.len() - 1] {
            assert!(matches!(fresh.restore(1, &image[..cut]), Err(FsError::Invalid(_))), "{cut}");
        }
        assert!(fresh.is_fresh());
    }

    #[test]
    fn masters_whose_files_were_all_deleted_begin_from_no_backup() {
        let mut state = State::new(10);
        let mkdir = Change::Mkdir { path: "/a".into(), recursive: false };
        let delete = Change::Delete { path: "/a".into(), recursive: true };
        for (index, change) in [(1, mkdir), (2, delete)] {
            assert!(state.apply(index, &command(index, change)).result.is_ok());
        }
        assert_eq!(state.inode_count(), 1);
        assert!(!state.is_fresh());
        assert!(state.restore(3, &lived().encode()).is_err());
    }
}
