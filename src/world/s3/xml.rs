//! What is said in XML: listings, results, errors; and the one request that is.

use std::fmt::Write as _;

use super::bucket::{Object, Page, Query};
use crate::base::percent;
use crate::base::time::civil;

const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// `ListBucketResult` of ListObjectsV2.
pub fn listing(bucket: &str, query: Query<'_>, page: &Page<'_>) -> String {
    let mut out = format!(
        "{HEAD}<ListBucketResult><Name>{bucket}</Name><Prefix>{}</Prefix><MaxKeys>{}</MaxKeys><KeyCount>{}</KeyCount>\
         <IsTruncated>{}</IsTruncated>",
        escape(query.prefix),
        query.max,
        page.objects.len() + page.prefixes.len(),
        page.next.is_some()
    );
    if let Some(next) = page.next {
        let _ = write!(out, "<NextContinuationToken>{}</NextContinuationToken>", token(next));
    }
    for (key, object) in &page.objects {
        let _ = write!(
            out,
            "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>{}</ETag><Size>{}</Size>\
             <StorageClass>STANDARD</StorageClass></Contents>",
            escape(key),
            iso_date(object.mtime_s),
            escape(&object.etag),
            object.length
        );
    }
    for prefix in &page.prefixes {
        let _ = write!(out, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(prefix));
    }
    out + "</ListBucketResult>"
}

/// Names a place in a listing.
fn token(after: &str) -> String {
    percent::encode(after, b"")
}

/// The place that a token names.
pub fn place(token: &str) -> String {
    percent::decode(token).unwrap_or_default()
}

/// `CopyObjectResult`.
pub fn copied(object: &Object) -> String {
    let (etag, modified) = (escape(&object.etag), iso_date(object.mtime_s));
    format!("{HEAD}<CopyObjectResult><LastModified>{modified}</LastModified><ETag>{etag}</ETag></CopyObjectResult>")
}

/// `InitiateMultipartUploadResult`.
pub fn begun(bucket: &str, key: &str, upload: u64) -> String {
    format!(
        "{HEAD}<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{}</Key><UploadId>{upload}</UploadId>\
         </InitiateMultipartUploadResult>",
        escape(key)
    )
}

/// `CompleteMultipartUploadResult`.
pub fn ended(bucket: &str, key: &str, object: &Object) -> String {
    format!(
        "{HEAD}<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{}</Key><ETag>{}</ETag>\
         </CompleteMultipartUploadResult>",
        escape(key),
        escape(&object.etag)
    )
}

/// `Error`.
pub fn error(code: &str, message: &str, resource: &str, request: u64) -> String {
    format!(
        "{HEAD}<Error><Code>{code}</Code><Message>{message}</Message><Resource>{}</Resource>\
         <RequestId>{request:016X}</RequestId></Error>",
        escape(resource)
    )
}

/// The part numbers of a `CompleteMultipartUpload`, in its order; none if it is not one.
pub fn parts(text: &str) -> Option<Vec<u32>> {
    let numbers = text.split("<PartNumber>").skip(1).map(|rest| rest.split('<').next()?.trim().parse().ok());
    numbers.collect()
}

/// Such as `2021-04-19T20:33:00.000Z`.
fn iso_date(epoch_s: u64) -> String {
    let (year, month, day) = civil(epoch_s / 86_400);
    let (hour, minute, second) = (epoch_s / 3600 % 24, epoch_s / 60 % 60, epoch_s % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.000Z")
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_and_tokens_come_back() {
        assert_eq!(place(&token("a b/<&\">ü")), "a b/<&\">ü");
        let said = error("NoSuchKey", "The specified key does not exist.", "/b/<&>", 255);
        assert!(said.contains("<Resource>/b/&lt;&amp;&gt;</Resource>") && said.contains("00000000000000FF"), "{said}");
        assert_eq!(iso_date(1_618_864_380), "2021-04-19T20:33:00.000Z");
    }

    #[test]
    fn part_numbers_are_read() {
        let part = |n: &str| format!("<Part><PartNumber>{n}</PartNumber><ETag>\"x\"</ETag></Part>");
        let whole = |parts: &str| format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        assert_eq!(parts(&whole(&(part("1") + &part(" 2 ")))), Some(vec![1, 2]));
        assert_eq!((parts(&whole(&part("x"))), parts("")), (None, Some(vec![])));
    }
}
