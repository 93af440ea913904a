//! The hash doctor: how was this hash made?

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::crypto::legacy::doctor;
use crate::crypto::pool::{Budget, Candidate, CandidateHash, Job, Outcome, Share};
use crate::crypto::secret::Password;

use super::Accounts;
use super::caller::Caller;
use super::error::AccountError;

/// How much work one diagnosis may be: within two seconds, also where the pool is busy.
const BUDGET: Budget = Budget::from_millis(1500);

/// When a diagnosis that found another one running is worth asking for again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// A hash of which the password is known.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Specimen {
    /// The hash.
    pub hash: Zeroizing<String>,
    /// Its salt, where that has a column of its own.
    #[serde(default)]
    pub salt: Option<Zeroizing<String>>,
    /// The shop's secret, where it has one.
    #[serde(default)]
    pub pepper: Option<Zeroizing<String>>,
    /// The password.
    pub password: Zeroizing<String>,
}

impl std::fmt::Debug for Specimen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Specimen([redacted])")
    }
}

/// What the doctor found.
#[derive(Serialize)]
pub struct Diagnosis {
    /// The profiles that verify the hash, best first.
    pub profiles: Vec<Diagnosed>,
    /// Whether all that may be were tried.
    pub complete: bool,
}

/// A profile that verifies the hash.
#[derive(Serialize)]
pub struct Diagnosed {
    /// The profile, ready to be declared: a pepper that was given is in it.
    pub profile: Value,
    /// Whether it must be declared; a hash that describes itself is taken without.
    pub needed: bool,
}

impl Accounts {
    /// Finds the profiles under which a hash is one of a password. One diagnosis runs at a time, so
    /// that logins find the hash pool free. Without a caller it is the operator's.
    pub async fn diagnose(
        &self,
        caller: Option<&Caller>,
        specimen: Specimen,
    ) -> Result<Diagnosis, AccountError> {
        let Ok(_turn) = self.diagnosing.try_acquire() else {
            return Err(AccountError::PoolFull { retry_after: RETRY_AFTER });
        };
        let Specimen { hash, salt, pepper, mut password } = specimen;
        let password = Password::new(std::mem::take(&mut *password));
        let (salt, pepper) =
            (salt.as_ref().map(|it| it.as_str()), pepper.as_ref().map(|it| it.as_str()));
        let limits = self.parts.settings.limits;
        let suspects = doctor::suspects(&hash, salt, pepper, &password, limits)?;
        let candidates = suspects
            .iter()
            .map(|suspect| Candidate { tag: 0, hash: CandidateHash::Legacy(suspect.hash.clone()) });
        let candidates = candidates.collect();
        let share = caller.map_or(Share::new(0), Caller::share);
        let job = Job::Probe { password, candidates, budget: BUDGET };
        let Outcome::Probed { matched, complete } = self.compute_for(share, job).await?.outcome
        else {
            return Err(AccountError::HashFailed);
        };
        let found = suspects.into_iter().enumerate().filter(|(index, _)| matched.contains(index));
        let profiles = found.map(|(_, suspect)| Diagnosed {
            needed: !suspect.describes_itself(),
            profile: suspect.profile,
        });
        Ok(Diagnosis { profiles: profiles.collect(), complete })
    }
}
