//! Cutting a life off: what the operator signs, offline or beside a node.

use std::path::Path;

use crate::crypto::seals::sign_distrust;
use crate::deployment::Deployment;
use crate::deployment::error::DeploymentError;
use crate::events::event::OriginDistrusted;
use crate::events::stamp::Origin;

/// Signs with the operator key in a file that a life no longer counts from an event on.
pub fn sign(
    deployment: &Deployment,
    operator_key: &Path,
    origin: Origin,
    from_sequence: u64,
    and_later_lives: bool,
) -> Result<OriginDistrusted, DeploymentError> {
    let key = deployment.read_operator_key(operator_key)?;
    let id = deployment.description().deployment.id;
    let signature = Box::default();
    let unsigned = OriginDistrusted { origin, from_sequence, and_later_lives, signature };
    let signature = sign_distrust(key.expose(), id, &unsigned);
    Ok(OriginDistrusted { signature: signature.into(), ..unsigned })
}
