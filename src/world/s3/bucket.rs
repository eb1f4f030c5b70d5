//! Objects by key, as data.
//!
//! An object that was there from the beginning has no bytes: its content follows from path and version. One that somebody
//! wrote keeps its bytes. Whatever replaces an object is a new version of it.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::{Bytes, BytesMut};

use crate::base::Content;
use crate::base::sigv4::payload_hash;
use crate::world::web::body::FileBytes;

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Bytes.
    pub length: u64,
    /// Entity tag, quotes included.
    pub etag: String,
    /// Modification time, seconds since the Unix epoch.
    pub mtime_s: u64,
    /// Its bytes.
    pub bytes: FileBytes,
    /// Counts the objects that had this key.
    pub version: u64,
}

/// An upload in parts that was not ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upload {
    key: String,
    parts: BTreeMap<u32, Bytes>,
}

/// All objects of a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bucket {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<u64, Upload>,
    /// Objects and uploads made so far.
    made: u64,
}

/// Part of a listing.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page<'a> {
    /// Objects.
    pub objects: Vec<(&'a str, &'a Object)>,
    /// Prefixes up to the delimiter that stand for the objects below.
    pub prefixes: Vec<&'a str>,
    /// Where the next page goes on, if there is more.
    pub next: Option<&'a str>,
}

/// What to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query<'a> {
    /// Only keys that begin so.
    pub prefix: &'a str,
    /// Groups keys; none if empty.
    pub delimiter: &'a str,
    /// Only what comes after this key or prefix.
    pub after: &'a str,
    /// At most so many objects and prefixes.
    pub max: usize,
}

impl Bucket {
    /// Makes or replaces an object whose content follows from `/bucket/key` and its version.
    pub fn seed(&mut self, bucket: &str, key: &str, length: u64, mtime_s: u64) {
        let version = self.objects.get(key).map_or(1, |old| old.version + 1);
        let bytes = FileBytes::Seeded(Content::of(&format!("/{bucket}/{key}"), version));
        let etag = format!("\"{length:x}-{mtime_s:x}-{version:x}\"");
        self.objects.insert(key.to_owned(), Object { length, etag, mtime_s, bytes, version });
    }

    /// Makes or replaces an object.
    pub fn put(&mut self, key: &str, bytes: Bytes, mtime_s: u64) -> &Object {
        let tag = payload_hash(&bytes);
        self.keep(key, bytes, format!("\"{}\"", &tag[..32]), mtime_s)
    }

    fn keep(&mut self, key: &str, bytes: Bytes, etag: String, mtime_s: u64) -> &Object {
        self.made += 1;
        let version = self.objects.get(key).map_or(1, |old| old.version + 1);
        let object = Object { length: bytes.len() as u64, etag, mtime_s, bytes: FileBytes::Written(bytes), version };
        self.objects.entry(key.to_owned()).insert_entry(object).into_mut()
    }

    /// Copies an object, from this bucket or another.
    pub fn put_copy(&mut self, key: &str, mut object: Object, mtime_s: u64) -> &Object {
        object.mtime_s = mtime_s;
        object.version = self.objects.get(key).map_or(1, |old| old.version + 1);
        self.objects.entry(key.to_owned()).insert_entry(object).into_mut()
    }

    /// Removes an object.
    pub fn remove(&mut self, key: &str) -> Option<Object> {
        self.objects.remove(key)
    }

    /// One object.
    pub fn get(&self, key: &str) -> Option<&Object> {
        self.objects.get(key)
    }

    /// All objects by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Object)> {
        self.objects.iter().map(|(key, object)| (key.as_str(), object))
    }

    /// Begins an upload in parts; gives its name.
    pub fn begin(&mut self, key: &str) -> u64 {
        self.made += 1;
        self.uploads.insert(self.made, Upload { key: key.to_owned(), parts: BTreeMap::new() });
        self.made
    }

    /// A part of an upload; gives its entity tag. None if there is no such upload.
    pub fn part(&mut self, upload: u64, number: u32, bytes: Bytes) -> Option<String> {
        let tag = payload_hash(&bytes);
        self.uploads.get_mut(&upload)?.parts.insert(number, bytes);
        Some(format!("\"{}\"", &tag[..32]))
    }

    /// Ends an upload with these parts. None if there is no such upload, or not all of the parts.
    pub fn end(&mut self, upload: u64, parts: &[u32], mtime_s: u64) -> Option<&Object> {
        let known = self.uploads.get(&upload)?;
        if parts.is_empty() || !parts.is_sorted() || !parts.iter().all(|part| known.parts.contains_key(part)) {
            return None;
        }
        let Upload { key, parts: known } = self.uploads.remove(&upload)?;
        let mut all = BytesMut::new();
        parts.iter().filter_map(|part| known.get(part)).for_each(|bytes| all.extend_from_slice(bytes));
        let tag = payload_hash(&all);
        Some(self.keep(&key, all.freeze(), format!("\"{}-{}\"", &tag[..32], parts.len()), mtime_s))
    }

    /// Gives an upload up.
    pub fn abort(&mut self, upload: u64) -> bool {
        self.uploads.remove(&upload).is_some()
    }

    /// Uploads that were neither ended nor given up.
    pub fn uploads(&self) -> usize {
        self.uploads.len()
    }

    /// A page of a listing.
    pub fn list(&self, query: Query<'_>) -> Page<'_> {
        let Query { prefix, delimiter, after, max } = query;
        let mut page = Page::default();
        let mut last = "";
        let begins = after.is_empty() || after < prefix;
        let from = if begins { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let below = self.objects.range::<str, _>((from, Bound::Unbounded));
        for (key, object) in below.take_while(|(key, _)| key.starts_with(prefix)) {
            let cut = if delimiter.is_empty() { None } else { key[prefix.len()..].find(delimiter) };
            let group = cut.map(|at| &key[..prefix.len() + at + delimiter.len()]);
            // A group that was listed already, on this page or as the end of the one before.
            if group.is_some_and(|group| group == after || page.prefixes.last() == Some(&group)) {
                continue;
            }
            if page.objects.len() + page.prefixes.len() >= max {
                page.next = Some(last);
                break;
            }
            match group {
                Some(group) => page.prefixes.push(group),
                None => page.objects.push((key, object)),
            }
            last = group.unwrap_or(key);
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(keys: &[String]) -> Bucket {
        let mut bucket = Bucket::default();
        keys.iter().for_each(|key| bucket.seed("b", key, 1, 0));
        bucket
    }

    /// The whole listing, page by page.
    fn all(bucket: &Bucket, prefix: &str, delimiter: &str, max: usize) -> (Vec<String>, Vec<String>) {
        let (mut objects, mut prefixes, mut after) = (vec![], vec![], String::new());
        loop {
            let page = bucket.list(Query { prefix, delimiter, after: &after, max });
            assert!(page.objects.len() + page.prefixes.len() <= max);
            objects.extend(page.objects.iter().map(|(key, _)| (*key).to_owned()));
            prefixes.extend(page.prefixes.iter().map(|prefix| (*prefix).to_owned()));
            match page.next {
                Some(next) => after = next.to_owned(),
                None => return (objects, prefixes),
            }
        }
    }

    proptest! {
        /// However it is cut into pages, a listing is what a naive reading of all keys gives.
        #[test]
        fn pages_add_up(
            keys in prop::collection::vec("[ab/]{1,5}", 0..12),
            prefix in "[ab/]{0,2}",
            delimiter in prop::sample::select(vec!["", "/"]),
            max in 1usize..4,
        ) {
            let (mut objects, mut prefixes) = (vec![], vec![]);
            for key in keys.iter().filter(|key| key.starts_with(&prefix)) {
                match key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty()) {
                    Some(at) => prefixes.push(key[..=prefix.len() + at].to_owned()),
                    None => objects.push(key.clone()),
                }
            }
            for list in [&mut objects, &mut prefixes] {
                list.sort();
                list.dedup();
            }
            prop_assert_eq!(all(&bucket(&keys), &prefix, delimiter, max), (objects, prefixes));
        }
    }

    #[test]
    fn parts_make_an_object_once() {
        let mut bucket = Bucket::default();
        let upload = bucket.begin("k");
        assert!(bucket.part(upload, 2, Bytes::from_static(b"cd")).is_some());
        assert!(bucket.part(upload, 1, Bytes::from_static(b"ab")).is_some());
        assert_eq!((bucket.get("k"), bucket.uploads()), (None, 1));
        assert_eq!(bucket.end(upload, &[1, 3], 0), None, "a part that never came");
        let whole = bucket.end(upload, &[1, 2], 7).cloned().unwrap();
        assert_eq!((whole.bytes.range(1, 2), whole.length, whole.mtime_s), (Bytes::from_static(b"bc"), 4, 7));
        assert!(whole.etag.ends_with("-2\""));
        assert_eq!(bucket.end(upload, &[1, 2], 8), None);
        assert_eq!(bucket.part(upload, 1, Bytes::new()), None);
        assert_eq!(bucket.uploads(), 0);
    }

    #[test]
    fn what_replaces_an_object_is_another_version() {
        let mut bucket = Bucket::default();
        bucket.seed("b", "k", 10, 1);
        let first = bucket.get("k").cloned().unwrap();
        assert_eq!(first.bytes.range(3, 4), Bytes::from(Content::of("/b/k", 1).bytes(3, 4)));
        bucket.seed("b", "k", 10, 1);
        let second = bucket.get("k").cloned().unwrap();
        assert!(second.version > first.version && second.etag != first.etag && second.bytes != first.bytes);
        let third = bucket.put("k", Bytes::from_static(b"x"), 2).clone();
        assert!(third.version > second.version && third.etag != second.etag);
    }
}
