//! The surroundings of a scenario: nodes, under-stores, links and the budget of a run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use super::target::Targets;
use super::url_host;
use super::value::{Odds, Span};
use crate::base::{Secret, Stream};
use crate::kube::quantity::Quantity;
use crate::stack::ufs::bucket::Scheme;

/// A server outside of the cluster that holds the data which is cached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnderStore {
    /// Where it is: scheme, host and base path, such as `https://mirrors.tuna.tsinghua.edu.cn/apache/hbase/stable/`.
    /// Or a bucket and a directory in it: `oss://bucket/dir/`, `cosn://bucket/dir/`, `s3://bucket/dir/`.
    /// Every `mountPoint` of the manifests lies under one of them.
    pub url: String,
    /// The host that serves a bucket, such as `oss-cn-beijing.aliyuncs.com`, with a port if it is not 80. The same host may
    /// serve several. Not for web locations, whose url names the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Who may come in, for buckets. The host lets in whoever any of its entries names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials: Option<Credentials>,
    /// Its files. Their content follows from path, version and offset.
    pub files: Vec<UfsFile>,
}

impl UnderStore {
    /// The host that serves it.
    pub fn host(&self) -> &str {
        url_host(self.endpoint.as_deref().unwrap_or(&self.url))
    }

    /// Whether it is a bucket of an object store.
    pub fn is_bucket(&self) -> bool {
        Scheme::of(&self.url).is_some()
    }
}

/// Who may come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Credentials {
    /// The account with this access key.
    Keys(KeyPair),
    /// The account whose access key is in a Secret of the cluster.
    Secret(SecretPair),
}

/// An access key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeyPair {
    /// Names the account.
    pub id: String,
    /// Proves it. It is shown nowhere but in this file.
    #[serde(serialize_with = "written")]
    #[schemars(with = "String")]
    pub secret: Secret,
}

/// Where in a Secret an access key is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretPair {
    /// The Secret's name.
    pub name: String,
    /// The key of it that names the account, such as `fs.oss.accessKeyId`.
    pub id: String,
    /// The key of it that proves the account, such as `fs.oss.accessKeySecret`.
    pub secret: String,
}

/// A scenario that is written out must be one that can be read again.
fn written<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(secret.expose())
}

/// One file of an under-store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UfsFile {
    /// Path below the under-store's url; `a/b.txt` lies in the directory `a`.
    pub path: String,
    /// Length.
    pub size: Quantity,
}

/// One-way delay of a link, drawn for each segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Latency {
    /// Always the same.
    Const(Span),
    /// Any in the range with equal chance.
    Uniform(SpanRange),
    /// Exponential above a minimum.
    Exponential(Exponential),
    /// Log-normal: most near the median, few far above it.
    Lognormal(Lognormal),
    /// Pareto: a long tail.
    Pareto(Pareto),
}

/// A closed range of durations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SpanRange {
    /// Shortest.
    pub min: Span,
    /// Longest; not below `min`.
    pub max: Span,
}

impl SpanRange {
    /// One of them.
    pub fn draw(self, stream: &mut Stream) -> std::time::Duration {
        stream.duration(self.min.0, self.max.0)
    }
}

/// An exponential delay: `min`, and on top `mean` on average, cut at `max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Exponential {
    /// Shortest.
    pub min: Span,
    /// Average of what comes on top.
    pub mean: Span,
    /// Longest.
    pub max: Span,
}

/// A log-normal delay: half are shorter than `median`; about one in six is longer than `median` times e to the sigma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lognormal {
    /// Half are shorter.
    pub median: Span,
    /// Thousandths of sigma: 500 is a sigma of 0.5.
    pub sigma_milli: u32,
    /// Longest; not below `median`.
    pub max: Span,
}

/// A Pareto delay: the chance to be longer than x is `(min / x)` to the power of the shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pareto {
    /// Shortest.
    pub min: Span,
    /// Thousandths of the shape: 1500 is a shape of 1.5. The smaller, the longer the tail.
    pub shape_milli: u32,
    /// Longest; not below `min`.
    pub max: Span,
}

/// Losses in bursts: from the first one on, everything is lost until the burst ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Burst {
    /// Chance of a segment to begin a burst.
    pub enter: Odds,
    /// Chance of a segment in a burst to be the last one lost.
    pub exit: Odds,
}

/// Properties of the links between two groups. Later entries override earlier ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// One side; every host if not given. Roles that change in a run (`leader`, `follower`, `victim`) are refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Targets>,
    /// The other side; every host if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Targets>,
    /// One-way latency, the same both ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Chance that a segment is lost, and sent again by TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss: Option<Odds>,
    /// Losses in bursts, on top of `loss`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<Burst>,
    /// Bytes per second each way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Quantity>,
}

/// What one run may use; beyond it the run ends as over budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Simulated time.
    pub time: Span,
    /// Events: polls, timers, messages.
    pub events: u64,
    /// Bytes of trace that are kept.
    pub trace: Quantity,
    /// Events per simulated second, and turns of tasks without time moving on; more is a livelock.
    pub events_per_second: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            time: Span::secs(1800),
            events: 50_000_000,
            trace: Quantity::bytes(256 << 20),
            events_per_second: 2_000_000,
        }
    }
}
