//! The short hash that names a revision of a pod template.
//!
//! FNV-1a over the template's JSON, written in the letters that upstream's `rand.SafeEncodeString` uses (no vowels, so that no
//! words appear). Differs: upstream hashes a dump of Go's struct, so the same template has another hash there.

use serde::Serialize;

const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// The hash of a value's JSON, such as `6d4b75cb6d`.
pub fn hash<T: Serialize>(value: &T, collisions: i32) -> String {
    // A value without a JSON form cannot come from the API; it would share the hash of nothing.
    let text = serde_json::to_vec(value).unwrap_or_default();
    let step = |state: u32, byte: &u8| (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    let collisions = collisions.to_le_bytes();
    let collisions = if collisions == [0; 4] { &[] } else { &collisions[..] };
    let state = collisions.iter().fold(text.iter().fold(0x811c_9dc5_u32, step), step);
    state.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}
