//! The servers of the under-stores: one program a host, with what the scenario lists there.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::url_path;
use crate::oracle::history::Content;
use crate::rt::backend::BoxFuture;
use crate::sim::scenario::{Credentials, KeyPair, SecretPair, UnderStore};
use crate::stack::ufs::bucket::BucketUrl;
use crate::world::s3::S3Server;
use crate::world::web::{WebServer, WebTree};

/// When the objects of a scenario were made: 2021-04-19 20:33 UTC, as the files of its mirrors.
const MTIME_S: u64 = 1_618_864_380;

/// The access key that a Secret holds, if there is such a Secret.
pub type Secrets<'a> = &'a dyn Fn(&SecretPair) -> Option<KeyPair>;

/// The server of one host. It outlives the program, as its files do.
#[derive(Clone)]
pub enum StoreServer {
    /// A mirror with index pages.
    Web(Arc<WebServer>),
    /// An object store.
    Objects(Arc<S3Server>, Vec<u16>),
}

/// The servers of all under-stores, by host.
pub fn servers(stores: &[UnderStore], secrets: Secrets<'_>) -> BTreeMap<String, StoreServer> {
    let mut hosts: BTreeMap<&str, Vec<&UnderStore>> = BTreeMap::new();
    stores.iter().for_each(|store| hosts.entry(store.host()).or_default().push(store));
    let server = |stores: Vec<&UnderStore>| match stores.iter().any(|store| store.is_bucket()) {
        true => objects(&stores, secrets),
        false => web(&stores),
    };
    hosts.into_iter().map(|(host, stores)| (host.to_owned(), server(stores))).collect()
}

fn web(stores: &[&UnderStore]) -> StoreServer {
    let mut tree = WebTree::new();
    for store in stores {
        let dir = url_path(&store.url).trim_end_matches('/');
        for file in &store.files {
            tree.put(&format!("{dir}/{}", file.path), file.size.get());
        }
    }
    StoreServer::Web(WebServer::new(tree))
}

fn objects(stores: &[&UnderStore], secrets: Secrets<'_>) -> StoreServer {
    let pair = |store: &&UnderStore| match store.credentials.as_ref()? {
        Credentials::Keys(pair) => Some(pair.clone()),
        Credentials::Secret(pair) => secrets(pair),
    };
    let keys = stores.iter().filter_map(pair).map(|pair| (pair.id, pair.secret)).collect();
    let server = S3Server::new(BTreeMap::new(), keys);
    let mut ports = vec![80, 443];
    for store in stores {
        let port = store.endpoint.as_ref().and_then(|endpoint| endpoint.split_once(':')?.1.parse().ok());
        ports.extend(port.filter(|port| !ports.contains(port)));
        let Ok(place) = store.url.parse::<BucketUrl>() else { continue };
        server.with_bucket(&place.bucket, |bucket| {
            for file in &store.files {
                bucket.seed(&place.bucket, &place.child(&file.path, false).key, file.size.get(), MTIME_S);
            }
        });
    }
    StoreServer::Objects(server, ports)
}

impl StoreServer {
    /// The program that serves it on a host with this address.
    pub fn program(&self, ip: Ipv4Addr) -> BoxFuture {
        let at = |ports: &[u16]| ports.iter().map(|port| SocketAddr::new(ip.into(), *port)).collect::<Vec<_>>();
        let run: BoxFuture = match self {
            Self::Web(server) => {
                let run = server.clone().run(at(&[80, 443]));
                Box::pin(async move { ended(run.await) })
            }
            Self::Objects(server, ports) => {
                let run = server.clone().run(at(ports));
                Box::pin(async move { ended(run.await) })
            }
        };
        run
    }

    /// Bytes and number of the files below the directory at `url`, as they are now.
    pub fn bytes_below(&self, url: &str) -> (u64, u64) {
        let sum = |lengths: Vec<u64>| (lengths.iter().sum(), lengths.len() as u64);
        match self {
            Self::Web(server) => {
                let dir = url_path(url).trim_end_matches('/');
                let below = |file: &str| file.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'));
                sum(server
                    .with_tree(|tree| tree.files().filter(|(file, _)| below(file)).map(|(_, f)| f.length).collect()))
            }
            Self::Objects(server, _) => {
                let Ok(place) = url.parse::<BucketUrl>() else { return (0, 0) };
                let dir = place.into_dir();
                let below = |key: &str| key.starts_with(&dir.key) && !key.ends_with('/');
                sum(server.with_bucket(&dir.bucket, |bucket| {
                    bucket.iter().filter(|(key, _)| below(key)).map(|(_, object)| object.length).collect()
                }))
            }
        }
    }

    /// The files below the directory at `url` as they were seeded: path from there, with a leading slash, and content.
    pub fn files_below(&self, url: &str) -> Vec<(String, Content)> {
        match self {
            Self::Web(server) => {
                let dir = url_path(url).trim_end_matches('/');
                let below = |file: &str| file.strip_prefix(dir).filter(|rest| rest.starts_with('/')).map(str::to_owned);
                let content = |file: &str, version| Content { key: file.to_owned(), version };
                server.with_tree(|tree| {
                    let files = tree.files();
                    files.filter_map(|(file, web)| Some((below(file)?, content(file, web.version)))).collect()
                })
            }
            Self::Objects(server, _) => {
                let Ok(place) = url.parse::<BucketUrl>() else { return Vec::new() };
                let dir = place.into_dir();
                let content = |key: &str, version| Content { key: format!("/{}/{key}", dir.bucket), version };
                server.with_bucket(&dir.bucket, |bucket| {
                    let below = bucket.iter().filter_map(|(key, object)| {
                        Some((format!("/{}", key.strip_prefix(&dir.key)?), content(key, object.version)))
                    });
                    below.collect()
                })
            }
        }
    }
}

fn ended(result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "an under-store's server ends");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;
    use crate::kube::quantity::Quantity;
    use crate::sim::scenario::world::UfsFile;

    fn store(url: &str, endpoint: Option<&str>, file: &str) -> UnderStore {
        let pair = KeyPair { id: url.into(), secret: Secret::new("s") };
        UnderStore {
            url: url.into(),
            endpoint: endpoint.map(str::to_owned),
            credentials: endpoint.map(|_| Credentials::Keys(pair)),
            files: vec![UfsFile { path: file.into(), size: Quantity::bytes(7) }],
        }
    }

    #[test]
    fn a_host_serves_all_that_is_listed_for_it() {
        let stores = [
            store("https://mirror/a/", None, "f"),
            store("oss://one/d/", Some("oss:9000"), "x/y"),
            store("oss://two/", Some("oss"), "z"),
            store("s3://one/", Some("minio"), "w"),
        ];
        let all = servers(&stores, &|_| None);
        assert_eq!(all.keys().collect::<Vec<_>>(), ["minio", "mirror", "oss"]);
        let names = |host: &str, url: &str| {
            let below = all[host].files_below(url).into_iter().map(|(path, content)| (path, content.key));
            below.collect::<Vec<_>>()
        };
        assert_eq!(names("mirror", "https://mirror/a"), [("/f".into(), "/a/f".into())]);
        assert_eq!(names("oss", "oss://one/d"), [("/x/y".into(), "/one/d/x/y".into())]);
        assert_eq!(names("oss", "oss://one/"), [("/d/x/y".into(), "/one/d/x/y".into())]);
        assert_eq!(names("oss", "oss://two/"), [("/z".into(), "/two/z".into())]);
        let StoreServer::Objects(_, ports) = &all["oss"] else { panic!("an object store") };
        assert_eq!(ports[..], [80, 443, 9000]);
    }

    #[test]
    fn keys_of_secrets_are_asked_for() {
        let pair = SecretPair { name: "access-key".into(), id: "i".into(), secret: "s".into() };
        let bucket = UnderStore { credentials: Some(Credentials::Secret(pair)), ..store("oss://b/", Some("h"), "f") };
        let asked = std::cell::RefCell::new(Vec::new());
        let all = servers(&[bucket], &|pair| {
            asked.borrow_mut().push(pair.name.clone());
            Some(KeyPair { id: "id".into(), secret: Secret::new("key") })
        });
        assert_eq!((asked.into_inner(), all.len()), (vec!["access-key".to_owned()], 1));
    }
}
