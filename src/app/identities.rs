//! Finds an identity as a running node would.

use super::{AppError, data_folder, parts};
use crate::accounts::error::AccountError;
use crate::accounts::identity::Reader;
use crate::config::Config;
use crate::deployment;
use crate::events::ids::{BlindIndex, Country, IdentityKind};

/// Why an identity has no blind index.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The data folder cannot be used.
    #[error(transparent)]
    App(#[from] AppError),
    /// It is none.
    #[error(transparent)]
    Invalid(#[from] AccountError),
}

/// The blind index of an identity in a node's deployment: what finds it in the log. A national
/// phone number is read in `country`.
pub fn blind_index(
    config: &Config,
    kind: IdentityKind,
    typed: &str,
    country: Option<Country>,
) -> Result<BlindIndex, IdentityError> {
    let deployment = deployment::open(&data_folder(config)).map_err(AppError::from)?;
    let renumberings = config.phone.renumberings.iter();
    let renumberings: Vec<_> = renumberings.map(|it| (it.from.clone(), it.to.clone())).collect();
    let key = parts::index_key(&deployment);
    let reader = Reader { key: &key, renumberings: &renumberings };
    Ok(reader.read(kind, typed, country)?.index)
}
