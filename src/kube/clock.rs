//! The host's wall clock as Kubernetes' types hold it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use k8s_openapi::jiff::Timestamp;

use crate::rt::time::wall;

/// Now. A clock set to beyond the year 9999 stays at the end of it.
pub fn now() -> Timestamp {
    let nanos = i128::try_from(wall().as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_nanosecond(nanos).unwrap_or(Timestamp::MAX)
}

/// Now, in whole seconds.
pub fn time_now() -> Time {
    let now = now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// Now, in whole microseconds.
pub fn micro_time_now() -> MicroTime {
    let now = now();
    MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now))
}
