//! Hash profiles: how a company computed its hashes.

use actix_web::{HttpResponse, web};
use serde_json::json;

use crate::accounts::company::CompanyError;
use crate::accounts::doctor::Specimen;
use crate::accounts::error::AccountError;
use crate::events::decide_registry::RegistryRejection;
use crate::events::ids::{CompanyId, ProfileName, Slot};
use crate::events::policy::Scope;

use super::api::Api;
use super::call::{Call, Company};
use super::error::ApiError;
use super::users::country;

impl From<CompanyError> for ApiError {
    fn from(error: CompanyError) -> Self {
        match error {
            CompanyError::Account(error) => error.into(),
            CompanyError::Profile(detail) => {
                AccountError::field("profile", "invalid", detail).into()
            }
            CompanyError::Rejected(rejection) => match rejection {
                RegistryRejection::UnknownCompany(_) => {
                    AccountError::NotFound("the company was").into()
                }
                RegistryRejection::UnknownKey(_) => {
                    AccountError::NotFound("a standing key with this id was").into()
                }
                rejection => AccountError::field("country", "invalid", rejection).into(),
            },
        }
    }
}

pub(super) fn slot_of(
    company: CompanyId,
    path: &(String, String),
) -> Result<(Slot, ProfileName), ApiError> {
    let wrong = |error| AccountError::field("name", "invalid", error);
    let name = path.1.parse().map_err(wrong)?;
    Ok((Slot { company, country: country(&path.0)? }, name))
}

/// `PUT /v1/hash-profiles/{country}/{name}`
pub async fn put(
    api: web::Data<Api>,
    Call { caller, body: profile }: Call<serde_json::Value>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Sync)?;
    let (slot, name) = slot_of(caller.company, &path)?;
    caller.require_country(slot.country)?;
    let bytes = serde_json::to_vec(&profile).map_err(|_| ApiError::Internal)?;
    let id = api.accounts.declare_profile(slot, name, &bytes).await?;
    Ok(HttpResponse::Ok().json(json!({ "profile_id": id })))
}

/// `GET /v1/hash-profiles/{country}/{name}`. What is secret in a profile is not shown.
pub async fn get(
    api: web::Data<Api>,
    company: Company,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    company.0.require(Scope::Sync)?;
    let (slot, name) = slot_of(company.0.company, &path)?;
    let (id, profile) = api.accounts.read_profile(slot, name).await?;
    let bytes = profile.canonical_bytes().map_err(|_| ApiError::Internal)?;
    let mut shown: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|_| ApiError::Internal)?;
    for secret in ["pepper", "signer_key"] {
        if let Some(value) = shown.get_mut(secret) {
            *value = "[redacted]".into();
        }
    }
    Ok(HttpResponse::Ok().json(json!({ "profile_id": id, "profile": shown })))
}

/// `POST /v1/hash-profiles/probe`: the hash doctor. What is asked and answered is kept nowhere.
pub async fn probe(
    api: web::Data<Api>,
    Call { caller, body: specimen }: Call<Specimen>,
) -> Result<HttpResponse, ApiError> {
    caller.require(Scope::Sync)?;
    Ok(HttpResponse::Ok().json(api.accounts.diagnose(Some(&caller), specimen).await?))
}
