//! How an object store is reached, from the options of its mount.
//!
//! The options are those that users of JindoFS, GooseFS and Alluxio write. Keys may stand among the secret options, where
//! they belong, or among the plain ones. A host without a scheme is spoken to in plain HTTP: TLS is outside the model.
//! Differs: buckets are addressed in the path, never as a part of the host's name.

use super::bucket::Scheme;
use super::{UfsError, UfsResult};
use crate::base::Secret;
use crate::stack::wire::MountOptions;

/// Region of those who need none.
const REGION: &str = "us-east-1";

/// Names of options, in the order in which they are looked for.
struct Names {
    endpoint: &'static [&'static str],
    region: &'static [&'static str],
    key_id: &'static [&'static str],
    key: &'static [&'static str],
}

const OSS: Names = Names {
    endpoint: &["fs.oss.endpoint"],
    region: &["fs.oss.region"],
    key_id: &["fs.oss.accessKeyId"],
    key: &["fs.oss.accessKeySecret"],
};

const COSN: Names = Names {
    endpoint: &["fs.cosn.bucket.endpoint_suffix", "fs.cosn.endpoint"],
    region: &["fs.cosn.bucket.region"],
    key_id: &["fs.cosn.userinfo.secretId"],
    key: &["fs.cosn.userinfo.secretKey"],
};

const S3: Names = Names {
    endpoint: &["alluxio.underfs.s3.endpoint", "fs.s3a.endpoint", "fs.s3.endpoint"],
    region: &["alluxio.underfs.s3.endpoint.region", "alluxio.underfs.s3.region", "fs.s3.region"],
    key_id: &["s3a.accessKeyId", "aws.accessKeyId", "fs.s3.accessKeyId"],
    key: &["s3a.secretKey", "aws.secretKey", "fs.s3.accessKeySecret"],
};

/// Where to send requests, and what to sign them with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Such as `http://oss-cn-beijing.aliyuncs.com`, without a path.
    pub endpoint: String,
    /// Such as `cn-beijing`.
    pub region: String,
    /// Names the account.
    pub key_id: Secret,
    /// Proves it.
    pub key: Secret,
}

impl Access {
    /// From the options of a mount on `scheme`.
    ///
    /// # Errors
    /// [`UfsError::Unsupported`] names the option that is missing.
    pub fn of(scheme: Scheme, mount: &MountOptions) -> UfsResult<Self> {
        let names = match scheme {
            Scheme::Oss => OSS,
            Scheme::Cosn => COSN,
            Scheme::S3 => S3,
        };
        let missing = |names: &[&str]| {
            let wanted = names.first().copied().unwrap_or_default();
            UfsError::Unsupported(format!("a mount of {}:// needs the option {wanted}", scheme.as_str()))
        };
        let plain = |names: &[&str]| names.iter().find_map(|name| mount.options.get(*name)).filter(|v| !v.is_empty());
        let secret = |names: &[&str]| {
            let hidden = names.iter().find_map(|name| mount.secrets.get(*name)).cloned();
            hidden.or_else(|| plain(names).map(Secret::new)).ok_or_else(|| missing(names))
        };
        let region = plain(names.region).cloned();
        let endpoint = plain(names.endpoint).cloned().or_else(|| home(scheme, region.as_deref()));
        let endpoint = endpoint.ok_or_else(|| missing(names.endpoint))?;
        let endpoint = if endpoint.contains("://") { endpoint } else { format!("http://{endpoint}") };
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            region: region.unwrap_or_else(|| REGION.to_owned()),
            key_id: secret(names.key_id)?,
            key: secret(names.key)?,
        })
    }

    /// `text` without the keys, should a server have repeated them.
    pub fn scrub(&self, text: &str) -> String {
        self.key.scrub(&self.key_id.scrub(text))
    }
}

/// The operator's own host for a region.
fn home(scheme: Scheme, region: Option<&str>) -> Option<String> {
    match (scheme, region) {
        (Scheme::Oss, _) => None,
        (Scheme::Cosn, region) => region.map(|region| format!("cos.{region}.myqcloud.com")),
        (Scheme::S3, region) => Some(format!("s3.{}.amazonaws.com", region.unwrap_or(REGION))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(options: &[(&str, &str)], secrets: &[(&str, &str)]) -> MountOptions {
        MountOptions {
            options: options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
            secrets: secrets.iter().map(|(k, v)| ((*k).into(), Secret::new(*v))).collect(),
        }
    }

    #[test]
    fn each_flavour_has_its_own_names() {
        let oss = ([("fs.oss.accessKeyId", "id"), ("fs.oss.accessKeySecret", "key")], "fs.oss.endpoint");
        let cosn = [("fs.cosn.userinfo.secretId", "id"), ("fs.cosn.userinfo.secretKey", "key")];
        let s3 = [("s3a.accessKeyId", "id"), ("s3a.secretKey", "key")];
        for (scheme, options, secrets, endpoint, region) in [
            (
                Scheme::Oss,
                vec![(oss.1, "oss-cn-beijing.aliyuncs.com")],
                &oss.0,
                "http://oss-cn-beijing.aliyuncs.com",
                REGION,
            ),
            (Scheme::Oss, vec![(oss.1, "http://store:9000/")], &oss.0, "http://store:9000", REGION),
            (
                Scheme::Cosn,
                vec![("fs.cosn.bucket.region", "ap-beijing")],
                &cosn,
                "http://cos.ap-beijing.myqcloud.com",
                "ap-beijing",
            ),
            (Scheme::S3, vec![("alluxio.underfs.s3.endpoint", "minio:9000")], &s3, "http://minio:9000", REGION),
            (Scheme::S3, vec![], &s3, "http://s3.us-east-1.amazonaws.com", REGION),
        ] {
            let got = Access::of(scheme, &mount(&options, secrets)).unwrap();
            assert_eq!((&*got.endpoint, &*got.region), (endpoint, region));
            assert_eq!((got.key_id.expose(), got.key.expose()), ("id", "key"));
        }
        let plain =
            mount(&[("fs.oss.endpoint", "h"), ("fs.oss.accessKeyId", "id"), ("fs.oss.accessKeySecret", "key")], &[]);
        assert!(Access::of(Scheme::Oss, &plain).is_ok());
    }

    #[test]
    fn what_is_missing_is_named_and_no_key_is_shown() {
        let options = [("fs.oss.endpoint", "h")];
        let secrets = [("fs.oss.accessKeyId", "an-id"), ("fs.oss.accessKeySecret", "a-key")];
        for (mount, wanted) in [
            (mount(&[], &secrets), "fs.oss.endpoint"),
            (mount(&options, &secrets[..1]), "fs.oss.accessKeySecret"),
            (mount(&options, &secrets[1..]), "fs.oss.accessKeyId"),
        ] {
            let error = Access::of(Scheme::Oss, &mount).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("an-id") && !error.contains("a-key"), "{error}");
        }
        let access = Access::of(Scheme::Oss, &mount(&options, &secrets)).unwrap();
        let shown = format!("{access:?} {:?} {}", mount(&options, &secrets), access.scrub("an-id and a-key are wrong"));
        assert!(!shown.contains("an-id") && !shown.contains("a-key"), "{shown}");
    }
}
