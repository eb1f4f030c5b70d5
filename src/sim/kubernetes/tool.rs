//! The cache's command line in the pod of an operation, on the stack's own client.
//!
//! Differs: a block is cached once, so more than one copy is refused.

use std::sync::Arc;

use super::images::Launch;
use crate::kube::fluid::probe::{Answer, Content, ProbeError};
use crate::kube::fluid::tool::CacheTool;
use crate::rt::fs;
use crate::sim::kubernetes::probe::count;
use crate::stack::client::{ClientOptions, FileSystemClient};
use crate::stack::fuse::{Errno, Fuse, FuseOptions};
use crate::stack::ufs::Stores;
use crate::stack::wire::FsError;

/// Bytes asked for at once while loading.
const PIECE: u64 = 1 << 20;

/// A client in a container.
pub struct ClientTool {
    fuse: Fuse,
    launch: Launch,
}

fn failed(command: &str, message: impl ToString) -> ProbeError {
    ProbeError::Failed { command: command.into(), message: message.to_string() }
}

impl ClientTool {
    /// A client of the masters that `options` name, in the container of `launch`.
    pub fn new(options: ClientOptions, launch: Launch) -> Self {
        let client = Arc::new(FileSystemClient::new(options));
        let store = Arc::new(Stores::new(crate::sim::cluster::web_options()));
        Self { fuse: Fuse::new(client, store, FuseOptions::default()), launch }
    }

    fn client(&self) -> &FileSystemClient {
        self.fuse.client()
    }

    /// All files at or below `path`, in order.
    async fn files(&self, path: &str) -> Result<Vec<String>, FsError> {
        let (mut found, mut todo) = (Vec::new(), vec![path.to_owned()]);
        while let Some(path) = todo.pop() {
            if !self.client().stat(&path, self.client().deadline()).await?.dir {
                found.push(path);
                continue;
            }
            let entries = self.client().list(&path, self.client().deadline()).await?;
            todo.extend(entries.into_iter().map(|entry| format!("{}/{}", path.trim_end_matches('/'), entry.name)));
        }
        found.sort();
        Ok(found)
    }

    /// Reads a file from end to end, so that a worker caches it.
    async fn read(&self, path: &str) -> Result<(), Errno> {
        let open = self.fuse.open(self.fuse.node(path)?, libc::O_RDONLY).await?;
        let mut at = 0;
        let mut done = Ok(());
        while at < open.info.length && done.is_ok() {
            done = self.fuse.read(open.handle, at, PIECE).await.map(drop);
            at += PIECE;
        }
        self.fuse.release(open.handle).await?;
        done
    }

    /// Writes a file of the container, aside first, with its directories.
    async fn put(&self, file: &str, bytes: &[u8]) -> Result<(), String> {
        let real = self.launch.real(file)?;
        let aside = format!("{real}.new");
        let written = async {
            if let Some((parent, _)) = real.rsplit_once('/') {
                fs::create_dir_all(parent).await?;
            }
            fs::write(&aside, bytes).await?;
            fs::File::open(&aside).await?.sync_all().await?;
            fs::rename(&aside, &real).await
        };
        written.await.map_err(|error| format!("{file}: {error}"))
    }
}

impl CacheTool for ClientTool {
    fn exists<'a>(&'a self, path: &'a str) -> Answer<'a, bool> {
        Box::pin(async move {
            match self.client().stat(path, self.client().deadline()).await {
                Ok(_) => Ok(true),
                Err(FsError::NotFound(_)) => Ok(false),
                Err(error) => Err(failed("fs stat", error)),
            }
        })
    }

    fn load_metadata<'a>(&'a self, path: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.files(path).await.map(drop).map_err(|error| failed("fs ls -R", error)) })
    }

    fn set_replication<'a>(&'a self, _: &'a str, max: u32) -> Answer<'a, ()> {
        Box::pin(async move {
            match max {
                0 | 1 => Ok(()),
                more => Err(failed("fs setReplication", format!("{more} copies: a block is cached once"))),
            }
        })
    }

    fn load<'a>(&'a self, path: &'a str, _: u32) -> Answer<'a, ()> {
        Box::pin(async move {
            for file in self.files(path).await.map_err(|error| failed("fs distributedLoad", error))? {
                self.read(&file).await.map_err(|errno| failed("fs distributedLoad", format!("{file}: {errno}")))?;
            }
            Ok(())
        })
    }

    fn backup<'a>(&'a self, file: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let bytes = self.client().backup(self.client().deadline()).await;
            let bytes = bytes.map_err(|error| failed("fsadmin backup", error))?;
            self.put(file, &bytes).await.map_err(|why| failed("fsadmin backup", why))
        })
    }

    fn count(&self) -> Answer<'_, Content> {
        Box::pin(async move { count(self.client()).await.map_err(|error| failed("fs count", error)) })
    }

    fn write<'a>(&'a self, file: &'a str, text: &'a str) -> Answer<'a, ()> {
        Box::pin(async move { self.put(file, text.as_bytes()).await.map_err(|why| failed("write", why)) })
    }
}
