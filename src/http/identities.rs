//! Identities of a user: claim and release.

use actix_web::{HttpResponse, web};
use serde::Deserialize;

use crate::accounts::error::AccountError;
use crate::accounts::given::given;
use crate::events::ids::{Country, IdentityKind};

use super::api::Api;
use super::call::{Call, CallOr};
use super::error::ApiError;
use super::replicate::Replicate;
use super::users::{country, user_id, written};

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityBody {
    #[serde(default, deserialize_with = "given")]
    value: Option<String>,
    #[serde(default)]
    verified: bool,
    #[serde(default, deserialize_with = "given")]
    country: Option<Country>,
    #[serde(default, deserialize_with = "given")]
    replicate: Option<Replicate>,
}

/// Where an identity is named: user, kind, and the value where it is in the path.
#[derive(Deserialize)]
pub(super) struct IdentityPath {
    id: String,
    kind: String,
    value: Option<String>,
}

/// What may be said of a release: the country a national phone number is read in, and how many
/// nodes to wait for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseQuery {
    country: Option<String>,
    replicate: Option<Replicate>,
}

fn kind_of(path: &IdentityPath) -> Result<IdentityKind, ApiError> {
    match path.kind.as_str() {
        "email" => Ok(IdentityKind::Email),
        "phone" => Ok(IdentityKind::Phone),
        _ => Err(ApiError::NotFound),
    }
}

fn value_of(in_path: Option<&String>, in_body: Option<String>) -> Result<String, ApiError> {
    let found = in_body.or_else(|| in_path.cloned());
    found.ok_or_else(|| AccountError::field("value", "required", "the value is missing").into())
}

/// `PUT /v1/users/{id}/identities/{kind}/{value?}`
pub(super) async fn claim(
    api: web::Data<Api>,
    Call { caller, body }: Call<IdentityBody>,
    path: web::Path<IdentityPath>,
) -> Result<HttpResponse, ApiError> {
    let kind = kind_of(&path)?;
    let typed = (value_of(path.value.as_ref(), body.value)?, body.country);
    let user = user_id(&path.id)?;
    let followed = api.accounts.write_for(Replicate::given(body.replicate));
    let seen = api.accounts.claim_identity(caller, user, kind, typed, body.verified).await?;
    Ok(written(followed, seen, None).await)
}

/// `DELETE /v1/users/{id}/identities/{kind}/{value?}`
pub(super) async fn release(
    api: web::Data<Api>,
    CallOr(Call { caller, body }): CallOr<IdentityBody>,
    path: web::Path<IdentityPath>,
    query: web::Query<ReleaseQuery>,
) -> Result<HttpResponse, ApiError> {
    let kind = kind_of(&path)?;
    let named = query.country.as_deref().map(country).transpose()?;
    let typed = value_of(path.value.as_ref(), body.value)?;
    let typed = (typed.as_str(), body.country.or(named));
    let user = user_id(&path.id)?;
    let replicate = body.replicate.or(query.replicate);
    let followed = api.accounts.write_for(Replicate::given(replicate));
    let seen = api.accounts.release_identity(&caller, user, kind, typed).await?;
    Ok(written(followed, seen, None).await)
}
