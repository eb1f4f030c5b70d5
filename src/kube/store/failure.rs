//! Refusals: upstream's `Status` objects, with its reasons and words.
//!
//! Follows kubernetes `apimachinery/pkg/api/errors` and `util/validation/field`. No message holds a value of an object
//! other than names.

use kube::core::Status;
use kube::core::response::{StatusCause, StatusDetails};

use crate::kube::kind::Kind;

/// Why the store does not do what it was asked.
pub type Refusal = Box<Status>;

fn details(kind: &Kind, name: &str) -> StatusDetails {
    StatusDetails {
        name: name.into(),
        group: kind.group.clone(),
        kind: kind.plural.clone(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: 0,
    }
}

fn status(code: u16, reason: &str, message: &str) -> Status {
    Status::failure(message, reason).with_code(code)
}

/// 404.
pub fn not_found(kind: &Kind, name: &str) -> Refusal {
    let message = format!("{} \"{name}\" not found", kind.resource());
    status(404, "NotFound", &message).with_details(details(kind, name)).boxed()
}

/// 404 for a path that nothing answers.
pub fn no_such_resource() -> Refusal {
    status(404, "NotFound", "the server could not find the requested resource").boxed()
}

/// 409, name taken.
pub fn already_exists(kind: &Kind, name: &str) -> Refusal {
    let message = format!("{} \"{name}\" already exists", kind.resource());
    status(409, "AlreadyExists", &message).with_details(details(kind, name)).boxed()
}

/// 409, somebody was faster.
pub fn conflict(kind: &Kind, name: &str, why: &str) -> Refusal {
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.resource());
    status(409, "Conflict", &message).with_details(details(kind, name)).boxed()
}

/// [`conflict`] over the version.
pub fn modified(kind: &Kind, name: &str) -> Refusal {
    let why = "the object has been modified; please apply your changes to the latest version and try again";
    conflict(kind, name, why)
}

/// What is wrong with one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// `spec.replicas`.
    pub field: String,
    /// `FieldValueInvalid`, `FieldValueRequired`, `FieldValueForbidden`.
    pub reason: &'static str,
    /// `Required value`, `Forbidden: …`.
    pub message: String,
}

/// A field that must be there.
pub fn required(field: &str) -> FieldError {
    FieldError { field: field.into(), reason: "FieldValueRequired", message: "Required value".into() }
}

/// A field that may not be so. `value` must be no secret.
pub fn invalid_value(field: &str, value: &str, why: &str) -> FieldError {
    let message = format!("Invalid value: {value:?}: {why}");
    FieldError { field: field.into(), reason: "FieldValueInvalid", message }
}

/// A field that may not be touched.
pub fn forbidden_field(field: &str, why: &str) -> FieldError {
    FieldError { field: field.into(), reason: "FieldValueForbidden", message: format!("Forbidden: {why}") }
}

/// 422: the object breaks a rule of its kind.
pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Refusal {
    let lines: Vec<String> = errors.iter().map(|error| format!("{}: {}", error.field, error.message)).collect();
    let all = if lines.len() == 1 { lines.concat() } else { format!("[{}]", lines.join(", ")) };
    // In details of this one refusal, upstream names the kind instead of the resource.
    let mut details = StatusDetails { kind: kind.kind.clone(), ..details(kind, name) };
    details.causes = errors
        .iter()
        .map(|error| StatusCause {
            reason: error.reason.into(),
            message: error.message.clone(),
            field: error.field.clone(),
        })
        .collect();
    let qualified = if kind.group.is_empty() { kind.kind.clone() } else { format!("{}.{}", kind.kind, kind.group) };
    status(422, "Invalid", &format!("{qualified} \"{name}\" is invalid: {all}")).with_details(details).boxed()
}

/// 400.
pub fn bad_request(message: &str) -> Refusal {
    status(400, "BadRequest", message).boxed()
}

/// 403.
pub fn forbidden(kind: &Kind, name: &str, why: &str) -> Refusal {
    let message = format!("{} \"{name}\" is forbidden: {why}", kind.resource());
    status(403, "Forbidden", &message).with_details(details(kind, name)).boxed()
}

/// 410: a watch from a version that is forgotten.
pub fn too_old(asked: u64, oldest: u64) -> Refusal {
    status(410, "Expired", &format!("too old resource version: {asked} ({oldest})")).boxed()
}

/// 504: a version that has not been yet.
pub fn too_large(asked: u64, now: u64) -> Refusal {
    let mut refusal = status(504, "Timeout", &format!("Too large resource version: {asked}, current: {now}"));
    refusal.details = Some(StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: vec![StatusCause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        }],
        retry_after_seconds: 1,
    });
    refusal.boxed()
}

/// 405.
pub fn method_not_allowed() -> Refusal {
    status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource").boxed()
}

/// 415.
pub fn unsupported_patch(accepted: &[&str]) -> Refusal {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {}",
        accepted.join(", ")
    );
    status(415, "UnsupportedMediaType", &message).boxed()
}

/// 422: a patch that does not apply.
pub fn unprocessable(why: &str) -> Refusal {
    status(422, "Invalid", &format!("the server rejected our request due to an error in our request: {why}")).boxed()
}
