//! Changing a status although somebody else may change the object at the same time.

use std::sync::Arc;

use super::api::{Dataset, DatasetStatus};
use crate::kube::client::{ApiError, Client};
use crate::kube::kind::{ApiObject, ObjectKey};

/// client-go's `RetryOnConflict` tries so often; the next round tries again.
const CONFLICTS_MAX: u32 = 5;

/// Changes an object's status, again if somebody else changed the object meanwhile: first as it is `known` to be, then as the
/// server has it. Nothing is written if nothing changes. Gives the object as the server has it then.
///
/// # Errors
/// As [`Client::get`] and [`Client::replace_status`], but conflicts only if there are too many.
pub async fn status<K: ApiObject, S: PartialEq>(
    client: &Client,
    key: &ObjectKey,
    mut known: Option<Arc<K>>,
    of: impl Fn(&K) -> S,
    change: impl Fn(&mut K),
) -> Result<Arc<K>, ApiError> {
    let mut tries = 0;
    loop {
        let before = match known.take() {
            Some(known) => known,
            None => Arc::new(client.get::<K>(&key.namespace, &key.name).await?),
        };
        let mut object = K::clone(&before);
        change(&mut object);
        if of(&object) == of(&before) {
            return Ok(before);
        }
        tries += 1;
        match client.replace_status(&object).await {
            Err(error) if error.is_conflict() && tries < CONFLICTS_MAX => {}
            other => return other,
        }
    }
}

/// Changes a dataset's status in this way.
///
/// # Errors
/// As [`status`].
pub async fn dataset(
    client: &Client,
    key: &ObjectKey,
    known: Option<Arc<Dataset>>,
    change: impl Fn(&mut DatasetStatus),
) -> Result<Arc<Dataset>, ApiError> {
    let of = |dataset: &Dataset| dataset.status.clone();
    status(client, key, known, of, |dataset: &mut Dataset| change(dataset.status.get_or_insert_default())).await
}
