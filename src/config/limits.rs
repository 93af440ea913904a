//! How often an API key may do what.

use serde::Deserialize;

use super::fault::Review;

/// Section `limits`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitsConfig {
    /// Calls of any kind a second, 1 to 1 000 000.
    pub calls_per_second: u32,
    /// Calls of any kind at once, 1 to 1 000 000.
    pub calls_burst: u32,
    /// Look-ups of identities that are not there a minute, 1 to 1 000 000.
    pub misses_per_minute: u32,
    /// Look-ups of identities that are not there at once, 1 to 1 000 000.
    pub misses_burst: u32,
    /// Registrations and further identities a second, 1 to 1 000 000.
    pub claims_per_second: u32,
    /// Registrations and further identities at once, 1 to 1 000 000.
    pub claims_burst: u32,
    /// Failed logins a second, 1 to 1 000 000.
    pub failed_logins_per_second: u32,
    /// Failed logins at once, 1 to 1 000 000.
    pub failed_logins_burst: u32,
}

impl LimitsConfig {
    pub(super) fn validate(&self, review: &mut Review<'_>) {
        let all = [
            ("limits.calls_per_second", self.calls_per_second, "calls"),
            ("limits.calls_burst", self.calls_burst, "calls"),
            ("limits.misses_per_minute", self.misses_per_minute, "look-ups"),
            ("limits.misses_burst", self.misses_burst, "look-ups"),
            ("limits.claims_per_second", self.claims_per_second, "claims"),
            ("limits.claims_burst", self.claims_burst, "claims"),
            ("limits.failed_logins_per_second", self.failed_logins_per_second, "logins"),
            ("limits.failed_logins_burst", self.failed_logins_burst, "logins"),
        ];
        for (path, value, unit) in all {
            review.within(path, value, &(1..=1_000_000), unit);
        }
    }
}
