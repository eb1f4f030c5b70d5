//! Object stores, `oss://`, `cosn://` and `s3://`: opendal's S3 service over our HTTP client.
//!
//! Requests are signed here (`sign.rs`), so opendal never sees a key. A directory is the prefix of the keys below it: one
//! that has none is empty, not missing. A file appears whole when its writer is closed; a renaming is a copy and a removal,
//! and both names exist between the two.
//! Differs: OSS and COS are spoken to in Amazon's protocol, which both offer beside their own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use opendal::options::{ListOptions, ReadOptions, StatOptions, WriteOptions};
use opendal::services::S3;
use opendal::{Executor, HttpTransporter, OperationContext, Operator};

use super::access::Access;
use super::bucket::{BucketUrl, Scheme};
use super::fence::{Expected, Fence, fingerprint, if_match};
use super::http::HttpClient;
use super::retry::Retry;
use super::web::{Tasks, WebOptions, failed};
use super::{UfsEntry, UfsError, UfsFuture, UfsResult, UfsWriter, UnderStore};
use crate::base::lock;
use crate::stack::wire::MountInfo;

/// Longest part of an upload, in bytes; a file that is longer goes up in several.
const PART_BYTES: usize = 8 << 20;

/// All object stores of the mounts it was told.
pub struct ObjectStore {
    client: Arc<HttpClient>,
    retry: Retry,
    mounts: Mutex<Vec<Known>>,
}

/// A mount and what its options gave.
struct Known {
    place: BucketUrl,
    mount: MountInfo,
    bucket: UfsResult<Bucket>,
}

/// One bucket, with the keys of one mount.
#[derive(Clone)]
struct Bucket {
    operator: Operator,
    client: Arc<HttpClient>,
    access: Arc<Access>,
}

impl ObjectStore {
    /// Knows no mount.
    pub fn new(options: WebOptions) -> Self {
        let client = Arc::new(HttpClient::new(options.plain_https));
        Self { client, retry: Retry::new(options.retry), mounts: Mutex::default() }
    }

    /// Whether a mount is known that has keys for it.
    pub fn knows(&self, url: &str) -> bool {
        url.parse().is_ok_and(|url| lock(&self.mounts).iter().any(|known| known.holds(&url)))
    }

    /// These are all mounts now; those on other kinds of under-stores are passed over. Gives whether any differs.
    pub fn learn(&self, mounts: &[MountInfo]) -> bool {
        let mut known = lock(&self.mounts);
        let ours: Vec<_> = mounts.iter().filter(|mount| Scheme::of(&mount.url).is_some()).collect();
        if ours.len() == known.len() && ours.iter().zip(known.iter()).all(|(new, old)| **new == old.mount) {
            return false;
        }
        let learnt = ours.into_iter().filter_map(|mount| {
            let place: BucketUrl = mount.url.parse().ok()?;
            let bucket = Bucket::new(&self.client, &place, mount);
            Some(Known { place: place.into_dir(), mount: mount.clone(), bucket })
        });
        *known = learnt.collect();
        true
    }

    /// The bucket of the innermost mount that holds `url`.
    fn bucket(&self, url: &BucketUrl) -> UfsResult<Bucket> {
        let mounts = lock(&self.mounts);
        let holding = mounts.iter().filter(|known| known.holds(url));
        match holding.max_by_key(|known| known.place.key.len()) {
            Some(known) => known.bucket.clone(),
            None => Err(UfsError::Refused { url: url.to_string(), reason: "no mount has keys for it".to_owned() }),
        }
    }

    async fn list_all(&self, url: &str) -> UfsResult<Vec<UfsEntry>> {
        let dir = url.parse::<BucketUrl>()?.into_dir();
        let bucket = self.bucket(&dir)?;
        let listed = self.retry.run(url, || bucket.list(&dir, false)).await?;
        // A directory hides an object of its name.
        let by_name = |dir| listed.iter().filter(move |entry| entry.dir == dir).map(|entry| (&entry.name, entry));
        let entries: BTreeMap<_, _> = by_name(false).chain(by_name(true)).collect();
        Ok(entries.into_values().cloned().collect())
    }

    async fn remove(&self, url: &str, dir: bool) -> UfsResult<()> {
        let place: BucketUrl = url.parse()?;
        let bucket = self.bucket(&place)?;
        let keys = match dir {
            false => vec![place.key],
            true => self.keys_below(&bucket, place).await?,
        };
        for key in keys {
            self.retry.run(url, || bucket.delete(url, &key)).await?;
        }
        Ok(())
    }

    async fn relocate(&self, from: &str, to: &str, dir: bool) -> UfsResult<()> {
        let (source, target): (BucketUrl, BucketUrl) = (from.parse()?, to.parse()?);
        if (source.scheme, &source.bucket) != (target.scheme, &target.bucket) {
            return Err(UfsError::Unsupported(format!("{from} and {to} lie in two buckets")));
        }
        let bucket = self.bucket(&target)?;
        let moves = match dir {
            false => vec![(source.key, target.key)],
            true => {
                let (source, target) = (source.into_dir(), target.into_dir());
                let keys = self.keys_below(&bucket, source.clone()).await?;
                let moved = |key: String| {
                    let rest = key.strip_prefix(&source.key)?.to_owned();
                    Some((key, format!("{}{rest}", target.key)))
                };
                keys.into_iter().filter_map(moved).collect()
            }
        };
        for (source, target) in moves {
            self.retry.run(from, || bucket.copy(from, &source, &target)).await?;
            self.retry.run(from, || bucket.delete(from, &source)).await?;
        }
        Ok(())
    }

    /// Keys of all objects below a directory, its own mark included.
    async fn keys_below(&self, bucket: &Bucket, dir: BucketUrl) -> UfsResult<Vec<String>> {
        let dir = dir.into_dir();
        let listed = self.retry.run(&dir.to_string(), || bucket.keys(&dir)).await?;
        Ok(listed)
    }
}

impl UnderStore for ObjectStore {
    fn list<'a>(&'a self, dir: &'a str) -> UfsFuture<'a, Vec<UfsEntry>> {
        Box::pin(self.list_all(dir))
    }

    fn stat<'a>(&'a self, url: &'a str) -> UfsFuture<'a, UfsEntry> {
        Box::pin(async move {
            let place: BucketUrl = url.parse()?;
            let bucket = self.bucket(&place)?;
            self.retry.run(url, || bucket.stat(&place)).await
        })
    }

    fn read<'a>(&'a self, url: &'a str, fingerprint: &'a str, offset: u64, length: u64) -> UfsFuture<'a, Bytes> {
        Box::pin(async move {
            let place: BucketUrl = url.parse()?;
            let bucket = self.bucket(&place)?;
            if length == 0 {
                return Ok(Bytes::new());
            }
            let expected = Expected { fingerprint: fingerprint.to_owned(), offset, length };
            self.retry.run(url, || bucket.read(&place, expected.clone())).await
        })
    }

    fn create<'a>(&'a self, url: &'a str) -> UfsFuture<'a, Box<dyn UfsWriter>> {
        Box::pin(async move {
            let place: BucketUrl = url.parse()?;
            let bucket = self.bucket(&place)?;
            let options = WriteOptions { chunk: Some(PART_BYTES), ..WriteOptions::default() };
            let opened = bucket.operator(None).writer_options(&place.key, options).await;
            let writer = opened.map_err(|error| bucket.failed(url, error))?;
            Ok(Box::new(ObjectWriter { bucket, place, writer }) as Box<dyn UfsWriter>)
        })
    }

    fn delete<'a>(&'a self, url: &'a str, dir: bool) -> UfsFuture<'a, ()> {
        Box::pin(self.remove(url, dir))
    }

    fn rename<'a>(&'a self, from: &'a str, to: &'a str, dir: bool) -> UfsFuture<'a, ()> {
        Box::pin(self.relocate(from, to, dir))
    }

    fn knows(&self, url: &str) -> bool {
        self.knows(url)
    }

    fn needs_mounts(&self, _: &str) -> bool {
        true
    }

    fn learn(&self, mounts: &[MountInfo]) -> bool {
        self.learn(mounts)
    }
}

impl Known {
    fn holds(&self, url: &BucketUrl) -> bool {
        let inside = url.key.starts_with(&self.place.key) || format!("{}/", url.key) == self.place.key;
        (url.scheme, &url.bucket) == (self.place.scheme, &self.place.bucket) && inside
    }
}

impl Bucket {
    fn new(client: &Arc<HttpClient>, place: &BucketUrl, mount: &MountInfo) -> UfsResult<Self> {
        let access = Access::of(place.scheme, &mount.options)?;
        let service = S3::default()
            .root("/")
            .bucket(&place.bucket)
            .endpoint(&access.endpoint)
            .region(&access.region)
            .disable_config_load()
            .disable_ec2_metadata()
            .skip_signature();
        let operator = Operator::new(service).map_err(|error| failed(&place.to_string(), error))?;
        Ok(Self { operator, client: client.clone(), access: Arc::new(access) })
    }

    /// opendal's view of the bucket, with a fence of its own.
    fn operator(&self, expected: Option<Expected>) -> Operator {
        let fence = Fence::new(self.client.clone(), expected).signed(self.access.clone());
        let context = OperationContext::from_parts(HttpTransporter::new(fence), Executor::with(Tasks));
        self.operator.clone().with_context(context)
    }

    fn failed(&self, url: &str, error: opendal::Error) -> UfsError {
        match failed(url, error) {
            UfsError::Refused { url, reason } => UfsError::Refused { url, reason: self.access.scrub(&reason) },
            UfsError::Malformed { url, reason } => UfsError::Malformed { url, reason: self.access.scrub(&reason) },
            UfsError::Unavailable { url, reason } => UfsError::Unavailable { url, reason: self.access.scrub(&reason) },
            UfsError::Unsupported(reason) => UfsError::Unsupported(self.access.scrub(&reason)),
            other => other,
        }
    }

    async fn list(&self, dir: &BucketUrl, recursive: bool) -> UfsResult<Vec<UfsEntry>> {
        let options = ListOptions { recursive, ..ListOptions::default() };
        let listed = self.operator(None).list_options(path(dir), options).await;
        let listed = listed.map_err(|error| self.failed(&dir.to_string(), error))?;
        let entries = listed.into_iter().filter_map(|entry| {
            let (rest, metadata) = (entry.path().strip_prefix(&dir.key)?, entry.metadata());
            let name = rest.trim_end_matches('/');
            let dir = metadata.is_dir();
            let fingerprint = if dir { String::new() } else { fingerprint(metadata) };
            let length = if dir { 0 } else { metadata.content_length() };
            (!name.is_empty()).then(|| UfsEntry { name: name.to_owned(), dir, length, fingerprint })
        });
        Ok(entries.collect())
    }

    async fn keys(&self, dir: &BucketUrl) -> UfsResult<Vec<String>> {
        let options = ListOptions { recursive: true, ..ListOptions::default() };
        let listed = self.operator(None).list_options(path(dir), options).await;
        let listed = listed.map_err(|error| self.failed(&dir.to_string(), error))?;
        Ok(listed.into_iter().map(|entry| entry.path().to_owned()).filter(|key| key != "/").collect())
    }

    async fn stat(&self, place: &BucketUrl) -> UfsResult<UfsEntry> {
        let found = self.operator(None).stat_options(&place.key, StatOptions::default()).await;
        let metadata = found.map_err(|error| self.failed(&place.to_string(), error))?;
        let name = place.name().to_owned();
        Ok(UfsEntry { name, dir: false, length: metadata.content_length(), fingerprint: fingerprint(&metadata) })
    }

    async fn read(&self, place: &BucketUrl, expected: Expected) -> UfsResult<Bytes> {
        let options = ReadOptions {
            range: (expected.offset..expected.offset.saturating_add(expected.length)).into(),
            if_match: if_match(&expected.fingerprint),
            ..ReadOptions::default()
        };
        let length = expected.length;
        let read = self.operator(Some(expected)).read_options(&place.key, options).await;
        let bytes = read.map_err(|error| self.failed(&place.to_string(), error))?.to_bytes();
        if bytes.len() as u64 != length {
            let reason = format!("{} bytes where {length} were asked for", bytes.len());
            return Err(UfsError::Malformed { url: place.to_string(), reason });
        }
        Ok(bytes)
    }

    async fn copy(&self, url: &str, from: &str, to: &str) -> UfsResult<()> {
        let copied = self.operator(None).copy(from, to).await;
        copied.map(drop).map_err(|error| self.failed(url, error))
    }

    async fn delete(&self, url: &str, key: &str) -> UfsResult<()> {
        self.operator(None).delete(key).await.map_err(|error| self.failed(url, error))
    }
}

/// opendal's name of a directory.
fn path(dir: &BucketUrl) -> &str {
    if dir.key.is_empty() { "/" } else { &dir.key }
}

/// A file on its way up.
struct ObjectWriter {
    bucket: Bucket,
    place: BucketUrl,
    writer: opendal::Writer,
}

impl UfsWriter for ObjectWriter {
    fn write(&mut self, bytes: Bytes) -> UfsFuture<'_, ()> {
        Box::pin(async move {
            self.writer.write(bytes).await.map_err(|error| self.bucket.failed(&self.place.to_string(), error))
        })
    }

    fn close(&mut self) -> UfsFuture<'_, UfsEntry> {
        Box::pin(async move {
            let closed = self.writer.close().await;
            closed.map_err(|error| self.bucket.failed(&self.place.to_string(), error))?;
            self.bucket.stat(&self.place).await
        })
    }
}
