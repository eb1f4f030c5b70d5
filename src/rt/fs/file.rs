//! An open file. Reads and writes name their offset, so a file can be shared.
#![expect(clippy::disallowed_types, reason = "the live side of the seam")]

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::{live, synced, timed};
use crate::rt::backend::{FileKey, OpenFlags, simulated, with_files};

/// Closed when dropped, which syncs nothing.
#[derive(Debug)]
pub struct File(Kind);

#[derive(Debug)]
enum Kind {
    Live(Arc<std::fs::File>),
    World(FileKey),
}

/// How to open; std's names.
#[derive(Debug, Default, Clone, Copy)]
pub struct OpenOptions(OpenFlags);

macro_rules! option {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, on: bool) -> Self {
            self.0.$name = on;
            self
        }
    };
}

impl OpenOptions {
    /// Nothing allowed yet.
    pub fn new() -> Self {
        Self::default()
    }

    option! {
        /// Allow reads.
        read
    }
    option! {
        /// Allow writes.
        write
    }
    option! {
        /// Every write goes to the end.
        append
    }
    option! {
        /// Cut to length 0.
        truncate
    }
    option! {
        /// Make it if missing.
        create
    }
    option! {
        /// Make it, refuse if it is there.
        create_new
    }

    /// Opens.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `IsADirectory`, `StorageFull`.
    pub async fn open(self, path: &str) -> io::Result<File> {
        let flags = self.0;
        if simulated() {
            return timed(|f, host| f.open(host, path, flags)).await.map(|key| File(Kind::World(key)));
        }
        let path = path.to_owned();
        live::call(move || live::open(&path, flags)).await.map(|file| File(Kind::Live(Arc::new(file))))
    }
}

impl File {
    /// Opens for reading.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub async fn open(path: &str) -> io::Result<Self> {
        OpenOptions::new().read(true).open(path).await
    }

    /// Makes or empties, for writing.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub async fn create(path: &str) -> io::Result<Self> {
        OpenOptions::new().write(true).create(true).truncate(true).open(path).await
    }

    /// Reads at an offset. Fewer bytes than asked near the end of the file; 0 at the end.
    ///
    /// # Errors
    /// `EIO`.
    pub async fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            Kind::World(key) => timed(|f, _| f.read_at(*key, offset, buf)).await,
            Kind::Live(file) => {
                let file = file.clone();
                let mut content = vec![0; buf.len()];
                let (n, content) = live::call(move || Ok((file.read_at(&mut content, offset)?, content))).await?;
                buf[..n].copy_from_slice(&content[..n]);
                Ok(n)
            }
        }
    }

    /// Fills `buf` from an offset.
    ///
    /// # Errors
    /// `UnexpectedEof`, `EIO`.
    pub async fn read_exact_at(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        while !buf.is_empty() {
            match self.read_at(offset, buf).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    /// Writes all of `data` at an offset; at the end if opened for append. Zeros fill a gap.
    ///
    /// # Errors
    /// `ENOSPC`, `EIO`; a part may be written then.
    pub async fn write_all_at(&self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        match &self.0 {
            Kind::World(key) => {
                while !data.is_empty() {
                    match timed(|f, _| f.write_at(*key, offset, data)).await? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        n => {
                            data = &data[n..];
                            offset += n as u64;
                        }
                    }
                }
                Ok(())
            }
            Kind::Live(file) => {
                let (file, data) = (file.clone(), data.to_owned());
                live::call(move || file.write_all_at(&data, offset)).await
            }
        }
    }

    /// Writes at the end of a file that was opened for append.
    ///
    /// # Errors
    /// As [`Self::write_all_at`].
    pub async fn append(&self, data: &[u8]) -> io::Result<()> {
        self.write_all_at(0, data).await
    }

    /// Cuts, or extends with zeros.
    ///
    /// # Errors
    /// `ENOSPC`, `EIO`.
    pub async fn set_len(&self, len: u64) -> io::Result<()> {
        match &self.0 {
            Kind::World(key) => timed(|f, _| f.set_len(*key, len)).await,
            Kind::Live(file) => {
                let file = file.clone();
                live::call(move || file.set_len(len)).await
            }
        }
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// `EIO`.
    pub async fn len(&self) -> io::Result<u64> {
        match &self.0 {
            Kind::World(key) => timed(|f, _| f.file_len(*key)).await,
            Kind::Live(file) => {
                let file = file.clone();
                live::call(move || Ok(file.metadata()?.len())).await
            }
        }
    }

    /// Makes content and metadata durable (`fsync`).
    ///
    /// # Errors
    /// `EIO`: what was written since the last sync may be lost, and a second sync that succeeds does not bring it back.
    pub async fn sync_all(&self) -> io::Result<()> {
        self.sync(false).await
    }

    /// Makes content and length durable (`fdatasync`).
    ///
    /// # Errors
    /// As [`Self::sync_all`].
    pub async fn sync_data(&self) -> io::Result<()> {
        self.sync(true).await
    }

    async fn sync(&self, data_only: bool) -> io::Result<()> {
        match &self.0 {
            Kind::World(key) => synced(|f, _| f.sync_begin(*key, data_only)).await,
            Kind::Live(file) => {
                let file = file.clone();
                live::call(move || if data_only { file.sync_data() } else { file.sync_all() }).await
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if let Kind::World(key) = self.0 {
            with_files(|f, _| f.close(key));
        }
    }
}
