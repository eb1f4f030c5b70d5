//! An object store inside the world, that speaks Amazon's S3 protocol as OSS, COS and MinIO do.
//!
//! | file | what it is |
//! |---|---|
//! | `bucket.rs` | objects by key: versions, listings, uploads in parts; data |
//! | `auth.rs` | believes a request whose signature fits a known key |
//! | `xml.rs` | what is said in XML |
//! | `answer.rs` | one request and the buckets in, one answer out |
//! | `server.rs` | the program, its faults and what they did |
//!
//! It is a program on a host of the world, as the mirror of `web/` is. Listings are consistent, as Amazon's are since 2020,
//! unless the fault plan says otherwise.
//! Differs: buckets are in the path only; no versions, access lists, encryption or tags; entity tags are no MD5.

pub mod answer;
pub mod auth;
pub mod bucket;
pub mod server;
mod xml;

pub use auth::Keys;
pub use bucket::{Bucket, Object};
pub use server::{S3Counters, S3Faults, S3Server};
