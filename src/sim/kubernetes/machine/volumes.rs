//! The machine's kernel as volumes need it: the mount table over the world's disks.
//!
//! Binds are lines of the table only; a device and memory are disks that the world shows at the target of their first mount.

use std::collections::BTreeMap;
use std::io;

use super::{Machine, Spot};
use crate::base::lock;
use crate::kube::csi::host::{FileBytes, Mounted, VolumeHost};
use crate::kube::csi::mount::{FileSystem, Mount, MountError, is_within};
use crate::rt::backend::FileKind;
use crate::rt::fs;
use crate::rt::time::sleep;
use crate::sim::kubernetes::desk::Medium;

fn refused(path: &str, error: &io::Error) -> MountError {
    match error.kind() {
        io::ErrorKind::NotFound => MountError::NotFound(path.into()),
        _ => MountError::Io(path.into()),
    }
}

impl Machine {
    /// The path on the node's disks; behind a fuse there is none.
    fn on_disk(&self, path: &str) -> Result<String, MountError> {
        match self.find(path) {
            Ok(Spot::Disk(path)) => Ok(path),
            Ok(Spot::Fuse(..)) => Err(MountError::Io(path.into())),
            Err(_) => Err(MountError::NotConnected(path.into())),
        }
    }

    async fn show(&self, file_system: FileSystem, target: &str, medium: Medium) -> Result<(), MountError> {
        self.desk.mount(self.id.host, target, medium).await?;
        lock(&self.state).shown.insert(file_system, target.into());
        Ok(())
    }
}

/// Removes what is there, directories with all that they hold.
async fn remove(path: &str) -> io::Result<()> {
    match fs::metadata(path).await {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(found) if found.kind == FileKind::File => return fs::remove_file(path).await,
        Ok(_) => {}
    }
    for (name, _) in fs::read_dir(path).await? {
        Box::pin(remove(&format!("{}/{name}", path.trim_end_matches('/')))).await?;
    }
    fs::remove_dir(path).await
}

impl VolumeHost for Machine {
    fn mounts(&self) -> Mounted<'_, Vec<(Mount, bool)>> {
        Box::pin(async {
            let state = lock(&self.state);
            let table = &state.table;
            Ok(table.mounts().iter().map(|mount| (mount.clone(), table.answers(&mount.place.fs))).collect())
        })
    }

    fn mount_device(&self, device: String, target: String, read_only: bool) -> Mounted<'_, ()> {
        Box::pin(async move {
            let machine = &self.id.node;
            let attached = self.cloud.with(|disks, now| {
                disks.disks(now).get(&device).is_some_and(|disk| disk.attached.as_ref() == Some(machine))
            });
            if !attached {
                return Err(MountError::NotFound(device));
            }
            let file_system = FileSystem::Device(device.clone());
            if !lock(&self.state).shown.contains_key(&file_system) {
                self.show(file_system.clone(), &target, Medium::Volume(device)).await?;
            }
            lock(&self.state).table.mount(file_system, &target, read_only);
            Ok(())
        })
    }

    fn mount_tmpfs(&self, target: String, limit: Option<u64>) -> Mounted<'_, ()> {
        Box::pin(async move {
            let id = lock(&self.state).table.fresh();
            let file_system = FileSystem::Tmpfs { id, limit };
            self.show(file_system.clone(), &target, Medium::Memory(limit)).await?;
            lock(&self.state).table.mount(file_system, &target, false);
            Ok(())
        })
    }

    fn bind(&self, source: String, target: String, read_only: bool) -> Mounted<'_, ()> {
        Box::pin(async move {
            sleep(self.times.mount).await;
            lock(&self.state).table.bind(&source, &target, read_only).map(drop)
        })
    }

    fn unmount(&self, target: String) -> Mounted<'_, ()> {
        Box::pin(async move {
            sleep(self.times.mount).await;
            let gone = {
                let mut state = lock(&self.state);
                let top = state.table.at(&target).last().map(|mount| mount.place.fs.clone());
                state.table.unmount(&target)?;
                let used = |fs: &FileSystem| state.table.mounts().iter().any(|mount| mount.place.fs == *fs);
                let gone = top.filter(|fs| !used(fs));
                gone.and_then(|fs| state.shown.remove(&fs))
            };
            match gone {
                Some(at) => self.desk.unmount(self.id.host, &at).await,
                None => Ok(()),
            }
        })
    }

    fn make_dir(&self, path: String) -> Mounted<'_, ()> {
        Box::pin(async move {
            let real = self.on_disk(&path)?;
            fs::create_dir_all(&real).await.map_err(|error| refused(&path, &error))
        })
    }

    fn exists(&self, path: String) -> Mounted<'_, bool> {
        Box::pin(async move {
            let real = self.on_disk(&path)?;
            match fs::metadata(&real).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
                Err(error) => Err(refused(&path, &error)),
            }
        })
    }

    fn remove_tree(&self, path: String) -> Mounted<'_, ()> {
        Box::pin(async move {
            if lock(&self.state).table.mounts().iter().any(|mount| is_within(&mount.target, &path)) {
                return Err(MountError::Busy(path));
            }
            let real = self.on_disk(&path)?;
            remove(&real).await.map_err(|error| refused(&path, &error))
        })
    }

    fn write_files(&self, dir: String, files: BTreeMap<String, FileBytes>) -> Mounted<'_, ()> {
        Box::pin(async move {
            let real = self.on_disk(&dir)?;
            for (name, bytes) in files {
                let path = format!("{}/{name}", real.trim_end_matches('/'));
                let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
                let aside = format!("{path}.new");
                let written = async {
                    fs::create_dir_all(parent).await?;
                    fs::write(&aside, &bytes.0).await?;
                    fs::rename(&aside, &path).await
                };
                written.await.map_err(|error| refused(&dir, &error))?;
            }
            Ok(())
        })
    }
}
